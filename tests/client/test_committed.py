"""What a consumer with isolation_level=read_committed is handed out of an answer."""

from kraftpy.client.committed import AbortedTransaction
from kraftpy.client.fetch_position import Answer, FetchPosition
from kraftpy.record import Record, encode_batch, encode_marker


def records(base_offset: int, *values: bytes, producer_id: int = -1) -> bytes:
    transactional = producer_id >= 0
    return bytes(
        encode_batch(
            [Record(at, 1_000, None, value, ()) for at, value in enumerate(values)],
            base_offset=base_offset,
            producer_id=producer_id,
            producer_epoch=0 if transactional else -1,
            base_sequence=0 if transactional else -1,
            transactional=transactional,
        )
    )


def marker(base_offset: int, producer_id: int, *, commit: bool) -> bytes:
    return bytes(
        encode_marker(
            commit=commit,
            coordinator_epoch=0,
            timestamp_ms=1_000,
            producer_id=producer_id,
            producer_epoch=0,
            base_offset=base_offset,
        )
    )


def values(data: bytes, aborted: list[AbortedTransaction], offset: int = 0) -> list[bytes]:
    position = FetchPosition("payments", 0, None)
    position.seek(offset)
    answer = Answer(position, data, check_crcs=True, aborted=aborted)
    position.fetched(answer, b"its id")
    taken = [record.value for record in answer.take(1_000)]
    assert answer.is_exhausted() and position.offset == answer.next_offset
    return taken


def test_the_records_of_aborted_transactions_are_left_out() -> None:
    data = (
        records(0, b"plain")
        + records(1, b"aborted", b"aborted", producer_id=7)
        + records(3, b"committed", producer_id=8)
        + records(4, b"plain")
        + marker(5, 7, commit=False)
        + records(6, b"the next", producer_id=7)
        + marker(7, 8, commit=True)
        + marker(8, 7, commit=True)
    )
    assert values(data, [AbortedTransaction(1, 7)]) == [b"plain", b"committed", b"plain", b"the next"]
    assert values(data, []) == [b"plain", b"aborted", b"aborted", b"committed", b"plain", b"the next"]


def test_two_aborted_transactions_of_one_producer_with_a_committed_one_between() -> None:
    data = (
        records(0, b"aborted", producer_id=7)
        + marker(1, 7, commit=False)
        + records(2, b"committed", producer_id=7)
        + marker(3, 7, commit=True)
        + records(4, b"aborted", producer_id=7)
        + marker(5, 7, commit=False)
    )
    assert values(data, [AbortedTransaction(4, 7), AbortedTransaction(0, 7)]) == [b"committed"]


def test_an_answer_may_begin_and_end_within_an_aborted_transaction() -> None:
    data = records(5, b"aborted", b"aborted", producer_id=7) + records(7, b"plain")
    assert values(data, [AbortedTransaction(2, 7)], offset=6) == [b"plain"]


def test_a_producer_outside_its_transaction_is_not_skipped() -> None:
    """Idempotent records without a transaction, of a producer that aborted one before they were written."""
    plain = encode_batch([Record(0, 1_000, None, b"plain", ())], base_offset=1, producer_id=7, producer_epoch=0)
    data = records(0, b"aborted", producer_id=7) + bytes(plain)
    assert values(data, [AbortedTransaction(0, 7)]) == [b"plain"]
