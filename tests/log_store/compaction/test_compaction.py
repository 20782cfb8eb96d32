"""Compaction by name: what goes, what stays and for how long, and what Kafka was once caught by."""

import tracemalloc
from collections.abc import Callable

import pytest

from kraftpy.errors import InvalidProducerEpochError
from kraftpy.record import Compression, Record, encode_marker, read_header
from kraftpy.record.reader import decode_records
from kraftpy.runtime.limits import INT64_MAX
from log_store import file_names
from log_store.compaction.cleaner import clean
from log_store.compaction.offset_map import ENTRY_BYTES, OffsetMap, name_of
from log_store.compaction.raw_records import raw_records, rebuilt, records_of
from log_store.compaction.transactions import Transactions
from log_store.log import Log
from simulation.disk import SimulatedDisk
from tests.log_store.batches import WALL_MS
from tests.log_store.compaction.support import (
    DIRECTORY,
    batches_of,
    committed_values,
    compact,
    in_transaction,
    keyed,
    marker,
    new_disk,
    new_log,
    offsets_of,
    put,
    reopened,
    values_of,
)


@pytest.fixture
def disk() -> SimulatedDisk:
    return new_disk()


# --- records ----------------------------------------------------------------------------------------------------------


def test_the_newest_of_each_key_stays_where_it_was(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    for number in range(30):
        put(log, b"k%d" % (number % 3), b"%d" % number, epoch=1 + number // 10)
    epochs = log.epochs.entries
    compact(log, disk)
    assert offsets_of(log) == [27, 28, 29]
    assert [header.leader_epoch for header, _ in batches_of(log)] == [3, 3, 3]
    assert values_of(log) == {b"k0": b"27", b"k1": b"28", b"k2": b"29"}
    assert (log.start_offset, log.end_offset, log.epochs.entries) == (0, 30, epochs)
    assert log.compacting.first_dirty_offset == 30


@pytest.mark.parametrize("compression", list(Compression))
def test_a_batch_that_loses_records_keeps_the_rest_byte_for_byte(disk: SimulatedDisk, compression: Compression) -> None:
    log = new_log(disk, segment_bytes=10_000)
    log.append(keyed([(b"%d" % at, b"value" * 20) for at in range(10)], compression=compression), 1, WALL_MS)
    for at in (0, 3, 4, 9):
        put(log, b"%d" % at, b"newer")
    compact(log, disk)
    header, data = batches_of(log)[0]
    assert (header.base_offset, header.last_offset, header.record_count) == (0, 9, 6)
    assert header.compression is compression
    left = decode_records(header, data)
    assert left == [Record(at, WALL_MS, b"%d" % at, b"value" * 20, ()) for at in (1, 2, 5, 6, 7, 8)]


def test_nothing_is_written_again_where_nothing_changes(disk: SimulatedDisk) -> None:
    log = new_log(disk, segment_bytes=400)
    for number in range(20):
        put(log, b"%d" % number, b"once")
    before = disk.list(DIRECTORY)
    log.roll(WALL_MS)
    log.sync()
    plan = log.compacting.plan(log.flushed_offset, WALL_MS)
    assert plan is not None
    job = log.compacting.job_for(plan, WALL_MS, 1 << 20)
    cleaned = clean(disk, job)
    assert all(len(segment.sources) > 1 for segment in cleaned.segments)
    log.compacting.swap(job, cleaned, WALL_MS)
    log.sync()
    assert offsets_of(log) == list(range(20))
    assert log.compacting.plan(log.flushed_offset, WALL_MS) is None
    assert before[0] in disk.list(DIRECTORY)


def test_small_segments_are_joined(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    for number in range(200):
        put(log, b"k%d" % (number % 5), b"x" * 20)
    assert len(log.segments) > 15
    compact(log, disk)
    assert len(log.segments) == 2
    assert [segment.base_offset for segment in log.segments] == [0, 200]


def test_sources_of_which_nothing_is_left_are_joined_as_far_as_32_bits_reach(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    for base_offset in (0, 1_500_000_000, 3_000_000_000):
        log.append_replicated(keyed([(b"k", b"%d" % base_offset)], base_offset=base_offset, leader_epoch=1))
        log.roll(WALL_MS)
    cleaned = compact(log, disk)
    assert cleaned is not None
    assert [each.sources for each in cleaned.segments] == [(0, 1)]
    assert offsets_of(log) == [3_000_000_000]
    assert values_of(log) == {b"k": b"3000000000"}


def test_the_active_segment_is_left_alone(disk: SimulatedDisk) -> None:
    log = new_log(disk, segment_bytes=10_000)
    for _ in range(5):
        put(log, b"k", b"v")
    assert compact(log, disk, roll=False) is None
    assert offsets_of(log) == [0, 1, 2, 3, 4]


def test_the_active_segment_is_rolled_for_records_that_wait_too_long(disk: SimulatedDisk) -> None:
    log = new_log(disk, segment_bytes=10_000, max_compaction_lag_ms=5000, min_cleanable_dirty_ratio=1.0)
    put(log, b"k", b"1")
    put(log, b"k", b"2")
    assert compact(log, disk, WALL_MS + 5000, roll=False) is None
    assert len(log.segments) == 1
    assert log.compacting.plan(2, WALL_MS + 5001) is None  # rolled, and not durable yet
    assert len(log.segments) == 2
    assert compact(log, disk, WALL_MS + 5001, roll=False) is not None
    assert offsets_of(log) == [1]


def test_an_append_rolls_a_segment_for_the_longest_lag(disk: SimulatedDisk) -> None:
    log = new_log(disk, max_compaction_lag_ms=5000)
    put(log, b"k", b"1")
    put(log, b"k", b"2", timestamp_ms=WALL_MS + 5001)
    assert [segment.base_offset for segment in log.segments] == [0, 1]


# --- tombstones -------------------------------------------------------------------------------------------------------


def test_a_tombstone_stays_for_its_time_after_compaction_first_met_it(disk: SimulatedDisk) -> None:
    log = new_log(disk, delete_retention_ms=1000)
    put(log, b"k", b"old")
    put(log, b"k", None)
    compact(log, disk, WALL_MS + 50_000)  # late: the time counts from here, not from the record's
    assert offsets_of(log) == [1]
    header, data = batches_of(log)[0]
    assert header.delete_horizon_ms == WALL_MS + 51_000
    assert decode_records(header, data)[0].timestamp_ms == header.max_timestamp == WALL_MS
    put(log, b"other", b"1")
    compact(log, disk, WALL_MS + 50_999)
    assert offsets_of(log) == [1, 2]
    put(log, b"other", b"2")
    compact(log, disk, WALL_MS + 51_000)
    assert offsets_of(log) == [3]
    assert values_of(log) == {b"other": b"2"}


def test_a_tombstone_may_stay_for_ever(disk: SimulatedDisk) -> None:
    log = new_log(disk, delete_retention_ms=INT64_MAX)
    put(log, b"k", b"old")
    put(log, b"k", None)
    compact(log, disk)
    header, data = batches_of(log)[0]
    assert header.delete_horizon_ms == INT64_MAX
    assert decode_records(header, data) == [Record(1, WALL_MS, b"k", None, ())]


def test_a_tombstone_that_is_not_judged_yet_stays(disk: SimulatedDisk) -> None:
    log = new_log(disk, delete_retention_ms=0)
    put(log, b"a", b"1")
    put(log, b"b", b"1")
    put(log, b"a", None)
    cleaned = compact(log, disk, map_bytes=ENTRY_BYTES)  # room for one key
    assert cleaned is not None
    assert (cleaned.end_offset, cleaned.map_was_full) == (1, True)
    for _ in range(4):
        compact(log, disk, roll=False, map_bytes=ENTRY_BYTES)
    assert log.compacting.first_dirty_offset == 3
    put(log, b"c", b"1")
    compact(log, disk, WALL_MS + 1)
    assert values_of(log) == {b"b": b"1", b"c": b"1"}
    assert 2 not in offsets_of(log)


@pytest.mark.parametrize("entries", [2, 3])
def test_a_copied_tombstone_whose_time_is_over_stays_until_it_is_judged(disk: SimulatedDisk, entries: int) -> None:
    """The leader had met it long ago; here the map is full before it, in front of its batch or within: what it deletes
    must not come back."""
    log = new_log(disk)
    put(log, b"k", b"1")
    put(log, b"a", b"deleted")
    copied = keyed([(b"b", b"1"), (b"c", b"1"), (b"a", None)], base_offset=2, leader_epoch=1)
    header = read_header(copied)
    data = records_of(header, memoryview(copied))
    log.append_replicated(rebuilt(header, data, list(raw_records(data, 3)), WALL_MS - 1))
    ends: list[int] = []
    while (cleaned := compact(log, disk, roll=not ends, map_bytes=entries * ENTRY_BYTES)) is not None:
        ends.append(cleaned.end_offset)
        assert values_of(log) == {b"k": b"1", b"b": b"1", b"c": b"1"}
    assert ends[0] == entries
    assert ends[-1] == 5


# --- transactions -----------------------------------------------------------------------------------------------------


def transactional(log: Log, producer_id: int, key: bytes, value: bytes | None, sequence: int) -> None:
    data = keyed([(key, value)], producer_id=producer_id, base_sequence=sequence, transactional=True)
    log.append(data, 1, WALL_MS, verified=True)


def end(log: Log, producer_id: int, *, commit: bool) -> None:
    log.append(marker(producer_id, commit=commit), 1, WALL_MS, markers=True)


def test_aborted_records_go_and_hide_nothing(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    put(log, b"k", b"committed")
    transactional(log, 7, b"k", b"aborted", 0)
    end(log, 7, commit=False)
    transactional(log, 7, b"other", b"committed too", 1)
    end(log, 7, commit=True)
    compact(log, disk)
    assert offsets_of(log) == [0, 2, 3, 4]
    assert values_of(log) == {b"k": b"committed", b"other": b"committed too"}


def test_kafka_13727_a_marker_outlives_the_data_that_it_decides(disk: SimulatedDisk) -> None:
    """The transaction begins behind what fits into the map, in the same segment: it is not judged, nor is its end."""
    log = new_log(disk, delete_retention_ms=0)
    put(log, b"a", b"1")
    put(log, b"b", b"1")
    transactional(log, 7, b"a", b"aborted", 0)
    transactional(log, 7, b"c", b"aborted", 1)
    end(log, 7, commit=False)
    put(log, b"d", b"1")
    for _ in range(8):
        compact(log, disk, WALL_MS + 1, map_bytes=ENTRY_BYTES, roll=log.segments[-1].size_bytes > 0)
        left = [header for header, _ in batches_of(log)]
        data = [h.base_offset for h in left if h.is_transactional and not h.is_control]
        assert not data or any(h.is_control for h in left)
        assert values_of(log) == {b"a": b"1", b"b": b"1", b"d": b"1"}


def test_a_marker_goes_only_when_nothing_of_its_transaction_is_left_and_its_time_is_over(disk: SimulatedDisk) -> None:
    log = new_log(disk, delete_retention_ms=1000)
    transactional(log, 7, b"k", b"1", 0)
    end(log, 7, commit=True)
    transactional(log, 7, b"l", b"1", 1)
    end(log, 7, commit=True)
    put(log, b"k", b"2")
    compact(log, disk)  # the record goes now: its marker met data in this round
    assert offsets_of(log) == [1, 2, 3, 4]
    put(log, b"x", b"1")
    compact(log, disk, WALL_MS + 10)  # nothing is left: the horizon is set
    assert 1 in offsets_of(log)
    put(log, b"x", b"2")
    compact(log, disk, WALL_MS + 1009)
    assert 1 in offsets_of(log)
    put(log, b"x", b"3")
    compact(log, disk, WALL_MS + 1010)
    assert offsets_of(log) == [2, 3, 4, 7]
    assert 3 in offsets_of(log)  # the marker of what is still there


def test_kafka_14055_a_record_with_the_key_of_a_marker_takes_none_along(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    transactional(log, 7, b"k", b"1", 0)
    end(log, 7, commit=True)
    put(log, b"\x00\x00\x00\x01", b"the key of a commit")
    put(log, b"\x00\x00\x00\x00", b"the key of an abort")
    compact(log, disk)
    assert offsets_of(log) == [0, 1, 2, 3]
    assert values_of(log)[b"k"] == b"1"


def test_an_undecided_transaction_ends_the_round(disk: SimulatedDisk) -> None:
    """Two that overlap: the data of the one that is decided lies below the other's, its marker above."""
    log = new_log(disk)
    put(log, b"k", b"1")
    put(log, b"k", b"2")
    transactional(log, 7, b"k", b"3", 0)
    log.roll(WALL_MS)
    transactional(log, 8, b"k", b"4", 0)
    end(log, 7, commit=False)
    log.roll(WALL_MS)
    cleaned = compact(log, disk)
    assert cleaned is not None
    assert (cleaned.end_offset, offsets_of(log)) == (2, [1, 2, 3, 4])
    cleaned = compact(log, disk)
    assert cleaned is not None
    assert cleaned.end_offset == 2
    assert compact(log, disk) is None  # in vain, until there is more
    end(log, 8, commit=True)
    assert compact(log, disk) is not None
    assert offsets_of(log) == [3, 4, 5]


def test_so_many_aborted_transactions_and_no_more() -> None:
    transactions = Transactions(aborted_max=2)
    from kraftpy.record import ControlType, read_header

    def header(offset: int, producer_id: int) -> None:
        data = keyed([(b"k", b"v")], base_offset=offset, producer_id=producer_id, base_sequence=0, transactional=True)
        transactions.note(read_header(data), None)

    def aborted(offset: int, producer_id: int) -> None:
        end = marker(producer_id, commit=False)
        transactions.note(read_header(end)._replace(base_offset=offset), ControlType.ABORT)

    header(0, 7)
    aborted(1, 7)
    header(2, 8)
    header(3, 7)
    assert not transactions.is_full
    assert transactions.decided_end(100) == 2
    aborted(4, 7)
    assert transactions.is_full
    assert transactions.decided_end(100) == 2
    aborted(5, 8)
    assert transactions.decided_end(100) == 6


def test_a_marker_that_alone_fences_a_producer_stays(disk: SimulatedDisk) -> None:
    """Its coordinator aborted with a later epoch, of which nothing was written: only the marker tells of it."""
    log = new_log(disk, delete_retention_ms=0)
    transactional(log, 7, b"k", b"aborted", 0)
    log.append(
        encode_marker(commit=False, coordinator_epoch=1, timestamp_ms=WALL_MS, producer_id=7, producer_epoch=1),
        1,
        WALL_MS,
        markers=True,
    )
    for passed_ms in range(1, 5):
        put(log, b"other", b"%d" % passed_ms)
        compact(log, disk, WALL_MS + passed_ms)
    assert offsets_of(log)[0] == 1
    log.close()
    for name in disk.list(DIRECTORY):  # nothing but the batches tells of producers
        if name.endswith(file_names.PRODUCER_SNAPSHOT):
            disk.remove(f"{DIRECTORY}/{name}")
    again = reopened(disk)
    late = keyed([(b"k", b"late")], producer_id=7, base_sequence=1, transactional=True)
    with pytest.raises(InvalidProducerEpochError):
        again.append(late, 1, WALL_MS, verified=True)


def test_of_a_producer_of_whom_only_markers_are_known_the_newest_stays(disk: SimulatedDisk) -> None:
    """Who commits offsets in transactions writes without sequences, so that nothing else is ever remembered of it."""
    log = new_log(disk, delete_retention_ms=0)
    for number in range(100):
        committed = keyed([(b"group", b"%d" % number)], producer_id=7, transactional=True)
        log.append(committed, 1, WALL_MS, verified=True, sequenced=False)
        end(log, 7, commit=True)
    for passed_ms in range(3):  # the data goes, then nothing is left for the markers to decide, then their time is over
        put(log, b"other", b"%d" % passed_ms)
        compact(log, disk, WALL_MS + passed_ms)
    assert [header.base_offset for header, _ in batches_of(log) if header.is_control] == [199]
    assert values_of(log) == {b"group": b"99", b"other": b"2"}


# --- producers --------------------------------------------------------------------------------------------------------


def test_the_last_batch_of_a_producer_stays_without_its_records(disk: SimulatedDisk) -> None:
    log = new_log(disk, segment_bytes=10_000)
    log.append(keyed([(b"k", b"1"), (b"k", b"2")], producer_id=7, base_sequence=0), 1, WALL_MS)
    log.append(keyed([(b"k", b"3"), (b"k", b"4")], producer_id=7, base_sequence=2), 1, WALL_MS)
    put(log, b"k", b"5")
    for round_number in range(3):  # in later ones, too, where it has no records to lose
        compact(log, disk)
        headers = [header for header, _ in batches_of(log)]
        placed = [(h.base_offset, h.last_offset, h.record_count) for h in headers]
        assert placed == [(2, 3, 0), (4 + round_number, 4 + round_number, 1)]
        put(log, b"k", b"again")
    assert (headers[0].base_sequence, headers[0].last_sequence, headers[0].max_timestamp) == (2, 3, WALL_MS)
    again = reopened(disk, segment_bytes=10_000)
    for name in disk.list(DIRECTORY):  # nothing but the batches tells of producers
        if name.endswith(file_names.PRODUCER_SNAPSHOT):
            disk.remove(f"{DIRECTORY}/{name}")
    again = reopened(disk, segment_bytes=10_000)
    retry = again.append(keyed([(b"k", b"3"), (b"k", b"4")], producer_id=7, base_sequence=2), 1, WALL_MS)
    assert (retry.base_offset, retry.duplicate) == (2, True)
    assert not again.append(keyed([(b"k", b"6")], producer_id=7, base_sequence=4), 1, WALL_MS).duplicate


def test_of_a_forgotten_producer_nothing_is_kept(disk: SimulatedDisk) -> None:
    log = new_log(disk, segment_bytes=10_000, producer_id_expiration_ms=100)
    log.append(keyed([(b"k", b"1")], producer_id=7, base_sequence=0), 1, WALL_MS)
    put(log, b"k", b"2")
    for passed_ms in (0, 1000):
        log.enforce_retention(WALL_MS + passed_ms, 0)
    compact(log, disk, WALL_MS + 1000)
    assert [header.base_offset for header, _ in batches_of(log)] == [1]


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make_key", [lambda n: b"%d" % n, lambda n: b"%019d" % n, lambda n: b"long" * 50 + b"%d" % n])
def test_the_map_keeps_to_its_budget(make_key: Callable[[int], bytes]) -> None:
    budget_bytes = 20_000 * ENTRY_BYTES
    tracemalloc.start()
    newest = OffsetMap(budget_bytes)
    put_all = [newest.put(make_key(number), 10**10 + number) for number in range(21_000)]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert put_all.index(False) == len(newest) == 20_000
    assert peak_bytes < budget_bytes + 400_000  # the answers of this test take some, too
    assert newest.put(make_key(5), 10**11)
    assert newest.newest(make_key(5)) == 10**11


def test_long_and_short_keys_never_meet() -> None:
    long = b"x" * 20
    assert len(name_of(long)) == 20
    assert name_of(name_of(long)) != name_of(long)
    assert name_of(b"x" * 19) == b"x" * 19


def test_rounds_go_on_where_the_map_was_full(disk: SimulatedDisk) -> None:
    log = new_log(disk, segment_bytes=4000)
    for number in range(300):
        put(log, b"%d" % (number % 100), b"%d" % number)
    expected = values_of(log)
    log.roll(WALL_MS)
    ends = []
    while (cleaned := compact(log, disk, roll=False, map_bytes=30 * ENTRY_BYTES)) is not None:
        ends.append(cleaned.end_offset)
        assert values_of(log) == expected
    assert ends == sorted(set(ends))
    assert ends[-1] == 300
    assert offsets_of(log) == list(range(200, 300))


def test_a_marker_that_goes_takes_its_place_in_the_index_along(disk: SimulatedDisk) -> None:
    """Else a committed reader, who meets no marker any more, would skip what its producer committed afterwards."""
    log = new_log(disk)
    in_transaction(log, b"a", b"aborted", 0)
    log.append(marker(7, commit=False), 1, WALL_MS, markers=True)
    in_transaction(log, b"b", b"kept", 1)
    log.append(marker(7, commit=True), 1, WALL_MS, markers=True)
    assert [each.marker_offset for each in log.aborted_in(0, 4)] == [1]
    for day in range(4):
        log.append(keyed([(b"c", b"%d" % day)]), 1, WALL_MS)
        compact(log, disk, WALL_MS + day * 2000)
        assert committed_values(log, log.end_offset) == {b"b": b"kept", b"c": b"%d" % day}
    assert 1 not in offsets_of(log), "the marker has gone"
    assert log.aborted_in(0, 100) == []


def test_an_aborted_batch_that_deleted_records_part_goes_with_its_place_in_the_index(disk: SimulatedDisk) -> None:
    """Only its end is dirty; kept as if it were clean, it would be committed to whoever reads from there."""
    log = new_log(disk, cleanup_policy="compact,delete", retention_ms=-1, segment_bytes=10_000)
    for number in range(10):
        put(log, b"k", b"%d" % number)
    aborted = keyed([(b"a%d" % at, b"aborted") for at in range(10)], producer_id=7, base_sequence=0, transactional=True)
    log.append(aborted, 1, WALL_MS, verified=True)
    put(log, b"k", b"last")
    log.append(marker(7, commit=False), 1, WALL_MS, markers=True)
    log.delete_records(15)
    assert committed_values(log, log.end_offset) == {b"k": b"last"}
    compact(log, disk)
    assert log.aborted_in(15, log.end_offset) == []
    assert committed_values(log, log.end_offset) == {b"k": b"last"}
