"""The log on the file system of this machine: what the simulated disk stands for is also so."""

import asyncio
import resource
import threading
from collections.abc import Iterator
from errno import EIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from kraftpy.errors import KafkaStorageError
from kraftpy.record import iterate_headers
from kraftpy.runtime.disk import LocalDisk
from log_store import file_names
from log_store.config import LogConfig
from log_store.fence import Fence
from log_store.inventory import Inventory
from log_store.log import Log
from log_store.log_directory import LogDirectory
from log_store.new_log import make_directory, parent_of
from log_store.open_segments import OpenSegments
from tests.log_store.batches import WALL_MS, batch

CONFIG = LogConfig(segment_bytes=20_000, index_interval_bytes=500, retention_ms=-1)
SPARE_BYTES = 1 << 20


@pytest.fixture
def disk() -> Iterator[LocalDisk]:
    disk = LocalDisk(threads=2)
    yield disk
    disk.close()


def filled(disk: LocalDisk, directory: str, count: int = 500) -> Log:
    log = Log.create(disk, directory, CONFIG, wall_ms=WALL_MS)
    for number in range(count):
        log.append(batch([b"%d" % number], timestamp_ms=WALL_MS + number), 1 + number // 200, WALL_MS)
    return log


def offsets(log: Log) -> list[int]:
    found: list[int] = []
    offset = log.start_offset
    while offset < log.end_offset:
        read = log.read(offset, 10_000, log.end_offset)
        data = b"".join(piece.file.read(piece.length, piece.position) for piece in read.slices)
        found += [header.base_offset for _, header in iterate_headers(data)]
        offset = read.next_offset
    return found


@pytest.mark.parametrize("clean", [True, False])
def test_what_was_written_is_there_after_a_stop(disk: LocalDisk, tmp_path: Path, clean: bool) -> None:
    directory = str(tmp_path / "t-0")
    log = filled(disk, directory)
    log.truncate(450)
    log.close(clean=clean)
    again = Log.open(disk, directory, CONFIG, clean=clean, wall_ms=WALL_MS)
    assert (again.recovery.clean, again.flushed_offset, again.epochs.latest_epoch) == (clean, 450, 3)
    assert offsets(again) == list(range(450))
    found = again.offset_for_time(WALL_MS + 333, 450)
    assert found is not None and found.offset == 333
    again.append(batch(), 4, WALL_MS)
    again.sync()
    assert again.flushed_offset == 451
    again.close()


def test_a_relative_path_is_made_where_the_process_stands(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_directory(disk, "data/logs/")
    assert (tmp_path / "data" / "logs").is_dir()
    paths = ("data", "data/logs", "/", "/data", "/data/logs/")
    assert [parent_of(path) for path in paths] == [".", "data", "/", "/", "/data"]


def test_torn_bytes_at_the_end_are_cut(disk: LocalDisk, tmp_path: Path) -> None:
    log = filled(disk, str(tmp_path / "t-0"))
    position, path = log.segments[-1].size_bytes, log.segments[-1].files.log
    log.close(clean=False)
    disk.open(path).write([b"torn" * 10], position)
    again = Log.open(disk, str(tmp_path / "t-0"), CONFIG, clean=False, wall_ms=WALL_MS)
    assert again.recovery.cut_bytes > 0
    assert offsets(again) == list(range(500))
    again.close()


def test_a_file_that_may_not_grow_fences_the_directory_and_what_was_flushed_stays(tmp_path: Path) -> None:
    """The system refuses room for a reservation, as a full disk does; nobody is killed by a signal."""

    async def story() -> None:
        disk = LocalDisk(threads=2)
        directory = LogDirectory(disk, str(tmp_path / "logs"))
        await directory.open_logs(lambda name, topic_id: LogConfig(), WALL_MS)
        log = directory.create_log("t-0", LogConfig(), topic_id=None, wall_ms=WALL_MS)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (SPARE_BYTES, before[1]))
        flushed = 0
        try:
            with pytest.raises(KafkaStorageError):
                for _ in range(100):
                    log.append(batch([bytes(50_000)]), 1, WALL_MS)
                    flushed = await directory.flusher.flush(log)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert directory.failure is not None
        with pytest.raises(KafkaStorageError):
            log.append(batch(), 1, WALL_MS)
        await directory.close()
        again = LogDirectory(disk, str(tmp_path / "logs"))
        await again.open_logs(lambda name, topic_id: LogConfig(), WALL_MS)
        assert not again.was_clean
        assert 0 < flushed <= again.logs["t-0"].end_offset
        await again.close()
        disk.close()

    asyncio.run(story())


def test_what_is_asked_of_every_segment_keeps_none_open(disk: LocalDisk, tmp_path: Path) -> None:
    """After a restart retention, compaction and searches by time ask thousands of closed segments at once."""
    directory = str(tmp_path / "t-0")
    log = filled(disk, directory, 2_000)
    log.append(
        batch([b"transactional"], producer_id=7, base_sequence=0, transactional=True), 10, WALL_MS, verified=True
    )
    log.close()
    open_segments = OpenSegments(3)
    log = Log.open(disk, directory, CONFIG, clean=True, wall_ms=WALL_MS, open_segments=open_segments)
    assert len(log.segments) > 2 * open_segments.limit
    assert log.enforce_retention(WALL_MS, log.end_offset) == 0
    assert log.compacting.plan(log.end_offset, WALL_MS) is None
    assert mapped_under(directory) == 0
    for number in range(0, 2_000, 100):
        found = log.offset_for_time(WALL_MS + number, log.end_offset)
        assert found is not None and found.offset == number
        assert log.aborted_in(number, log.end_offset) == []
    assert mapped_under(directory) <= 2 * open_segments.limit
    log.close()
    assert mapped_under(directory) == 0


def mapped_under(directory: str) -> int:
    return Path("/proc/self/maps").read_text().count(directory)


class DyingDisk(LocalDisk):
    """One whose directories cannot be made durable any more."""

    is_dying = False

    def sync_directory(self, path: str) -> None:
        if self.is_dying:
            raise OSError(EIO, "Input/output error", path)
        super().sync_directory(path)


@pytest.mark.parametrize("while_", ["a copy takes its name", "it is closed"])
def test_a_disk_that_fails_on_a_thread_is_told_of_on_the_loop(tmp_path: Path, while_: str) -> None:
    """Who is told answers whoever waits, which only the loop's thread may do."""
    told: list[asyncio.AbstractEventLoop] = []

    async def story(disk: DyingDisk) -> None:
        home = LogDirectory(
            disk, str(tmp_path / "data"), on_failed=lambda error: told.append(asyncio.get_running_loop())
        )
        await home.open_logs(lambda name, topic_id: CONFIG, WALL_MS)
        if while_ == "it is closed":
            log = home.create_log("t-0", CONFIG, topic_id=UUID(int=7), wall_ms=WALL_MS)
        else:
            log = await home.open_future("t-0", CONFIG, topic_id=UUID(int=7), start_offset=0, wall_ms=WALL_MS)
        log.append(batch(), 1, WALL_MS)
        await home.flusher.flush(log)
        disk.is_dying = True
        if while_ != "it is closed":
            with pytest.raises(KafkaStorageError):
                await home.arrive("t-0", log, WALL_MS)
            log.close(clean=False)
        await home.close()
        assert told == [asyncio.get_running_loop()]
        assert not (tmp_path / "data" / file_names.CLEAN_SHUTDOWN).exists()

    disk = DyingDisk(threads=2)
    try:
        asyncio.run(story(disk))
    finally:
        disk.close()


def test_a_log_of_the_longest_name_can_be_deleted(disk: LocalDisk, tmp_path: Path) -> None:
    """With the suffix it would be too long for a directory: all replicas would fail at once, and at each start."""

    async def story() -> None:
        home = LogDirectory(disk, str(tmp_path / "data"))
        await home.open_logs(lambda name, topic_id: CONFIG, WALL_MS)
        name = "t" * 249 + "-0"
        for _ in range(2):
            log = home.create_log(name, CONFIG, topic_id=UUID(int=7), wall_ms=WALL_MS)
            log.append(batch(), 1, WALL_MS)
            await home.flusher.flush(log)
            home.delete_log(name)
            assert home.failure is None
        assert sum(each.name.endswith("-delete") for each in (tmp_path / "data").iterdir()) == 2
        await home.close()

    asyncio.run(story())


def test_the_quorums_log_is_no_partitions(disk: LocalDisk, tmp_path: Path) -> None:
    """It lies there under a partition's name: a topic called like it would share its files, and take them along."""

    async def story() -> None:
        home = LogDirectory(disk, str(tmp_path / "data"))
        await home.open_logs(lambda name, topic_id: CONFIG, WALL_MS)
        make_directory(disk, f"{home.path}/{file_names.QUORUM_LOG}")
        with pytest.raises(KafkaStorageError, match="is the quorum's log"):
            home.create_log(file_names.QUORUM_LOG, CONFIG, topic_id=UUID(int=7), wall_ms=WALL_MS)
        with pytest.raises(KafkaStorageError, match="is the quorum's log"):
            home.delete_log(file_names.QUORUM_LOG)
        assert home.failure is None
        assert (tmp_path / "data" / file_names.QUORUM_LOG).is_dir()
        await home.close()

    asyncio.run(story())


def test_a_stop_in_mid_recovery_keeps_the_lock_until_the_last_thread_is_through(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a second node began to recover what a thread of the first is still cutting."""
    path = str(tmp_path / "data")
    began, may_go_on, opened = threading.Event(), threading.Event(), list[str]()

    def slowly(cls: type[Log], disk: LocalDisk, directory: str, *more: Any, **named: Any) -> Log:
        opened.append(directory)
        began.set()
        may_go_on.wait(10)
        return real(disk, directory, *more, **named)

    async def story() -> None:
        home = LogDirectory(disk, path)
        await home.open_logs(lambda name, topic_id: CONFIG, WALL_MS)
        for number in range(3):
            log = home.create_log(f"t-{number}", CONFIG, topic_id=UUID(int=7), wall_ms=WALL_MS)
            log.append(batch(), 1, WALL_MS)
            await home.flusher.flush(log)
        await home.close(clean=False)
        home = LogDirectory(disk, path, recovery_threads=1)
        monkeypatch.setattr(Log, "open", classmethod(slowly))
        starting = asyncio.create_task(home.open_logs(lambda name, topic_id: CONFIG, WALL_MS))
        await asyncio.to_thread(began.wait, 10)
        starting.cancel()
        closing = asyncio.create_task(home.close(clean=False))
        await asyncio.sleep(0.1)
        assert not closing.done()
        with pytest.raises(BlockingIOError):
            LogDirectory(disk, path)
        may_go_on.set()
        await closing
        assert len(opened) == 1, "the rest was not begun"
        await LogDirectory(disk, path).close(clean=False)

    real = Log.open
    asyncio.run(story())


def test_checkpoints_are_written_one_after_the_other_also_where_somebody_does_not_wait_any_longer(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both write under one temporary name: the second to rename it would not find it, which counts as a failed disk."""
    began, may_go_on, steps = threading.Event(), threading.Event(), list[str]()

    def slowly(path: str, data: bytes) -> None:
        steps.append("begin")
        if not began.is_set():
            began.set()
            may_go_on.wait(10)
        real(path, data)
        steps.append("end")

    async def story() -> None:
        home = LogDirectory(disk, str(tmp_path / "data"))
        await home.open_logs(lambda name, topic_id: CONFIG, WALL_MS)
        home.create_log("t-0", CONFIG, topic_id=UUID(int=7), wall_ms=WALL_MS)
        monkeypatch.setattr(disk, "write_atomically", slowly)
        first = asyncio.create_task(home.write_high_watermarks(lambda: {"t-0": 1}))
        await asyncio.to_thread(began.wait, 10)
        first.cancel()
        second = asyncio.create_task(home.write_high_watermarks(lambda: {"t-0": 2}))
        closing = asyncio.create_task(home.close())
        await asyncio.sleep(0.1)
        assert steps == ["begin"] and not closing.done()
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
        await closing
        assert home.failure is None
        assert steps == ["begin", "end"] * (len(steps) // 2)

    real = disk.write_atomically
    asyncio.run(story())


def test_the_inventory_is_written_one_at_a_time_also_where_somebody_does_not_wait_any_longer(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, may_go_on, fence = threading.Event(), threading.Event(), Fence(str(tmp_path))

    def slowly(path: str, data: bytes) -> None:
        if not began.is_set():
            began.set()
            may_go_on.wait(10)
        real(path, data)

    async def story() -> None:
        inventory = Inventory.load(disk, str(tmp_path), fence)
        monkeypatch.setattr(disk, "write_atomically", slowly)
        inventory.note((UUID(int=7), 0), UUID(int=1))
        first = asyncio.create_task(inventory.settle())
        await asyncio.to_thread(began.wait, 10)
        first.cancel()
        inventory.note((UUID(int=7), 1), UUID(int=1))
        second = asyncio.create_task(inventory.settle())
        await asyncio.sleep(0.1)
        assert not second.done()
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
        assert fence.failure is None
        assert len(Inventory.load(disk, str(tmp_path), fence).listed()) == 2

    real = disk.write_atomically
    asyncio.run(story())
