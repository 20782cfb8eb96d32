"""Replicas that differ are found, and those that only lag are not."""

from kraftpy.record import BatchBuilder, BatchHeader
from simulation.checkers.replicas import compare_replicas, headers_of


def batch(base_offset: int, text: str, epoch: int = 1, count: int = 2) -> bytes:
    builder = BatchBuilder()
    for number in range(count):
        builder.append(1000, None, f"{text}{number}".encode())
    return bytes(builder.build(base_offset, epoch))


def log(*batches: bytes) -> list[BatchHeader]:
    return headers_of([b"".join(batches[:1]), b"".join(batches[1:]) + bytes(500)])


A, B, C = batch(0, "a"), batch(2, "b"), batch(4, "c")


def differences(**replicas: list[BatchHeader]) -> list[str]:
    return [str(found) for found in compare_replicas("t-0", replicas)]


def test_reserved_blocks_are_no_batches() -> None:
    assert [header.base_offset for header in log(A, B, C)] == [0, 2, 4]
    assert headers_of([bytes(100), b""]) == []


def test_equal_lagging_and_shortened_replicas_agree() -> None:
    assert differences(n1=log(A, B, C), n2=log(A, B), n3=log(B, C), n4=[]) == []


def test_another_record_epoch_or_count_differs() -> None:
    for other in (batch(2, "x"), batch(2, "b", epoch=2), batch(2, "b", count=1) + batch(3, "b", count=1)):
        found = differences(n1=log(A, B, C), n2=log(A, other, C))
        assert len(found) == 1 and "t-0: n1 and n2 differ from offset 2 on" in found[0]


def test_a_record_that_is_damaged_behind_an_equal_header_differs() -> None:
    damaged = bytearray(B)
    damaged[-1] ^= 1
    (found,) = differences(n1=log(A, B, C), n2=log(A, bytes(damaged), C))
    assert "t-0: n1 and n2 differ from offset 2 on" in found


def test_what_lies_below_the_logs_start_is_not_compared() -> None:
    replicas = {"n1": log(A, batch(2, "b", epoch=0), C), "n2": log(A, B, C)}
    assert [found.offset for found in compare_replicas("t-0", replicas, log_start=3)] == [2], "part of it is alive"
    assert not [*compare_replicas("t-0", replicas, log_start=4)]
    replicas["n2"] = log(A, B, batch(4, "x"))
    assert [found.offset for found in compare_replicas("t-0", replicas, log_start=4)] == [4]


def test_a_hole_differs() -> None:
    assert "differ from offset 2" in differences(n1=log(A, B, C), n2=log(A, C))[0]
