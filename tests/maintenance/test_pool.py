"""Several maintenance processes: as many as there are jobs, one that stays, and all at the pace that holds now."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from broker.maintenance.failure import JobFailed
from broker.maintenance.pool import MaintenanceProcesses
from kraftpy.runtime.disk import LocalDisk
from log_store.compaction.job import Cleaned, CleaningJob
from log_store.log import Log
from tests.log_store.batches import WALL_MS
from tests.log_store.compaction.support import compacted_config, keyed, offsets_of
from tests.testing.processes import ends_within


@pytest.fixture
def disk() -> Iterator[LocalDisk]:
    disk = LocalDisk()
    yield disk
    disk.close()


def filled(disk: LocalDisk, directory: str, records: int = 200) -> Log:
    log = Log.create(disk, directory, compacted_config(segment_bytes=2000), wall_ms=WALL_MS)
    for number in range(records):
        log.append(keyed([(b"k%d" % (number % 5), b"%d" % number)]), 1, WALL_MS)
    log.roll(WALL_MS)
    log.sync()
    return log


def job_for(log: Log) -> CleaningJob:
    plan = log.compacting.plan(log.flushed_offset, WALL_MS)
    assert plan is not None
    return log.compacting.job_for(plan, WALL_MS, 1 << 20)


def played(story: Callable[[MaintenanceProcesses], Awaitable[None]]) -> None:
    async def play() -> None:
        pool = MaintenanceProcesses()
        try:
            async with asyncio.timeout(60):
                await story(pool)
        finally:
            await pool.stop()
            assert pool.pids == []

    asyncio.run(play())


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def test_jobs_go_side_by_side_and_one_process_stays(disk: LocalDisk, tmp_path: Path) -> None:
    logs = [filled(disk, f"{tmp_path}/topic-{number}") for number in range(3)]

    async def story(pool: MaintenanceProcesses) -> None:
        pool.limit(1.0)  # nobody gets anywhere
        jobs = [job_for(log) for log in logs]
        work = [asyncio.ensure_future(pool.clean(job)) for job in jobs]
        await until(lambda: len(pool.pids) == 3)
        assert len(set(pool.pids)) == 3
        await asyncio.sleep(0.2)
        assert not any(each.done() for each in work)
        pool.limit(1e12)  # also for those in the midst of a job
        results: list[Cleaned] = await asyncio.gather(*work)
        for log, job, cleaned in zip(logs, jobs, results, strict=True):
            assert log.compacting.swap(job, cleaned, WALL_MS)
            log.sync()
            assert len(offsets_of(log)) == 5
        await until(lambda: len(pool.pids) == 1)
        assert pool.deaths == 0

    played(story)
    for log in logs:
        log.close()


def test_deaths_are_counted_and_the_next_job_has_a_new_process(disk: LocalDisk, tmp_path: Path) -> None:
    log = filled(disk, f"{tmp_path}/topic-0")

    async def story(pool: MaintenanceProcesses) -> None:
        pool.limit(1.0)
        for deaths in (1, 2):
            work = asyncio.ensure_future(pool.clean(job_for(log)))
            await until(lambda: len(pool.pids) == 1)
            (pid,) = pool.pids
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(JobFailed, match="maintenance process failed"):
                await work
            assert pool.deaths == deaths
        pool.limit(1e12)
        job = job_for(log)
        await pool.clean(job)
        (pid,) = pool.pids
        os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert log.compacting.swap(job, await pool.clean(job), WALL_MS)
        assert pool.deaths == 3, "one died between two jobs"

    played(story)
    log.close()


def test_a_stop_in_the_midst_of_a_slow_job_leaves_nobody(disk: LocalDisk, tmp_path: Path) -> None:
    log = filled(disk, f"{tmp_path}/topic-0")
    pids: list[int] = []

    async def story(pool: MaintenanceProcesses) -> None:
        pool.limit(1.0)
        work = asyncio.ensure_future(pool.clean(job_for(log)))
        await until(lambda: len(pool.pids) == 1)
        pids.extend(pool.pids)
        await pool.stop()
        with pytest.raises(JobFailed):
            await work
        assert pool.deaths == 0, "it was told to"

    played(story)
    assert ends_within(pids[0], 20)
    log.close()
