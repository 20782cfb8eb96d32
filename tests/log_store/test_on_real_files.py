"""The log on the file system of this machine: what the simulated disk stands for is also so."""

import asyncio
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from kraftpy.errors import KafkaStorageError
from kraftpy.record import iterate_headers
from kraftpy.runtime.disk import LocalDisk
from log_store.config import LogConfig
from log_store.log import Log
from log_store.log_directory import LogDirectory
from log_store.new_log import make_directory, parent_of
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
