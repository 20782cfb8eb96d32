"""Thousands of logs: what nobody writes to costs nothing, and what is written together is synced together."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest

from kraftpy.runtime.disk import LocalDisk
from log_store import file_names
from log_store.config import LogConfig
from log_store.durability import PROOF_BYTES_LEAST, PROOF_BYTES_MOST, UNPROVEN_BYTES_MAX, ProofBudget
from log_store.flush import SYNCS_AT_ONCE
from log_store.log import Log
from log_store.log_directory import LogDirectory
from tests.log_store.batches import WALL_MS, batch

CONFIG = LogConfig()
LOGS = 2 * SYNCS_AT_ONCE


class CountingDisk(LocalDisk):
    """Counts what was synced, and can do without the sync of a whole file system."""

    def __init__(self, *, whole: bool = True) -> None:
        super().__init__(threads=2)
        self.whole = whole
        self.whole_syncs = 0
        self.directory_syncs = 0

    def sync_file_system(self, path: str) -> bool:
        done = self.whole and super().sync_file_system(path)
        self.whole_syncs += done
        return done

    def sync_directory(self, path: str) -> None:
        self.directory_syncs += 1
        super().sync_directory(path)


def played(story: Callable[[str], Awaitable[None]], tmp_path: Path) -> None:
    async def play() -> None:
        await story(str(tmp_path / "data"))

    asyncio.run(play())


async def opened(disk: LocalDisk, path: str) -> LogDirectory:
    home = LogDirectory(disk, path)
    await home.open_logs(lambda name, topic_id: CONFIG, WALL_MS)
    return home


def created(home: LogDirectory, count: int = LOGS) -> list[Log]:
    return [home.create_log(f"t-{n}", CONFIG, topic_id=UUID(int=7), wall_ms=WALL_MS) for n in range(count)]


def test_a_log_without_a_record_has_no_file_and_needs_no_sync(tmp_path: Path) -> None:
    async def story(path: str) -> None:
        disk = CountingDisk()
        home = await opened(disk, path)
        before = disk.directory_syncs
        for log in created(home):
            await home.flusher.flush(log)
            assert not log.is_on_disk
        assert not [name for name in disk.list(path) if name.startswith("t-")]
        assert (disk.whole_syncs, disk.directory_syncs) == (0, before)
        await home.close(clean=True)
        assert (await opened(disk, path)).logs == {}

    played(story, tmp_path)


@pytest.mark.parametrize("whole", [True, False])
def test_many_are_flushed_recovered_and_closed_together(whole: bool, tmp_path: Path) -> None:
    """Where the file system cannot be synced as a whole, each file is, and all comes out the same."""

    async def story(path: str) -> None:
        disk = CountingDisk(whole=whole)
        home = await opened(disk, path)
        logs = created(home)
        for log in logs:
            log.append(batch(), 1, WALL_MS)
        await asyncio.gather(*[home.flusher.flush(log) for log in logs])
        assert all(log.flushed_offset == log.end_offset == 1 and not log.needs_flush for log in logs)
        assert disk.whole_syncs == (2 if whole else 0)  # the files, then their names
        await home.close(clean=False)

        home = await opened(disk, path)
        assert not home.was_clean
        assert [log.end_offset for log in home.logs.values()] == [1] * LOGS
        assert disk.whole_syncs == (3 if whole else 0)
        for log in home.logs.values():
            log.append(batch(), 2, WALL_MS)
        await home.close(clean=True)

        home = await opened(disk, path)
        assert home.was_clean
        assert all(log.recovery.clean and log.end_offset == 2 for log in home.logs.values())
        assert all([each.epoch for each in log.epochs.entries] == [1, 2] for log in home.logs.values())
        await home.close(clean=True)
        disk.close()

    played(story, tmp_path)


def test_a_log_that_is_deleted_while_many_are_flushed_takes_nothing_with_it(tmp_path: Path) -> None:
    async def story(path: str) -> None:
        disk = CountingDisk(whole=False)
        home = await opened(disk, path)
        logs = created(home)
        for log in logs:
            log.append(batch(), 1, WALL_MS)
            home.flusher.request(log)
        await asyncio.sleep(0)
        home.delete_log("t-3")
        await home.flusher.stop()
        assert home.failure is None
        assert all(log.flushed_offset == 1 for log in logs if log.name != "t-3")
        await home.close(clean=True)
        disk.close()

    played(story, tmp_path)


def test_what_was_proven_is_not_looked_through_again(tmp_path: Path) -> None:
    """Neither the bytes below the proof nor what a crash left in the indexes above it."""

    async def story(path: str) -> None:
        disk = LocalDisk(threads=2)
        home = await opened(disk, path)
        (log,) = created(home, 1)
        while log.size_bytes < PROOF_BYTES_MOST:
            log.append(batch([bytes(100_000)]), 1, WALL_MS)
        await home.flusher.flush(log)
        (proof,) = [name for name in disk.list(log.directory) if name.endswith(file_names.PRODUCER_SNAPSHOT)]
        for _ in range(5):
            log.append(batch([bytes(10_000)], timestamp_ms=WALL_MS + 5), 2, WALL_MS)
        await home.flusher.flush(log)
        end_offset, size_bytes = log.end_offset, log.size_bytes
        proven = log.segments[0].position_of(int(proof[:20]))
        await home.close(clean=False)
        for suffix in (file_names.OFFSET_INDEX, file_names.TIME_INDEX):  # the last pages never reached the medium
            name = f"{log.directory}/{file_names.of_offset(0, suffix)}"
            index = disk.open(name)
            index.write([b"\x7f" * 2_000], index.size() - 2_000)
        home = await opened(disk, path)
        again = home.logs["t-0"]
        assert (again.end_offset, again.size_bytes) == (end_offset, size_bytes)
        assert again.recovery.scanned_bytes < PROOF_BYTES_MOST / 2 <= proven
        assert [each.epoch for each in again.epochs.entries] == [1, 2]
        found = again.offset_for_time(WALL_MS + 5, end_offset)
        assert found is not None and found.offset == end_offset - 5
        for offset in range(0, end_offset, 7):
            place = again.segments[0].find(offset)
            assert place is not None and place.base_offset == offset
        await home.close(clean=True)
        disk.close()

    played(story, tmp_path)


def test_older_records_may_take_the_place_of_a_later_epoch_that_was_cut(tmp_path: Path) -> None:
    """The file of epochs must not remember it: recovery would take those records for an epoch that goes back."""

    async def story(path: str) -> None:
        disk = LocalDisk(threads=2)
        home = await opened(disk, path)
        (log,) = created(home, 1)
        for epoch in (1, 9):
            log.append(batch(), epoch, WALL_MS)
        log.roll(WALL_MS)
        await home.flusher.flush(log)
        log.reset(5)
        log.append(batch(), 4, WALL_MS)
        await home.flusher.flush(log)
        await home.close(clean=False)
        again = (await opened(disk, path)).logs["t-0"]
        assert (again.start_offset, again.end_offset) == (5, 6)
        assert [each.epoch for each in again.epochs.entries] == [4]

    played(story, tmp_path)


def test_the_more_logs_the_sooner_each_is_proven() -> None:
    budget = ProofBudget()
    assert budget.bytes_max == PROOF_BYTES_MOST
    for logs in (1, 100, 256, 1_000, 8_192):
        budget.logs = logs
        assert PROOF_BYTES_LEAST <= budget.bytes_max <= PROOF_BYTES_MOST
        assert budget.bytes_max * logs <= UNPROVEN_BYTES_MAX
    budget.logs = 100_000
    assert budget.bytes_max == PROOF_BYTES_LEAST
