"""The maintenance process: real files, real pipes, real deaths."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.maintenance import messages, process
from broker.maintenance.failure import JobFailed
from broker.maintenance.process import MaintenanceProcess
from kraftpy.runtime.disk import LocalDisk
from log_store.compaction.job import Cleaned, CleanedSegment, CleaningJob, KnownProducer, Source
from log_store.log import Log
from tests.log_store.batches import WALL_MS
from tests.log_store.compaction.support import compacted_config, keyed, offsets_of


@pytest.fixture
def disk() -> Iterator[LocalDisk]:
    disk = LocalDisk()
    yield disk
    disk.close()


def filled(disk: LocalDisk, tmp_path: Path, records: int = 200) -> Log:
    log = Log.create(disk, f"{tmp_path}/topic-0", compacted_config(segment_bytes=2000), wall_ms=WALL_MS)
    for number in range(records):
        log.append(keyed([(b"k%d" % (number % 5), b"%d" % number)]), 1, WALL_MS)
    log.roll(WALL_MS)
    log.sync()
    return log


def job_for(log: Log) -> CleaningJob:
    plan = log.compacting.plan(log.flushed_offset, WALL_MS)
    assert plan is not None
    return log.compacting.job_for(plan, WALL_MS, 1 << 20)


def played(story: Callable[[MaintenanceProcess], Awaitable[None]]) -> None:
    async def play() -> None:
        worker = MaintenanceProcess()
        try:
            async with asyncio.timeout(60):
                await story(worker)
        finally:
            await worker.stop()
            assert worker.pid is None

    asyncio.run(play())


def test_what_travels_arrives() -> None:
    producers = (KnownProducer(1, 2, 3), KnownProducer(4, 5, -1))
    job = CleaningJob("/d/t-0", (Source(0, 5, 9), Source(5, 7, 8)), 3, 4, 5, 6, 7, 8, 9, producers)
    cleaned = Cleaned(9, (CleanedSegment(0, 9, 1, 2, 3, (0, 5)),), 1, 2, 3, 4, 5, True, 0.5)
    length = messages.LENGTH.size
    assert messages.decode_request(messages.encode_job(job)[length:]) == job
    assert messages.decode_answer(messages.encode_outcome(cleaned)[length:]) == cleaned
    with pytest.raises(JobFailed, match="why") as caught:
        messages.decode_answer(messages.encode_failure(JobFailed("why", is_permanent=True))[length:])
    assert (caught.value.is_permanent, caught.value.is_unreadable) == (True, False)
    unreadable = JobFailed("why", is_permanent=False, is_unreadable=True)
    with pytest.raises(JobFailed) as caught:
        messages.decode_answer(messages.encode_failure(unreadable)[length:])
    assert (caught.value.is_permanent, caught.value.is_unreadable) == (False, True)
    assert messages.decode_request(messages.encode_pace(0.5)[length:]) == 0.5
    for nonsense in (b"{}", b"[]", b"7", b"no", b'{"bytes_per_second": "fast"}'):
        with pytest.raises((ValueError, TypeError)):
            messages.decode_request(nonsense)
    with pytest.raises(ValueError, match="bytes"):
        messages.body_bytes(b"\xff\xff\xff\xff")


def test_a_log_is_compacted_in_another_process(disk: LocalDisk, tmp_path: Path) -> None:
    log = filled(disk, tmp_path)

    async def story(worker: MaintenanceProcess) -> None:
        for _ in range(2):  # twice, by the same one
            job = job_for(log)
            cleaned = await worker.clean(job)
            assert log.compacting.swap(job, cleaned, WALL_MS)
            log.sync()
            assert len(offsets_of(log)) == 5
            pid = worker.pid
            assert pid is not None
            assert pid != os.getpid()
            own = os.getpriority(os.PRIO_PROCESS, 0)
            assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, own + 19)
            assert os.getsid(pid) == os.getsid(0), "niceness counts within a session (autogroup)"
            assert os.getpgid(pid) != os.getpgid(0), "an interrupt from the terminal is not for it"
            log.append(keyed([(b"k1", b"again")]), 1, WALL_MS)
            log.roll(WALL_MS)
            log.sync()

    played(story)
    log.close()
    again = Log.open(disk, log.directory, log.config, clean=True, wall_ms=WALL_MS)
    assert again.recovery.clean
    assert len(offsets_of(again)) == 6
    again.close()


def test_a_failure_comes_back_and_the_process_lives_on(disk: LocalDisk, tmp_path: Path) -> None:
    log = filled(disk, tmp_path)

    async def story(worker: MaintenanceProcess) -> None:
        job = job_for(log)
        missing = CleaningJob(f"{tmp_path}/missing-0", job.sources, 0, 0, 1 << 20, 0, 2000, 2000, 100, ())
        with pytest.raises(JobFailed, match="FileNotFoundError") as caught:
            await worker.clean(missing)
        assert not caught.value.is_permanent
        pid = worker.pid
        disk.open(log.segments[2].files.log).write([b"\xff" * 500], 100)
        with pytest.raises(JobFailed, match="CorruptRecordError") as caught:
            await worker.clean(job)
        assert caught.value.is_permanent
        assert worker.pid == pid

    played(story)
    log.close(clean=False)


def test_a_process_that_is_killed_is_replaced(disk: LocalDisk, tmp_path: Path) -> None:
    log = filled(disk, tmp_path)

    async def story(worker: MaintenanceProcess) -> None:
        await worker.clean(job_for(log))
        first = worker.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        job = asyncio.ensure_future(worker.clean(job_for(log)))
        await asyncio.sleep(0.05)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(JobFailed, match="maintenance process"):
            await job
        job_again = job_for(log)
        assert log.compacting.swap(job_again, await worker.clean(job_again), WALL_MS)
        assert worker.pid != first

    played(story)
    log.sync()
    assert len(offsets_of(log)) == 5
    log.close()


def test_a_job_that_is_given_up_ends_the_process(disk: LocalDisk, tmp_path: Path) -> None:
    log = filled(disk, tmp_path)

    async def story(worker: MaintenanceProcess) -> None:
        await worker.clean(job_for(log))
        pid = worker.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        job = asyncio.ensure_future(worker.clean(job_for(log)))
        await asyncio.sleep(0.05)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert worker.pid is None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    played(story)
    log.close()


def test_a_process_that_cannot_start_is_a_failure(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = filled(disk, tmp_path)
    monkeypatch.setattr(process, "WORKER", "broker.maintenance.failure")  # ends at once, without a word

    async def story(worker: MaintenanceProcess) -> None:
        with pytest.raises(JobFailed, match="maintenance process"):
            await worker.clean(job_for(log))

    played(story)
    log.close()


@contextlib.contextmanager
def started_alone() -> Iterator["subprocess.Popen[bytes]"]:
    """The process without the node's end of its pipes. Killed in the end, if it has not ended."""
    root = str(Path(__file__).resolve().parents[2])
    with subprocess.Popen(
        [sys.executable, "-m", process.WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    ) as worker:
        try:
            yield worker
        finally:
            worker.kill()


def give_job(worker: "subprocess.Popen[bytes]", directory: Any) -> None:
    """One that does nothing but fail."""
    job = CleaningJob(directory, (Source(0, 1, 1),), 0, 0, 1 << 20, 0, 2000, 2000, 100, ())
    assert worker.stdin is not None
    worker.stdin.write(messages.encode_job(job))
    worker.stdin.flush()


def last_words(worker: "subprocess.Popen[bytes]") -> bytes:
    """Once it has ended."""
    worker.wait(timeout=30)
    assert worker.stderr is not None
    return worker.stderr.read()


def test_it_ends_with_its_parent() -> None:
    """Its input ends when the node is gone, kill -9 included."""
    with started_alone() as worker:
        assert worker.stdin is not None
        worker.stdin.close()
        assert (last_words(worker), worker.returncode) == (b"", 0)


def test_it_ends_in_silence_where_nobody_reads_its_answer() -> None:
    """A node that is killed closes both pipes at once, and the one for answers may be noticed first."""
    with started_alone() as worker:
        assert worker.stdout is not None
        worker.stdout.close()
        give_job(worker, "/nowhere/t-0")
        assert (last_words(worker), worker.returncode) == (b"", 0)


def test_a_bug_ends_it_with_a_traceback() -> None:
    with started_alone() as worker:
        give_job(worker, [])
        told = last_words(worker)
        assert worker.returncode == 1
        assert b"Traceback" in told
        assert b"Fatal Python error" not in told
