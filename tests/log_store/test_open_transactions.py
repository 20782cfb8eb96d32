"""The last stable offset and the index of aborted transactions: tables, and a dumb twin that keeps every batch."""

from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from log_store.open_transactions import OpenTransactions
from log_store.transaction_index import ENTRY, Aborted, TransactionIndex, encode, find_aborted
from simulation.device import Device
from simulation.disk import SimulatedDisk

PATH = "/data/topic-0/00000000000000000000.txnindex"


def new_disk() -> SimulatedDisk:
    disk = SimulatedDisk(Device(Random(1)))
    disk.make_directory("/data/topic-0")
    return disk


# --- what is stable ---------------------------------------------------------------------------------------------------


def test_without_transactions_everything_committed_is_stable() -> None:
    assert OpenTransactions().stable_end(17) == 17


def test_the_oldest_open_transaction_holds_readers_back() -> None:
    transactions = OpenTransactions()
    transactions.begin(1, 10)
    transactions.begin(2, 12)
    transactions.begin(1, 14)
    assert transactions.stable_end(9) == 9
    assert transactions.stable_end(20) == 10
    assert transactions.end(1, 20) == 10
    assert transactions.stable_end(21) == 12


def test_until_its_marker_is_committed() -> None:
    transactions = OpenTransactions()
    transactions.begin(1, 10)
    transactions.end(1, 15)
    assert [transactions.stable_end(high_watermark) for high_watermark in (12, 15, 16, 17)] == [10, 10, 16, 17]


def test_of_two_markers_that_wait_the_longer_transaction_counts() -> None:
    transactions = OpenTransactions()
    transactions.begin(1, 10)
    transactions.begin(2, 12)
    transactions.end(2, 15)
    transactions.end(1, 18)
    assert [transactions.stable_end(high_watermark) for high_watermark in (14, 16, 18, 19)] == [10, 10, 10, 19]


def test_a_marker_of_nothing_decides_nothing() -> None:
    transactions = OpenTransactions()
    assert transactions.end(1, 3) is None
    assert transactions.stable_end(3) == 3


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_it_agrees_with_a_list_of_everything(seed: int) -> None:
    random, transactions = Random(seed), OpenTransactions()
    spans: list[list[int]] = []  # [first offset, marker or -1, producer id]
    watermark = 0
    for offset in range(120):
        producer_id = random.randrange(5)
        ongoing = next((span for span in spans if span[2] == producer_id and span[1] < 0), None)
        if ongoing is not None and random.random() < 0.4:
            ongoing[1] = offset
            assert transactions.end(producer_id, offset) == ongoing[0]
        else:
            transactions.begin(producer_id, offset)
            if ongoing is None:
                spans.append([offset, -1, producer_id])
        watermark = max(watermark, offset + 1 - random.randrange(12))
        expected = min([watermark, *(first for first, marker, _ in spans if marker < 0 or marker >= watermark)])
        assert transactions.stable_end(watermark) == expected
        assert transactions.first_ongoing_offset == min((s[0] for s in spans if s[1] < 0), default=None)


# --- the index --------------------------------------------------------------------------------------------------------


def test_the_bytes_are_kafkas() -> None:
    data = encode([Aborted(1, 2, 3, 4)])
    assert data == bytes.fromhex("0000 0000000000000001 0000000000000002 0000000000000003 0000000000000004")
    assert ENTRY.size == 34


def test_there_is_no_file_where_nothing_was_aborted() -> None:
    disk = new_disk()
    index = TransactionIndex(disk, PATH)
    index.cut(0)
    assert (len(index), list(index.read_from(0)), disk.exists(PATH)) == (0, [], False)


def test_what_was_appended_is_found_again_by_another() -> None:
    disk = new_disk()
    index = TransactionIndex(disk, PATH)
    entries = [Aborted(n % 3, 10 * n, 10 * n + 7, 10 * n + 8) for n in range(3000)]
    for entry in entries:
        index.append(entry)
    for reader in (index, TransactionIndex(disk, PATH)):
        assert list(reader.read_from(0)) == entries
        assert list(reader.read_from(107)) == entries[10:]
        assert list(reader.read_from(108)) == entries[11:]
        assert list(reader.read_from(10**6)) == []
        assert reader.is_sound(0, 10**6)


def test_a_cut_forgets_the_markers_behind_it() -> None:
    disk = new_disk()
    index = TransactionIndex(disk, PATH)
    for number in range(10):
        index.append(Aborted(1, 10 * number, 10 * number + 7, 10 * number + 8))
    index.cut(47)
    assert len(index) == 4 and disk.size(PATH) == 4 * ENTRY.size
    index.append(Aborted(1, 40, 41, 42))
    assert [entry.marker_offset for entry in index.read_from(0)] == [7, 17, 27, 37, 41]


@pytest.mark.parametrize(
    "data",
    [
        encode([Aborted(1, 0, 5, 6)])[:-1],
        encode([Aborted(1, 0, 5, 6), Aborted(1, 0, 5, 6)]),
        encode([Aborted(1, 5, 5, 6)]),
        encode([Aborted(1, 0, 100, 101)]),
        encode([Aborted(1, 0, 5, 7)]),
        bytes(34),
    ],
    ids=["torn", "not ascending", "ends before it begins", "behind the segment", "stable too late", "zeros"],
)
def test_what_cannot_be_an_index_is_seen(data: bytes) -> None:
    disk = new_disk()
    disk.write_atomically(PATH, data)
    assert not TransactionIndex(disk, PATH).is_sound(1, 100)


class FakeSegment(NamedTuple):
    base_offset: int
    transactions: TransactionIndex


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_a_search_finds_exactly_what_reaches_into_what_is_read(seed: int) -> None:
    random, disk, transactions = Random(seed), new_disk(), OpenTransactions()
    segments: list[FakeSegment] = []
    everything: list[Aborted] = []
    for offset in range(200):
        if not segments or random.random() < 0.05:
            segments.append(FakeSegment(offset, TransactionIndex(disk, f"/data/topic-0/{offset:020d}.txnindex")))
        producer_id = random.randrange(4)
        if transactions.start_of(producer_id) is not None and random.random() < 0.4:
            first_offset = transactions.end(producer_id, offset)
            assert first_offset is not None
            if random.random() < 0.7:
                ongoing = transactions.first_ongoing_offset
                stable = offset + 1 if ongoing is None else ongoing
                aborted = Aborted(producer_id, first_offset, offset, stable)
                everything.append(aborted)
                segments[-1].transactions.append(aborted)
        else:
            transactions.begin(producer_id, offset)
    for _ in range(20):
        start = random.randrange(200)
        end = random.randrange(start, 201)
        at = max(number for number, segment in enumerate(segments) if segment.base_offset <= start)
        expected = [each for each in everything if each.marker_offset >= start and each.first_offset < end]
        assert find_aborted(segments[at:], start, end) == expected
