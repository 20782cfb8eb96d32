"""Opening a log after stops of every kind: the table of the module, and the cases that Kafka was caught by."""

from collections.abc import Callable
from random import Random

import pytest

from kraftpy.errors import KafkaStorageError
from kraftpy.record import HEADER_BYTES, iterate_headers
from log_store import file_names
from log_store.config import LogConfig
from log_store.log import Log
from log_store.segment import Segment
from simulation.device import CrashMode, Device, DiskFault
from simulation.disk import SimulatedDisk
from simulation.loop import NodeCrashed
from tests.log_store.batches import WALL_MS, batch
from tests.log_store.recovering import CONFIG, DIRECTORY, contents, filled, last_path, new_disk, reopened

COMPACTED = LogConfig(segment_bytes=1_000_000, cleanup_policy="compact,delete")


@pytest.fixture
def disk() -> SimulatedDisk:
    return new_disk()


# --- clean stops ------------------------------------------------------------------------------------------------------


def test_a_clean_stop_needs_no_scan(disk: SimulatedDisk) -> None:
    log = filled(disk)
    before, entries = contents(log), log.epochs.entries
    log.close()
    again = reopened(disk, clean=True)
    assert (again.recovery.clean, again.recovery.scanned_bytes) == (True, 0)
    assert contents(again) == before
    assert again.epochs.entries == entries
    assert again.flushed_offset == again.end_offset == 40
    assert again.append(batch(), 9, WALL_MS).base_offset == 40


def test_an_idle_log_is_closed_without_a_write(disk: SimulatedDisk) -> None:
    filled(disk).close()
    again = reopened(disk, clean=True)
    before = disk.device.operations
    again.close()
    assert disk.device.operations == before


def test_closed_files_are_exactly_their_contents(disk: SimulatedDisk) -> None:
    """What other tools read: no reserved room, no zeros behind index entries."""
    log = filled(disk)
    log.close()
    for name in disk.list(DIRECTORY):
        data = disk.read_bytes(f"{DIRECTORY}/{name}")
        if name.endswith(".log"):
            assert sum(header.size_bytes for _, header in iterate_headers(data)) == len(data)
        if name.endswith((".index", ".timeindex")):
            assert data[-8:] != bytes(8)


def test_what_a_clean_stop_never_leaves_is_recovered_after_all(disk: SimulatedDisk) -> None:
    log = filled(disk)
    log.close()
    file = disk.open(last_path(log))
    file.write([b"garbage"], file.size())
    again = reopened(disk, clean=True)
    assert not again.recovery.clean
    assert (again.end_offset, again.recovery.cut_bytes) == (40, 7)


# --- what an unclean stop leaves --------------------------------------------------------------------------------------


def test_the_reserved_tail_is_cut_and_is_no_damage(disk: SimulatedDisk) -> None:
    log = filled(disk, config=LogConfig())
    assert disk.size(last_path(log)) == 65_536
    again = reopened(disk, config=LogConfig())
    assert (again.end_offset, again.recovery.cut_bytes, again.recovery.scanned_bytes) == (40, 0, 65_536)
    assert disk.size(last_path(again)) == again.size_bytes
    assert again.flushed_offset == 40


@pytest.mark.parametrize("left", [1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 3])
def test_a_torn_batch_is_cut(disk: SimulatedDisk, left: int) -> None:
    log = filled(disk, 5)
    size = log.size_bytes
    torn = bytes(batch([b"torn"], base_offset=5, leader_epoch=1))[:left]
    disk.open(last_path(log)).write([torn], size)
    again = reopened(disk)
    assert (again.end_offset, again.size_bytes) == (5, size)
    assert again.append(batch([b"next"]), 1, WALL_MS).base_offset == 5


def test_old_bytes_behind_the_end_are_not_resurrected(disk: SimulatedDisk) -> None:
    """A batch of an older epoch, whole and with a good CRC, where a newer leader's log ends."""
    log = filled(disk, 12)
    old = bytes(batch([b"old"], base_offset=12, leader_epoch=1))
    disk.open(last_path(log)).write([old], log.segments[-1].size_bytes)
    again = reopened(disk)
    assert (again.end_offset, again.epochs.latest_epoch) == (12, 2)
    assert again.recovery.cut_bytes > 0


def test_an_offset_that_does_not_go_on_is_cut(disk: SimulatedDisk) -> None:
    log = filled(disk, 5)
    for base_offset in (4, 7):
        stray = bytes(batch([b"stray"], base_offset=base_offset, leader_epoch=1))
        disk.open(last_path(log)).write([stray], log.size_bytes)
        assert reopened(disk).end_offset == 5


def test_indexes_are_rebuilt_for_what_was_scanned(disk: SimulatedDisk) -> None:
    log = filled(disk, 36)
    segment = log.segments[-1]
    entries = [segment.index.entries.get(n) for n in range(segment.index.entries.count)]
    assert entries
    disk.open(segment.files.offset_index).write([b"\xff" * 16], 0)
    disk.open(segment.files.time_index).truncate(5)
    again = reopened(disk).segments[-1]
    assert [again.index.entries.get(n) for n in range(again.index.entries.count)] == entries
    assert again.time_index.last() == (WALL_MS + 35, 35)


def test_a_missing_index_of_a_sealed_segment_is_rebuilt_on_any_start(disk: SimulatedDisk) -> None:
    log = filled(disk)
    before = [log.segments[0].time_index.entries.get(n) for n in range(log.segments[0].time_index.entries.count)]
    log.close()
    for clean, remove in ((True, "time_index"), (False, "time_index"), (True, "offset_index")):
        disk.remove(getattr(log.segments[0].files, remove))
        if remove == "offset_index":
            disk.remove(log.segments[0].files.time_index)
        again = reopened(disk, clean=clean)
        entries = again.segments[0].time_index.entries
        assert [entries.get(n) for n in range(entries.count)] == before
        assert again.read(3, 1, 40).base_offset == 3
        again.close()


def test_only_what_is_not_proven_is_scanned(disk: SimulatedDisk) -> None:
    log = filled(disk)
    assert len(log.segments) > 2
    again = reopened(disk)
    assert again.recovery.scanned_bytes <= 2 * CONFIG.segment_bytes < log.size_bytes


def test_proofs_are_put_down_while_a_segment_grows(disk: SimulatedDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that recovery has little to write again; and only the newest is kept, beside those between segments."""
    monkeypatch.setattr("log_store.durability.ProofBudget.bytes_max", 600)
    config = LogConfig(segment_bytes=4000)
    log = Log.create(disk, DIRECTORY, config, wall_ms=WALL_MS)
    for number in range(100):
        log.append(batch([b"%d" % number]), 1, WALL_MS)
        log.sync()
    bases = [segment.base_offset for segment in log.segments]
    snapshots = [int(name[:20]) for name in disk.list(DIRECTORY) if name.endswith(".snapshot")]
    assert len(bases) > 1
    assert snapshots == [*bases[1:], snapshots[-1]]
    assert bases[-1] < snapshots[-1] > 100 - 600 / (log.size_bytes / 100) - 2

    written_again: list[int] = []
    monkeypatch.setattr(Segment, "write_again", lambda segment, position: written_again.append(position))
    again = reopened(disk, config=config)
    assert written_again == [again.segments[-1].find(snapshots[-1]).position]  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", range(20))
def test_a_proof_where_a_segment_happens_to_end_covers_its_indexes(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("log_store.durability.ProofBudget.bytes_max", 600)
    disk = SimulatedDisk(Device(Random(seed)))
    log = Log.create(disk, DIRECTORY, CONFIG, wall_ms=WALL_MS)
    for number in range(12):
        log.append(batch([b"%d" % number], timestamp_ms=WALL_MS + number), 1, WALL_MS)
    log.sync()
    log.roll(WALL_MS)  # nothing was appended since the proof
    disk.sync_directory(DIRECTORY)
    disk.device.crash(CrashMode.PREFIX)
    again = reopened(disk)
    assert [again.read(offset, 1, 12).base_offset for offset in range(12)] == list(range(12))
    found = [again.offset_for_time(WALL_MS + number, 12) for number in range(12)]
    assert [time.offset for time in found if time is not None] == list(range(12))


def test_a_truncation_after_recovery_and_retention_still_knows_the_producers(disk: SimulatedDisk) -> None:
    """Whose batches went with the oldest segments: recovery puts down between segments what a roll would have."""
    config = LogConfig(segment_bytes=1000, retention_bytes=1000, retention_ms=-1)
    log = Log.create(disk, DIRECTORY, config, wall_ms=WALL_MS)
    log.append(batch([b"once"], producer_id=7, base_sequence=0), 1, WALL_MS)
    for _ in range(39):
        log.append(batch(), 1, WALL_MS)
    assert log.segments[-1].base_offset == 39
    for sequence in range(1, 8):
        log.append(batch([b"again"], producer_id=7, base_sequence=sequence), 1, WALL_MS)
    log.close(clean=False)
    again = reopened(disk, config=config)
    assert again.enforce_retention(WALL_MS, 47) > 0
    again.truncate(41)
    assert [entry.last_offset for entry in again.producers.entries()] == [0, 40]


def test_segments_behind_a_torn_one_go(disk: SimulatedDisk) -> None:
    log = Log.create(disk, DIRECTORY, CONFIG, wall_ms=WALL_MS)
    for _ in range(40):
        log.append(batch(), 1, WALL_MS)
    first = log.segments[0]
    log.close(clean=False)
    disk.device.flip_bit(first.files.log, first.size_bytes // 2)
    again = reopened(disk)
    assert 0 < again.end_offset < first.end_offset
    assert again.recovery.discarded
    assert [name for name in disk.list(DIRECTORY) if name.endswith(".log")] == ["00000000000000000000.log"]


def test_retention_that_a_crash_undid_in_part_leaves_no_hole(disk: SimulatedDisk) -> None:
    log = filled(disk)
    kept, gone = log.segments[0], log.segments[1]
    log.close(clean=False)
    for path in gone.files[:3]:
        disk.remove(path)
    again = reopened(disk)
    assert again.start_offset == gone.end_offset
    assert not disk.exists(kept.files.log)
    assert contents(again)


def test_leftovers_are_cleared_away(disk: SimulatedDisk) -> None:
    filled(disk, 5).close()
    leftovers = [
        "00000000000000000000.log.deleted",
        "00000000000000000009.snapshot.tmp",
        "leader-epoch-checkpoint.tmp",
        "00000000000000000077.index",
        "00000000000000000077.timeindex",
        "00000000000000000088.txnindex",
        "00000000000000000077.log.cleaned",
        "00000000000000000077.log.swap",
    ]
    for name in leftovers:
        disk.open(f"{DIRECTORY}/{name}", create=True)
    reopened(disk, clean=True)
    assert not {*leftovers} & {*disk.list(DIRECTORY)}


# --- start offsets ----------------------------------------------------------------------------------------------------


def test_the_start_offset_of_the_checkpoint_is_kept(disk: SimulatedDisk) -> None:
    filled(disk).close()
    assert reopened(disk, clean=True, start_offset=7).start_offset == 7


def test_a_log_that_ends_before_its_start_offset_is_empty_there(disk: SimulatedDisk) -> None:
    filled(disk, 5).close(clean=False)
    again = reopened(disk, start_offset=100)
    assert (again.start_offset, again.end_offset, again.epochs.entries) == (100, 100, ())
    again.close()
    assert reopened(disk, clean=True).start_offset == 100


def test_a_log_that_was_cut_and_ends_before_its_start_offset_is_empty_there(disk: SimulatedDisk) -> None:
    """Its files go, but for indexes that the scan has removed already, and had nothing to write into."""
    config = LogConfig(segment_bytes=1000)
    log = filled(disk, config=config)
    log.truncate(5)
    log.sync()
    assert disk.exists(last_path(log).replace(".log", ".timeindex"))
    log.close(clean=False)
    again = reopened(disk, start_offset=100, config=config)
    assert (again.start_offset, again.end_offset) == (100, 100)


@pytest.mark.parametrize("config", [CONFIG, LogConfig(segment_bytes=1_000_000)])
@pytest.mark.parametrize("before_offset", [25, 33, 40])
@pytest.mark.parametrize("mode", [None, CrashMode.LOST])
def test_deleted_records_do_not_come_back_with_an_old_checkpoint(
    disk: SimulatedDisk, mode: CrashMode | None, before_offset: int, config: LogConfig
) -> None:
    """Not with the next start, and not with those after it. `None`: only the process dies."""
    log = filled(disk, config=config)
    log.delete_records(before_offset)
    assert log.flushed_start_offset == 0
    log.sync()
    assert log.flushed_start_offset == before_offset
    for _ in range(3):
        disk.device.process_ended() if mode is None else disk.device.crash(mode)
        log = reopened(disk, config=config)
        assert (log.start_offset, log.flushed_start_offset, log.end_offset) == (before_offset, before_offset, 40)


def test_deleted_records_do_not_come_back_where_an_index_is_lost(disk: SimulatedDisk) -> None:
    config = LogConfig(segment_bytes=1_000_000, index_interval_bytes=150)
    log = filled(disk, config=config)
    log.delete_records(25)
    log.sync()
    disk.open(log.segments[0].files.offset_index).truncate(5)
    disk.device.crash(CrashMode.KEPT)
    for _ in range(2):
        log = reopened(disk, config=config)
        assert (log.start_offset, log.epochs.entries[0]) == (25, (3, 25))
        disk.device.process_ended()


def test_a_deletion_is_proven_after_a_cut_that_made_its_flush_void(disk: SimulatedDisk) -> None:
    log = filled(disk, config=LogConfig(segment_bytes=1_000_000))
    log.delete_records(20)
    flush = log.begin_flush()
    flush.run()
    log.truncate(30)
    log.complete_flush(flush)
    assert log.flushed_start_offset == 0
    log.sync()
    assert log.flushed_start_offset == 20
    log.truncate(25)  # and the proof goes with what it is behind
    assert log.flushed_start_offset == 0
    log.sync()
    disk.device.crash(CrashMode.LOST)
    assert reopened(disk).start_offset == 20


@pytest.mark.parametrize("mode", ["clean", None, CrashMode.LOST])
def test_a_copy_of_a_compacted_log_begins_where_it_did(disk: SimulatedDisk, mode: CrashMode | str | None) -> None:
    """Its first batch is the first that compaction has left: nobody has deleted what would lie before."""
    log = Log.create(disk, DIRECTORY, COMPACTED, wall_ms=WALL_MS)
    for base_offset, epoch in ((26, 1), (30, 1), (41, 2)):
        log.append_replicated(batch(base_offset=base_offset, leader_epoch=epoch))
    log.sync()
    log.roll(WALL_MS)
    log.sync()
    log.sync()
    held = contents(log)
    for _ in range(3):
        if mode == "clean":
            log.close()
        elif isinstance(mode, CrashMode):
            disk.device.crash(mode)
        else:
            disk.device.process_ended()
        log = reopened(disk, clean=mode == "clean", config=COMPACTED)
        assert (log.start_offset, log.end_offset, log.epochs.entries) == (0, 42, ((1, 26), (2, 41)))
        assert contents(log) == held


def test_a_log_that_lost_its_epochs_begins_where_it_did_wherever_its_first_batch_is(disk: SimulatedDisk) -> None:
    """They are read from the batches then, and begin with the first."""
    log = Log.create(disk, DIRECTORY, COMPACTED, wall_ms=WALL_MS)
    log.append_replicated(batch(base_offset=26, leader_epoch=1))
    log.close()
    disk.remove(f"{DIRECTORY}/{file_names.LEADER_EPOCHS}")
    for _ in range(3):
        log = reopened(disk, config=COMPACTED)
        assert (log.start_offset, log.epochs.entries) == (0, ((1, 26),))
        log.close()


@pytest.mark.parametrize("before_offset", [28, 31, 35, 42])
def test_deleted_records_of_a_compacted_log_do_not_come_back(disk: SimulatedDisk, before_offset: int) -> None:
    log = Log.create(disk, DIRECTORY, COMPACTED, wall_ms=WALL_MS)
    for base_offset, epoch in ((26, 1), (30, 1), (41, 2)):
        log.append_replicated(
            batch([b"1", b"2"] if base_offset < 41 else [b"3"], base_offset=base_offset, leader_epoch=epoch)
        )
    log.delete_records(before_offset)
    log.sync()
    assert log.flushed_start_offset == before_offset
    for start_offset in (0, 7, 27):
        disk.device.process_ended()
        log = reopened(disk, config=COMPACTED, start_offset=start_offset)
        assert (log.start_offset, log.end_offset) == (before_offset, 42)


def test_a_proof_that_a_roll_overtakes_is_put_down_with_the_sealed_segment(
    disk: SimulatedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands where the segment ends then, and recovery would take that as it is: with what was reserved for it."""
    monkeypatch.setattr("log_store.durability.ProofBudget.bytes_max", 500)
    log = Log.create(disk, DIRECTORY, CONFIG, wall_ms=WALL_MS)
    for number in range(8):
        log.append(batch([b"%d" % number]), 1, WALL_MS)
    flush = log.begin_flush()
    log.roll(WALL_MS)
    flush.run()
    log.complete_flush(flush)
    assert log.flushed_offset == 8
    held = contents(log)
    disk.device.process_ended()
    assert contents(reopened(disk)) == held


# --- crashes in mid-recovery ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(CrashMode))
def test_what_a_failed_sync_left_in_the_page_cache_is_written_again(disk: SimulatedDisk, mode: CrashMode) -> None:
    """The process dies of a failed fsync, the machine does not: its pages are clean now, and were never written."""
    log = filled(disk, 12)
    log.append(batch([b"lies"] * 3), 2, WALL_MS)
    disk.device.arm(DiskFault.SYNC_FAILURE, ".log")
    with pytest.raises(KafkaStorageError):
        log.sync()
    disk.kill()
    disk.device.process_ended()
    again = reopened(disk)
    assert again.flushed_offset == again.end_offset == 15  # so this may be acknowledged
    again.append(batch([b"more"]), 3, WALL_MS)
    again.sync()
    before = contents(again)
    disk.device.crash(mode)
    assert contents(reopened(disk)) == before


def test_a_truncation_whose_sync_failed_is_made_again(disk: SimulatedDisk) -> None:
    log = filled(disk, 15)
    log.truncate(12)
    disk.device.arm(DiskFault.SYNC_FAILURE, ".log")
    with pytest.raises(KafkaStorageError):
        log.sync()
    disk.kill()
    disk.device.process_ended()
    assert reopened(disk).end_offset == 12
    disk.device.crash(CrashMode.LOST)
    assert reopened(disk).end_offset == 12


@pytest.mark.parametrize("mode", list(CrashMode))
def test_kafka_10471_a_crash_in_mid_recovery_loses_nothing(disk: SimulatedDisk, mode: CrashMode) -> None:
    """Crash before the first change that recovery makes, then before the second, and so on until it comes through."""
    log = filled(disk)
    expected = contents(log)
    tail = bytes(batch([b"torn"], base_offset=40, leader_epoch=4))[:-3]
    disk.open(last_path(log)).write([tail], log.segments[-1].size_bytes)
    device = disk.device
    device.crash(CrashMode.KEPT)
    for attempt in range(1, 200):
        device.crash_at_operation = device.operations + attempt
        try:
            again = reopened(disk)
        except NodeCrashed:
            device.crash(mode)
        else:
            break
    device.crash_at_operation = None
    assert attempt > 3
    assert contents(again) == expected
    assert again.end_offset == 40


# --- failures of the disk ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [None, *CrashMode])
def test_a_new_log_is_durable_once_flushed_wherever_its_making_was_interrupted(mode: CrashMode | None) -> None:
    """Crash before each change of the disk that makes it (`None`: only the process), then make it, flush, and crash."""
    nested = "/var/lib/logs/topic-0"
    for operation in range(1, 100):
        disk = SimulatedDisk(Device(Random(operation)))
        disk.device.crash_at_operation = operation
        try:
            log = Log.create(disk, nested, CONFIG, wall_ms=WALL_MS)
            for _ in range(3):
                log.append(batch(), 1, WALL_MS)
                log.sync()
        except NodeCrashed:
            disk.kill()
            disk.device.process_ended() if mode is None else disk.device.crash(mode)
        else:
            assert operation > 20
            return
        again = Log.open(SimulatedDisk(disk.device), nested, CONFIG, clean=False, wall_ms=WALL_MS)
        again.append(batch([b"acknowledged"]), 2, WALL_MS)
        again.sync()
        before = contents(again)
        disk.device.crash(CrashMode.LOST)
        after = Log.open(SimulatedDisk(disk.device), nested, CONFIG, clean=False, wall_ms=WALL_MS)
        assert contents(after) == before
    raise AssertionError("it takes more changes than were tried")


Work = Callable[[Log], object]


@pytest.mark.parametrize(
    "work",
    [
        lambda log: log.append(batch(), 9, WALL_MS),
        lambda log: log.roll(WALL_MS),
        lambda log: log.truncate(30),
        lambda log: log.truncate(3),
        lambda log: log.reset(77),
        lambda log: log.close(),
    ],
)
def test_every_failing_sync_or_write_is_a_storage_error(work: Work) -> None:
    """Fail each operation in turn; the log then says so, and recovery finds all that was flushed and not cut."""
    for fault in (DiskFault.SYNC_FAILURE, DiskFault.WRITE_ERROR, DiskFault.FULL):
        for skip in range(6):
            disk = SimulatedDisk(Device(Random(1)))
            log = filled(disk)
            disk.device.arm(fault, "" if skip == 0 else str(skip))
            try:
                work(log)
                log.sync() if not log.is_closed else None
            except KafkaStorageError:
                assert log._fence.failure is not None
            disk.device.disarm()
            again = reopened(disk)
            assert contents(again) is not None
