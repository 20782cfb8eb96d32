"""How far a log is compacted is written down once a minute, and may not outlive what it was written of."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from log_store.compaction.cleaner import clean
from log_store.log import Log
from log_store.log_directory import LogDirectory
from simulation.device import CrashMode, Device
from simulation.disk import DiskConfig, SimulatedDisk
from tests.log_store.batches import WALL_MS
from tests.log_store.compaction.support import (
    MAP_BYTES,
    committed_values,
    compacted_config,
    in_transaction,
    marker,
    put,
)

CONFIG = compacted_config()


async def opened(device: Device) -> LogDirectory:
    directory = LogDirectory(SimulatedDisk(device, DiskConfig(run_us_min=1, run_us_max=10)), "/data")
    await directory.open_logs(lambda name, topic_id: CONFIG, WALL_MS)
    return directory


async def compacted(directory: LogDirectory, log: Log) -> None:
    log.roll(WALL_MS)
    await directory.flusher.flush(log)
    plan = log.compacting.plan(log.flushed_offset, WALL_MS)
    assert plan is not None
    job = log.compacting.job_for(plan, WALL_MS, MAP_BYTES)
    assert log.compacting.swap(job, clean(directory.disk, job), WALL_MS)
    for _ in range(2):
        await directory.flusher.flush(log)


def played(story: Callable[[Device], Awaitable[None]]) -> None:
    async def play() -> None:
        await story(Device(Random(1)))

    asyncio.run(play())


@pytest.mark.parametrize("flushed", [True, False])
def test_a_log_that_is_copied_anew_does_not_pass_for_compacted(flushed: bool) -> None:
    """Else the next round drops from the index what was aborted there, and leaves the records, as committed ones.

    `flushed`: power fails after a flush; else the process dies before it, and what the kernel had is found.
    """

    async def story(device: Device) -> None:
        directory = await opened(device)
        log = directory.create_log("t-0", CONFIG, topic_id=None, wall_ms=WALL_MS)
        for number in range(60):
            put(log, b"k%d" % (number % 5), b"v")
        await compacted(directory, log)
        assert log.compacting.first_dirty_offset == 60
        await directory.write_checkpoints()

        log.reset(0, wall_ms=WALL_MS)  # it was damaged, and its leader has not compacted so far
        put(log, b"a", b"good")
        in_transaction(log, b"a", b"ABORTED", 0)
        log.append(marker(7, commit=False), 1, WALL_MS, markers=True)
        for number in range(80):
            put(log, b"k%d" % (number % 5), b"w")
        if flushed:
            await directory.flusher.flush(log)
            device.crash(CrashMode.LOST)
        else:
            device.process_ended()

        for end_offset in (83, 84):  # a start after the next one finds a proof of all that
            directory = await opened(device)
            log = directory.logs["t-0"]
            assert (log.end_offset, log.compacting.first_dirty_offset) == (end_offset, 0)
            put(log, b"z", b"z")
            await directory.flusher.flush(log)
            device.crash(CrashMode.LOST)

        directory = await opened(device)
        log = directory.logs["t-0"]
        await compacted(directory, log)
        assert committed_values(log, log.end_offset)[b"a"] == b"good"

    played(story)


def test_a_proof_of_recovery_makes_nothing_true_again_of_what_was_compacted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies twice: before a flush, and while the directory's other logs are still being opened."""

    async def story(device: Device) -> None:
        directory = await opened(device)
        log = directory.create_log("t-0", CONFIG, topic_id=None, wall_ms=WALL_MS)
        for number in range(60):
            put(log, b"k%d" % (number % 5), b"v")
        await compacted(directory, log)
        await directory.write_checkpoints()
        log.reset(0, wall_ms=WALL_MS)
        for number in range(80):
            put(log, b"k%d" % (number % 5), b"w")
        device.process_ended()

        with monkeypatch.context() as patch:
            patch.setattr(LogDirectory, "write_checkpoints", lambda directory: asyncio.sleep(0))
            directory = await opened(device)
        assert directory.logs["t-0"].compacting.first_dirty_offset == 0
        device.process_ended()
        directory = await opened(device)
        log = directory.logs["t-0"]
        assert (log.recovery.proven, log.compacting.first_dirty_offset) == (80, 0)

    played(story)
