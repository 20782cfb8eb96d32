"""Room ahead of need: what a flush does beforehand, so that the loop need not wait for the file system."""

import errno
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from kraftpy.errors import KafkaStorageError
from kraftpy.runtime.disk import LocalDisk
from log_store.config import LogConfig
from log_store.log import Log
from log_store.room import Room
from log_store.segment_files import SegmentFiles
from log_store.segment_room import RESERVE_FIRST_BYTES, RESERVE_MOST_BYTES
from log_store.spare import Spare
from simulation.device import CrashMode, Device, DiskFault
from simulation.disk import SimulatedDisk, SimulatedFile
from simulation.loop import NodeCrashed
from tests.log_store.batches import WALL_MS, batch

DIRECTORY = "/data/topic-0"
SPARES = ["next.index.tmp", "next.log.tmp", "next.timeindex.tmp"]
CONFIG = LogConfig(segment_bytes=20_000, index_interval_bytes=400)


@pytest.fixture
def disk() -> SimulatedDisk:
    return new_disk()


def new_disk() -> SimulatedDisk:
    disk = SimulatedDisk(Device(Random(1)))
    disk.make_directory(DIRECTORY)
    disk.sync_directory("/")
    disk.sync_directory("/data")
    return disk


def new_log(disk: SimulatedDisk, config: LogConfig = CONFIG) -> Log:
    return Log.create(disk, DIRECTORY, config, wall_ms=WALL_MS)


def append(log: Log, count: int = 1, size_bytes: int = 1_000) -> None:
    for _ in range(count):
        log.append(batch([bytes(size_bytes)], timestamp_ms=WALL_MS + log.end_offset), 1, WALL_MS)


def contents(log: Log, end_offset: int) -> bytes:
    data, offset = b"", 0
    while offset < end_offset:
        data += log.read_bytes(offset, 10**6, end_offset)
        offset = log.read(offset, 10**6, end_offset).next_offset
    return data


def spares(disk: SimulatedDisk) -> list[str]:
    return [name for name in disk.list(DIRECTORY) if name.startswith("next.")]


# --- room -------------------------------------------------------------------------------------------------------------


def test_what_is_wanted_is_brought_about_by_settling(disk: SimulatedDisk) -> None:
    room = Room(disk, "/data/f", 0)
    room.take(100)
    for length_bytes in (300, 50):
        assert room.want(length_bytes)
        assert not room.want(length_bytes), "told twice"
        assert room.length_bytes == disk.size("/data/f") != length_bytes
        room.settle()
        assert room.length_bytes == disk.size("/data/f") == length_bytes


@pytest.mark.parametrize("change", ["take", "keep", "cut"])
def test_what_is_no_longer_wanted_is_left(disk: SimulatedDisk, change: str) -> None:
    room = Room(disk, "/data/f", 0)
    room.take(100)
    room.want(10)
    match change:
        case "take":
            room.take(100)
        case "keep":
            room.keep()
        case _:
            room.cut(90)
    room.settle()
    assert room.length_bytes == disk.size("/data/f") == (90 if change == "cut" else 100)


def test_no_room_ahead_is_not_told_before_it_is_needed(disk: SimulatedDisk) -> None:
    room = Room(disk, "/data/f", 0)
    room.take(100)
    disk.device.capacity_bytes = 150
    room.want(200)
    room.settle()
    assert room.length_bytes == disk.size("/data/f") == 100
    with pytest.raises(OSError) as full:
        room.take(200)
    assert full.value.errno == errno.ENOSPC


def test_another_failure_is_told_at_once(disk: SimulatedDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(disk, "/data/f", 0)
    room.want(200)

    def fail(path: str, *, create: bool = False) -> None:
        raise OSError(errno.EIO, "Input/output error", path)

    monkeypatch.setattr(disk, "open", fail)
    with pytest.raises(OSError, match="Input/output"):
        room.settle()


def test_the_loop_and_a_disk_thread_are_never_in_one_file_together(tmp_path: Path) -> None:
    """A file that is given back while it is cut and appended to again: nothing of it may be lost."""
    disk = LocalDisk(threads=1)
    room = Room(disk, str(tmp_path / "f"), 0)
    room.take(1_000)
    room.want(100)
    pool = disk._threads
    for number in range(300):
        done = pool.submit(room.settle)
        room.take(1_000 + number)  # it is appended to again
        assert disk.size(str(tmp_path / "f")) >= 1_000 + number
        done.result()
        assert disk.size(str(tmp_path / "f")) == room.length_bytes >= 1_000 + number
        room.want(100)
    disk.close()


# --- spares -----------------------------------------------------------------------------------------------------------


def test_a_spare_is_made_once_and_taken_by_name(disk: SimulatedDisk) -> None:
    spare, files = Spare(disk, DIRECTORY), SegmentFiles.of(DIRECTORY, 42)
    assert not spare.take(files)
    assert spare.want((100, 80, 120))
    assert not spare.want((200, 80, 120))
    assert not spare.take(files), "before it is there"
    spare.settle()
    assert spares(disk) == SPARES
    assert spare.take(files) == (100, 80, 120)
    assert [disk.size(path) for path in files[:3]] == [100, 80, 120]
    assert spares(disk) == []
    assert not spare.take(SegmentFiles.of(DIRECTORY, 43))


def test_without_room_there_is_no_spare_and_nothing_is_left_of_it(disk: SimulatedDisk) -> None:
    disk.device.capacity_bytes = disk.device.used_bytes + 150
    spare = Spare(disk, DIRECTORY)
    spare.want((100, 80, 120))
    spare.settle()
    assert spares(disk) == []
    assert not spare.take(SegmentFiles.of(DIRECTORY, 42))


# --- a log ------------------------------------------------------------------------------------------------------------


class Watched(SimulatedDisk):
    """Knows which changes of files the loop has made itself."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self.on_loop: list[str] = []
        self.is_flushing = False

    def note(self, what: str) -> None:
        if not self.is_flushing:
            self.on_loop.append(what)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    disk = Watched(Device(Random(1)))
    disk.make_directory(DIRECTORY)
    real_open = Watched.open
    allocate, truncate = SimulatedFile.allocate, SimulatedFile.truncate

    def noted_open(self: Watched, path: str, *, create: bool = False) -> SimulatedFile:
        if create and not self.exists(path):
            self.note(f"create {path}")
        return real_open(self, path, create=create)

    def noted_allocate(self: SimulatedFile, length: int) -> None:
        disk.note(f"allocate {self.path}")
        allocate(self, length)

    def noted_truncate(self: SimulatedFile, length: int) -> None:
        disk.note(f"truncate {self.path}")
        truncate(self, length)

    monkeypatch.setattr(Watched, "open", noted_open)
    monkeypatch.setattr(SimulatedFile, "allocate", noted_allocate)
    monkeypatch.setattr(SimulatedFile, "truncate", noted_truncate)
    return disk


def flush(log: Log, disk: Watched) -> None:
    while log.needs_flush:
        work = log.begin_flush()
        disk.is_flushing = True
        work.run()
        disk.is_flushing = False
        log.complete_flush(work)


@pytest.mark.parametrize("segment_bytes", [20_000, 400_000])
def test_the_loop_makes_no_room_while_flushes_keep_up(watched: Watched, segment_bytes: int) -> None:
    log = new_log(watched, LogConfig(segment_bytes=segment_bytes, index_interval_bytes=400))
    while len(log.segments) < 2:  # the first one's files cannot be foreseen
        append(log)
        flush(log, watched)
    watched.on_loop.clear()
    while len(log.segments) < 6:
        append(log)
        flush(log, watched)
    assert watched.on_loop == []


def test_what_flushes_have_not_prepared_is_made_on_the_spot(watched: Watched) -> None:
    log = new_log(watched)
    append(log, 100)
    assert len(log.segments) > 4
    assert any(what.startswith("create") for what in watched.on_loop)
    flush(log, watched)
    assert log.flushed_offset == 100


def test_files_of_closed_segments_are_exactly_their_contents_after_a_flush(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    for _ in range(60):
        append(log)
        log.sync()
    for segment in log.segments[:-1]:
        assert disk.size(segment.files.log) == segment.size_bytes
        assert disk.size(segment.files.offset_index) == segment.index.entries.count * 8 > 0
        assert disk.size(segment.files.time_index) == segment.time_index.entries.count * 12 > 0


def test_a_log_that_is_cut_back_into_a_closed_segment_loses_nothing_by_the_flush_under_way(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    while len(log.segments) < 2:
        append(log)
    closed = log.segments[0]
    work = log.begin_flush()  # it is to shorten the files of the first segment
    log.truncate(closed.end_offset - 5)
    append(log, 4)
    expected = contents(log, log.end_offset)
    work.run()
    log.complete_flush(work)
    assert contents(log, log.end_offset) == expected
    log.sync()
    log.close()
    again = Log.open(SimulatedDisk(disk.device), DIRECTORY, CONFIG, clean=True, wall_ms=WALL_MS)
    assert contents(again, again.end_offset) == expected


def test_a_clean_stop_leaves_no_spare(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    append(log, 16)
    log.sync()
    assert spares(disk) == SPARES
    log.close()
    assert spares(disk) == []


@pytest.mark.parametrize("mode", CrashMode)
def test_a_crash_at_any_operation_loses_nothing_and_leaves_no_spare(mode: CrashMode) -> None:
    """Beside three rolls, one of them behind a cut back into a closed segment."""
    config = replace(CONFIG, segment_bytes=5_000)
    crash_at = 1
    while True:
        disk = new_disk()
        disk.device.crash_at_operation = disk.device.operations + crash_at
        durable = b""
        try:
            log = new_log(disk, config)
            for number in range(16):
                append(log)
                if number == 10:
                    end_offset = log.segments[-1].base_offset - 2
                    durable = contents(log, end_offset)
                    log.truncate(end_offset)
                log.sync()
                durable = contents(log, log.end_offset)
            assert len(log.segments) >= 3
            log.close()
            break
        except NodeCrashed:
            disk.kill()
            disk.device.crash(mode)
        next_life = SimulatedDisk(disk.device)
        again = Log.open(next_life, DIRECTORY, config, clean=False, wall_ms=WALL_MS)
        assert contents(again, again.end_offset).startswith(durable)
        assert spares(next_life) == []
        append(again, 6)
        again.close()
        crash_at += 1
    assert crash_at > 100


def test_room_ahead_grows_in_chunks_of_its_own(disk: SimulatedDisk) -> None:
    log = new_log(disk, LogConfig(segment_bytes=64 * 1024 * 1024))
    for _ in range(300):
        append(log, size_bytes=100_000)
        log.sync()
    (segment,) = log.segments
    reserved = disk.size(segment.files.log)
    assert RESERVE_FIRST_BYTES < reserved - segment.size_bytes <= RESERVE_MOST_BYTES * 3 // 2


def test_a_full_disk_is_told_by_the_append_that_needs_the_room(disk: SimulatedDisk) -> None:
    log = new_log(disk, LogConfig())
    append(log, 40)
    disk.device.arm(DiskFault.FULL, ".log", times=1)  # the chunk ahead
    log.sync()
    assert log.flushed_offset == 40
    disk.device.capacity_bytes = disk.device.used_bytes
    with pytest.raises(KafkaStorageError):
        append(log, 40)
