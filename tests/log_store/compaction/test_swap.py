"""What compaction does to the log around it: readers, retention, cuts, replicas, and crashes at any point of a swap."""

from random import Random

import pytest

from kraftpy.errors import CorruptRecordError
from kraftpy.record import Record, decode_batches, encode_batch, read_header
from log_store import file_names
from log_store.compaction.cleaner import clean
from log_store.compaction.raw_records import raw_records, rebuilt, records_of
from log_store.log import Log
from simulation.device import CrashMode, Device
from simulation.disk import SimulatedDisk
from simulation.loop import NodeCrashed
from tests.log_store.batches import WALL_MS
from tests.log_store.compaction.support import (
    DIRECTORY,
    batches_of,
    cleaned_in_two,
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


def begin_swap(disk: SimulatedDisk, log: Log, stable_offset: int, flushes: int) -> None:
    """Compact what is below, and carry the swap as far as so many flushes do."""
    plan = log.compacting.plan(stable_offset, WALL_MS)
    assert plan is not None
    job = log.compacting.job_for(plan, WALL_MS, 1 << 20)
    assert log.compacting.swap(job, clean(disk, job), WALL_MS)
    for _ in range(flushes):
        flush = log.begin_flush()
        flush.run()
        log.complete_flush(flush)


def test_readers_who_hold_what_is_replaced_can_finish(disk: SimulatedDisk) -> None:
    log = new_log(disk, file_delete_delay_ms=500)
    for number in range(40):
        put(log, b"k", b"%d" % number)
    read = log.read(0, 10_000, log.end_offset)
    compact(log, disk)
    data = b"".join(piece.file.read(piece.length, piece.position) for piece in read.slices)
    assert [record.offset for record in decode_batches(data)] == list(range(len(list(decode_batches(data)))))
    assert any(name.endswith(file_names.DELETED) for name in disk.list(DIRECTORY))
    log.enforce_retention(WALL_MS + 499, 40)
    log.sync()
    assert any(name.endswith(file_names.DELETED) for name in disk.list(DIRECTORY))
    log.enforce_retention(WALL_MS + 500, 40)
    log.sync()
    kinds = sorted({name.partition(".")[2] for name in disk.list(DIRECTORY)})
    assert kinds == ["", "index", "log", "snapshot", "timeindex"] or kinds == ["", "log", "snapshot", "timeindex"]


def test_names_move_only_once_they_are_durable(disk: SimulatedDisk) -> None:
    """A flush that was under way when the swap began proves nothing of its names."""
    log = new_log(disk)
    for number in range(40):
        put(log, b"k", b"%d" % number)
    log.roll(WALL_MS)
    log.sync()
    plan = log.compacting.plan(40, WALL_MS)
    assert plan is not None
    job = log.compacting.job_for(plan, WALL_MS, 1 << 20)
    cleaned = clean(disk, job)
    put(log, b"k", b"last")
    flush = log.begin_flush()
    assert log.compacting.swap(job, cleaned, WALL_MS)
    flush.run()
    log.complete_flush(flush)
    assert log.segments[0].end_offset < 40
    assert f"{0:020d}.log" in disk.list(DIRECTORY)
    log.sync()
    assert log.segments[0].end_offset == 40


def test_a_log_that_was_cut_meanwhile_takes_nothing_over(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    for number in range(40):
        put(log, b"k", b"%d" % number)
    log.roll(WALL_MS)
    log.sync()
    plan = log.compacting.plan(40, WALL_MS)
    assert plan is not None
    job = log.compacting.job_for(plan, WALL_MS, 1 << 20)
    cleaned = clean(disk, job)
    log.truncate(35)
    log.sync()
    assert not log.compacting.swap(job, cleaned, WALL_MS)
    assert offsets_of(log) == list(range(35))
    assert log.compacting.plan(35, WALL_MS) is not None


@pytest.mark.parametrize("cut", ["truncate", "reset"])
@pytest.mark.parametrize("flushes", [0, 1, 2])
@pytest.mark.parametrize("mode", list(CrashMode))
def test_a_cut_in_the_midst_of_a_swap(disk: SimulatedDisk, cut: str, flushes: int, mode: CrashMode) -> None:
    """Whatever was on its way is undone or done before; a crash then brings back nothing that was cut."""
    log = new_log(disk)
    for number in range(40):
        put(log, b"k%d" % (number % 2), b"%d" % number)
    log.roll(WALL_MS)
    log.sync()
    begin_swap(disk, log, 40, flushes)
    if cut == "truncate":
        log.truncate(39)
    else:
        log.reset(70)
    log.sync()
    expected = offsets_of(log)
    assert max(expected, default=0) < 39
    disk.device.crash(mode)
    again = reopened(disk)
    assert offsets_of(again) == expected
    assert again.end_offset == log.end_offset
    assert [name for name in disk.list(DIRECTORY) if name.endswith((".swap", ".cleaned"))] == []


def test_what_retention_deleted_meanwhile_stays_deleted(disk: SimulatedDisk) -> None:
    log = new_log(disk, cleanup_policy="compact,delete", retention_ms=-1)
    for number in range(60):
        put(log, b"k%d" % (number % 30), b"x" * 30)
    log.roll(WALL_MS)
    log.sync()
    log.sync()
    plan = log.compacting.plan(60, WALL_MS)
    assert plan is not None
    job = log.compacting.job_for(plan, WALL_MS, 1 << 20)
    cleaned = clean(disk, job)
    log.delete_records(log.segments[2].base_offset)
    start = log.start_offset
    assert log.enforce_retention(WALL_MS, 60) == 2
    assert log.compacting.swap(job, cleaned, WALL_MS)
    log.sync()
    log.sync()
    assert log.start_offset == start
    assert offsets_of(log)[0] >= start
    assert not any(name.endswith((".cleaned", ".swap")) for name in disk.list(DIRECTORY))


def test_what_a_lost_neighbour_left_raw_is_still_to_be_cleaned(disk: SimulatedDisk) -> None:
    """Else the tombstone would go, one day, and what it deleted would stay."""
    log = new_log(disk, cleanup_policy="compact,delete", retention_ms=-1)
    for key, value in ((b"a", b"1"), (b"k", b"old"), (b"k", None)):
        put(log, key, value)
        log.roll(WALL_MS)
    log.sync()
    log.sync()
    plan = log.compacting.plan(3, WALL_MS)
    assert plan is not None
    job = log.compacting.job_for(plan, WALL_MS, 1 << 20)
    cleaned = clean(disk, job)
    assert [each.sources for each in cleaned.segments] == [(0, 1, 2)]
    log.delete_records(1)
    assert log.enforce_retention(WALL_MS, 3) == 1
    assert log.compacting.swap(job, cleaned, WALL_MS)
    log.sync()
    log.sync()
    assert log.compacting.first_dirty_offset == 1
    compact(log, disk)
    assert offsets_of(log) == [2], "the value went before its tombstone"


def test_what_a_lost_neighbour_left_raw_keeps_what_hides_it(disk: SimulatedDisk) -> None:
    """Its aborted records go on being hidden, and its deleted ones being deleted, by what stands in other segments."""
    log = cleaned_in_two(disk)
    before = committed_values(log, log.end_offset)
    plan = log.compacting.plan(log.end_offset, WALL_MS)
    assert plan is not None
    job = log.compacting.job_for(plan, WALL_MS + 1, 1 << 20)
    cleaned = clean(disk, job)
    assert [len(each.sources) for each in cleaned.segments] == [2, 2]
    log.delete_records(1)
    assert log.enforce_retention(WALL_MS, log.end_offset) == 1
    assert log.compacting.swap(job, cleaned, WALL_MS)
    for _ in range(4):
        log.sync()
    after = committed_values(log, log.end_offset)
    assert after == {key: value for key, value in before.items() if key != b"a"}
    compact(log, disk, WALL_MS + 2)
    assert committed_values(log, log.end_offset) == after


def test_a_kill_while_a_swap_is_undone_leaves_none_of_its_end_without_its_beginning() -> None:
    """Its end would hide no more what the beginning has as it was before: aborted records."""
    crash_at, crashed = 0, True
    while crashed:
        crash_at += 1
        disk = new_disk()
        log = cleaned_in_two(disk)
        cut_at = log.end_offset - 1
        before = committed_values(log, cut_at)
        begin_swap(disk, log, log.end_offset, 0)
        disk.device.crash_at_operation = disk.device.operations + crash_at
        try:
            log.truncate(cut_at)
            crashed = False
        except NodeCrashed:
            pass
        disk.kill()
        disk.device.process_ended()
        assert committed_values(reopened(disk), cut_at) == before
    assert crash_at > 8


@pytest.mark.parametrize("completed", [False, True])
def test_retention_waits_for_a_swap(disk: SimulatedDisk, completed: bool) -> None:
    """Also between the flush that takes the names along and its end."""
    log = new_log(disk, cleanup_policy="compact,delete", retention_ms=100)
    for number in range(60):
        put(log, b"k%d" % (number % 30), b"x" * 30)
    log.roll(WALL_MS)
    log.sync()
    log.sync()
    plan = log.compacting.plan(60, WALL_MS)
    assert plan is not None
    job = log.compacting.job_for(plan, WALL_MS, 1 << 20)
    assert log.compacting.swap(job, clean(disk, job), WALL_MS)
    flush = log.begin_flush()
    if completed:
        flush.run()
        log.complete_flush(flush)
        flush = log.begin_flush()
    assert log.enforce_retention(WALL_MS + 1000, 60) == 0
    flush.run()
    log.complete_flush(flush)
    log.sync()
    log.sync()
    assert log.enforce_retention(WALL_MS + 1000, 60) > 0
    log.sync()
    assert offsets_of(log) == []


def test_a_damaged_segment_is_not_compacted(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    for number in range(40):
        put(log, b"k", b"%d" % number)
    log.roll(WALL_MS)
    log.sync()
    plan = log.compacting.plan(40, WALL_MS)
    assert plan is not None
    disk.device.flip_bit(log.segments[1].files.log, 100)
    with pytest.raises(CorruptRecordError, match="damaged at position"):
        clean(disk, log.compacting.job_for(plan, WALL_MS, 1 << 20))


def test_gaps_are_taken_for_damage_in_a_log_that_was_never_compacted(disk: SimulatedDisk) -> None:
    log = new_log(disk, cleanup_policy="delete")
    put(log, b"k", b"1")
    log.sync()
    assert file_names.MAY_HAVE_GAPS not in disk.list(DIRECTORY)
    stray = keyed([(b"k", b"2")], base_offset=5, leader_epoch=1)
    disk.open(log.segments[-1].files.log).write([stray], log.size_bytes)
    assert reopened(disk, cleanup_policy="delete").end_offset == 1


def test_gaps_survive_a_crash_before_settings_are_known(disk: SimulatedDisk) -> None:
    """Recovery runs before the metadata is there, and the policy may have changed since."""
    log = new_log(disk, segment_bytes=10_000)
    log.append_replicated(keyed([(b"k", b"1")], base_offset=3, leader_epoch=1))
    log.append_replicated(keyed([(b"k", b"2")], base_offset=9, leader_epoch=1))
    log.sync()
    disk.device.crash(CrashMode.LOST)
    again = reopened(disk, cleanup_policy="delete", segment_bytes=10_000)
    assert (offsets_of(again), again.end_offset) == ([3, 9], 10)
    again.append_replicated(keyed([(b"k", b"3")], base_offset=20, leader_epoch=1))
    assert offsets_of(again) == [3, 9, 20]


@pytest.mark.parametrize("bytes_max", [1, 10_000])
def test_every_offset_of_a_gap_leads_behind_it(disk: SimulatedDisk, bytes_max: int) -> None:
    """At the end of a replica, too, where the places of the newest batches are remembered."""
    log = new_log(disk, segment_bytes=10_000)
    for base in (3, 9, 12, 40):
        log.append_replicated(keyed([(b"k", b"1"), (b"k", b"2")], base_offset=base, leader_epoch=1))
    for offset in range(42):
        read = log.read(offset, bytes_max, log.end_offset)
        expected = next(base for base in (3, 9, 12, 40) if base + 2 > offset)
        assert read.base_offset == expected
        assert read.next_offset > offset


def test_a_replica_copies_a_compacted_log_as_it_is(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    for number in range(60):
        log.append(
            keyed([(b"k%d" % (number % 3), None if number == 57 else b"%d" % number)], producer_id=7 + number % 2,
                  base_sequence=number // 2), 1 + number // 20, WALL_MS,
        )  # fmt: skip
    compact(log, disk)
    put(log, b"k9", b"new", epoch=4)
    replica = Log.create(disk, "/data/replica-0", log.config, wall_ms=WALL_MS)
    for _, data in batches_of(log):
        replica.append_replicated(data, leader_epoch=4, wall_ms=WALL_MS)
        replica.sync()
    assert [data for _, data in batches_of(replica)] == [data for _, data in batches_of(log)]
    assert (replica.end_offset, values_of(replica)) == (log.end_offset, values_of(log))
    last = {each[0]: each[2] for each in log.producers.last_data_offsets()}
    assert {each[0]: each[2] for each in replica.producers.last_data_offsets()} == last
    compact(replica, disk)
    assert values_of(replica) == values_of(log)


def test_times_are_found_although_the_youngest_record_went(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    log.append(keyed([(b"k", b"1")], timestamp_ms=WALL_MS + 500, producer_id=7, base_sequence=0), 1, WALL_MS)
    put(log, b"k", b"2", timestamp_ms=WALL_MS + 100)
    put(log, b"l", b"2", timestamp_ms=WALL_MS + 50)
    compact(log, disk)
    youngest = log.youngest_record(3)
    assert youngest is not None
    assert (youngest.offset, youngest.timestamp_ms) == (1, WALL_MS + 100)
    assert log.offset_for_time(WALL_MS + 200, 3) is None


def test_a_batch_that_loses_its_youngest_record_says_so(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    records = [Record(0, WALL_MS + 300, b"k", b"1", ()), Record(1, WALL_MS + 100, b"l", b"1", ())]
    log.append(encode_batch(records), 1, WALL_MS)
    put(log, b"k", b"2", timestamp_ms=WALL_MS + 50)
    compact(log, disk)
    assert [header.max_timestamp for header, _ in batches_of(log)] == [WALL_MS + 100, WALL_MS + 50]
    assert log.offset_for_time(WALL_MS + 101, 3) is None


# --- crashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(CrashMode))
def test_a_crash_before_any_change_of_the_disk(mode: CrashMode) -> None:
    """Half a swap is forgotten or finished, and recovery itself may be interrupted (as in KAFKA-10471)."""

    def filled() -> tuple[SimulatedDisk, Log]:
        disk = new_disk()
        log = new_log(disk, segment_bytes=600)
        for number in range(40):
            put(log, b"k%d" % (number % 4), b"%d" % number)
        log.roll(WALL_MS)
        log.sync()
        return disk, log

    disk, log = filled()
    before = disk.device.operations
    expected = values_of(log)
    compact(log, disk)
    operations = disk.device.operations - before
    assert operations > 30
    for crash_at in range(1, operations + 1):
        disk, log = filled()
        disk.device.crash_at_operation = disk.device.operations + crash_at
        with pytest.raises(NodeCrashed):
            compact(log, disk)
            raise AssertionError("no crash")
        disk.kill()
        disk.device.crash(mode)
        disk.device.crash_at_operation = disk.device.operations + 1 + crash_at % 7
        try:
            again = reopened(disk, segment_bytes=600)
        except NodeCrashed:
            disk.device.crash(mode)
            again = reopened(disk, segment_bytes=600)
        disk.device.crash_at_operation = None
        assert values_of(again) == expected
        assert again.end_offset == 40
        leftovers = (".swap", ".cleaned", ".deleted")
        alive = SimulatedDisk(disk.device)
        assert not any(name.endswith(leftovers) for name in alive.list(DIRECTORY))
        compact(again, alive)
        assert offsets_of(again) == [36, 37, 38, 39]


@pytest.mark.parametrize("flushes", [1, 2])
def test_a_swap_covers_what_is_gone_from_its_end(disk: SimulatedDisk, flushes: int) -> None:
    """The last batch of the last source went: the cleaned segment says itself how far it reaches, or the start after a
    crash would bring that source back."""
    log = new_log(disk)
    put(log, b"k", b"1")
    log.roll(WALL_MS)
    copied = keyed([(b"gone", None)], base_offset=1, leader_epoch=1)
    header = read_header(copied)
    data = records_of(header, memoryview(copied))
    log.append_replicated(rebuilt(header, data, list(raw_records(data, 1)), WALL_MS - 1))  # its time is over
    log.roll(WALL_MS)
    log.sync()
    begin_swap(disk, log, 2, flushes)
    disk.device.crash(CrashMode.LOST)
    again = reopened(disk)
    assert offsets_of(again) == [0]
    assert again.end_offset == 2


@pytest.mark.parametrize("mode", list(CrashMode))
@pytest.mark.parametrize("flushes", [1, 2])
def test_a_crash_at_any_point_of_the_recovery_of_a_swap(flushes: int, mode: CrashMode) -> None:
    """It is committed, and carried through by whichever start comes to the end of it."""

    def half_swapped(seed: int) -> SimulatedDisk:
        disk = SimulatedDisk(Device(Random(seed)))
        disk.make_directory("/data")
        disk.sync_directory("/")
        log = new_log(disk, segment_bytes=600)
        for number in range(40):
            put(log, b"k%d" % (number % 4), b"%d" % number)
        log.roll(WALL_MS)
        log.sync()
        begin_swap(disk, log, 40, flushes)
        disk.kill()
        disk.device.crash(CrashMode.LOST)
        return disk

    crash_at, crashed = 0, True
    while crashed:
        crash_at += 1
        for seed in range(4 if mode is CrashMode.SCATTERED else 1):  # of what such a crash keeps
            disk = half_swapped(seed)
            disk.device.crash_at_operation = disk.device.operations + crash_at
            try:
                reopened(disk, segment_bytes=600)
                crashed = False
            except NodeCrashed:
                disk.device.crash(mode)
            disk.device.crash_at_operation = None
            again = reopened(disk, segment_bytes=600)
            assert offsets_of(again) == [36, 37, 38, 39]
            assert again.end_offset == 40
            left = SimulatedDisk(disk.device).list(DIRECTORY)
            assert not any(name.endswith((".swap", ".cleaned")) for name in left)
    assert crash_at > 10


def test_a_full_disk_leaves_the_log_alone(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    for number in range(40):
        put(log, b"k%d" % (number % 4), b"%d" % number)
    log.roll(WALL_MS)
    log.sync()
    disk.device.capacity_bytes = disk.device.used_bytes + 50
    with pytest.raises(OSError, match="No space"):
        compact(log, disk)
    disk.device.capacity_bytes = None
    assert offsets_of(log) == list(range(40))
    assert compact(log, disk) is not None
    assert offsets_of(log) == [36, 37, 38, 39]


@pytest.mark.parametrize("mode", list(CrashMode))
@pytest.mark.parametrize("operations", range(20))
def test_the_index_survives_a_crash_at_any_point_of_a_swap(
    disk: SimulatedDisk, operations: int, mode: CrashMode
) -> None:
    """A transaction that reaches beyond what is cleaned is still told as aborted, whatever names were lost."""
    log = new_log(disk, segment_bytes=10_000)
    for number in range(24):
        log.append(keyed([(b"k%d" % (number // 2), b"%d" % number)]), 1, WALL_MS)
        if number == 3:
            log.roll(WALL_MS)
    in_transaction(log, b"z", b"aborted", 0)
    log.append(marker(7, commit=False), 1, WALL_MS, markers=True)
    log.roll(WALL_MS)
    log.sync()
    plan = log.compacting.plan(log.flushed_offset, WALL_MS)
    assert plan is not None
    # Room for some of the keys: the round ends before the transaction.
    job = log.compacting.job_for(plan, WALL_MS, 6 * 250)
    cleaned = clean(disk, job)
    assert 4 < cleaned.end_offset < 24 and cleaned.segments[0].sources == (0, 4)
    disk.device.crash_at_operation = disk.device.operations + 1 + operations
    try:
        log.compacting.swap(job, cleaned, WALL_MS)
        log.sync()
        log.close(clean=False)
    except NodeCrashed:
        disk.kill()
        disk.device.crash(mode)
    disk.device.crash_at_operation = None
    again = reopened(disk)
    assert committed_values(again, again.end_offset) == {
        b"k%d" % number: b"%d" % (2 * number + 1) for number in range(12)
    }
    assert [each[:3] for each in again.aborted_in(0, 100)] == [(7, 24, 25)]
