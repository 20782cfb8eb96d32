"""Group commit: what shares a flush, who is told when, and what a failure stops."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

import pytest

from kraftpy.errors import KafkaStorageError
from log_store.config import LogConfig
from log_store.fence import Fence
from log_store.flusher import LOGS_PER_STREAM, STREAMS, Flusher
from log_store.log import Log
from simulation.device import Device, DiskFault
from simulation.disk import SimulatedDisk
from tests.log_store.batches import WALL_MS, batch

T = TypeVar("T")


class CountingDisk(SimulatedDisk):
    """Counts the pieces of work for threads, and can be made to hold them back."""

    def __init__(self) -> None:
        super().__init__(Device(Random(1)))
        self.works = 0
        self.gate: asyncio.Event | None = None

    async def run(self, work: Callable[[], T]) -> T:
        self.works += 1
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        return work()


class Setting:
    """A flusher with logs, and what it told."""

    def __init__(self, logs: int = 1, **config: Any) -> None:
        self.disk = CountingDisk()
        self.fence = Fence("/data")
        self.told: list[tuple[str, int]] = []
        self.failures: list[KafkaStorageError] = []
        self.fence.on_failure(self.failures.append)
        self.flusher = Flusher(self.fence, lambda log: self.told.append((log.name, log.flushed_offset)))
        self.logs = [
            Log.create(self.disk, f"/data/t-{n}", LogConfig(**config), wall_ms=WALL_MS, fence=self.fence)
            for n in range(logs)
        ]

    def append(self, log: Log) -> int:
        return log.append(batch(), 1, WALL_MS).end_offset


def played(story: Callable[[Setting], Awaitable[None]], **setting: Any) -> None:
    async def play() -> None:
        await story(Setting(**setting))

    asyncio.run(play())


def test_appends_of_one_moment_share_one_flush() -> None:
    async def story(at: Setting) -> None:
        (log,) = at.logs
        for _ in range(10):
            at.append(log)
            at.flusher.request(log)
        await at.flusher.stop()
        assert at.told == [("t-0", 10)]
        assert at.disk.works == 1
        at.flusher.request(log)  # nothing is left to do
        await at.flusher.stop()
        assert at.disk.works == 1

    played(story)


def test_what_comes_during_a_flush_waits_for_the_next_one_together() -> None:
    async def story(at: Setting) -> None:
        (log,) = at.logs
        at.disk.gate = asyncio.Event()
        at.append(log)
        at.flusher.request(log)
        await asyncio.sleep(0.001)
        for _ in range(5):
            at.append(log)
            at.flusher.request(log)
            await asyncio.sleep(0)
        assert log.flushed_offset == 0
        at.disk.gate.set()
        await at.flusher.stop()
        assert at.told == [("t-0", 1), ("t-0", 6)]
        assert at.disk.works == 2

    played(story)


def test_many_logs_are_flushed_in_a_few_streams() -> None:
    async def story(at: Setting) -> None:
        for log in at.logs:
            at.append(log)
            at.flusher.request(log)
        await at.flusher.stop()
        assert sorted(at.told) == sorted((log.name, 1) for log in at.logs)
        assert at.disk.works == STREAMS

    played(story, logs=STREAMS * LOGS_PER_STREAM + 3)


def test_flush_answers_when_all_that_was_there_is_durable() -> None:
    async def story(at: Setting) -> None:
        (log,) = at.logs
        assert await at.flusher.flush(log) == 0
        at.append(log)
        at.disk.gate = asyncio.Event()
        first = asyncio.ensure_future(at.flusher.flush(log))
        await asyncio.sleep(0.001)
        at.append(log)
        second = asyncio.ensure_future(at.flusher.flush(log))
        at.disk.gate.set()
        assert await first == 1
        assert await second == 2

    played(story)


def test_flush_after_a_truncation_waits_for_one_that_knows_of_it() -> None:
    async def story(at: Setting) -> None:
        (log,) = at.logs
        for _ in range(5):
            at.append(log)
        at.disk.gate = asyncio.Event()
        at.flusher.request(log)
        await asyncio.sleep(0.001)
        log.truncate(2)
        flushing = asyncio.ensure_future(at.flusher.flush(log))
        at.disk.gate.set()
        assert await flushing == 2
        assert not log.needs_flush

    played(story)


def test_relaxed_logs_are_flushed_when_it_is_due() -> None:
    async def story(at: Setting) -> None:
        (log,) = at.logs
        await at.flusher.flush(log)
        for _ in range(4):
            at.append(log)
            await at.flusher.flush(log) if log.end_offset == 1 else at.flusher.request(log)
            await asyncio.sleep(0.001)
        assert log.recovery_point == 1
        at.append(log)
        at.flusher.request(log)
        await at.flusher.stop()
        assert log.recovery_point == 5
        at.append(log)
        at.flusher.request_overdue(at.logs, WALL_MS)
        at.flusher.request_overdue(at.logs, WALL_MS + 99)
        await at.flusher.stop()
        assert log.recovery_point == 5
        at.flusher.request_overdue(at.logs, WALL_MS + 100)
        await at.flusher.stop()
        assert log.recovery_point == 6

    played(story, flush_messages=4, flush_interval_ms=100)


def test_the_first_failed_sync_fences_everything() -> None:
    async def story(at: Setting) -> None:
        good, bad = at.logs
        for log in at.logs:
            at.append(log)
        await asyncio.gather(*[at.flusher.flush(log) for log in at.logs])
        at.told.clear()
        for log in at.logs:
            at.append(log)
        at.disk.device.arm(DiskFault.SYNC_FAILURE, bad.name)
        results = await asyncio.gather(*[at.flusher.flush(log) for log in at.logs], return_exceptions=True)
        assert all(isinstance(result, KafkaStorageError) for result in results)
        assert (good.flushed_offset, bad.flushed_offset) == (1, 1)  # also what was synced beside it does not count
        assert at.told == []
        assert len(at.failures) == 1 and "t-1" in str(at.failures[0])
        for log in at.logs:
            at.flusher.request(log)
            with pytest.raises(KafkaStorageError):
                at.append(log)
            with pytest.raises(KafkaStorageError):
                await at.flusher.flush(log)
        await at.flusher.stop()

    played(story, logs=2)


def test_a_failed_append_fails_whoever_waits_for_a_flush() -> None:
    async def story(at: Setting) -> None:
        first, second = at.logs
        at.append(first)
        at.disk.gate = asyncio.Event()
        flushing = asyncio.ensure_future(at.flusher.flush(first))
        await asyncio.sleep(0.001)
        at.append(first)
        later = asyncio.ensure_future(at.flusher.flush(first))
        await asyncio.sleep(0.001)
        at.disk.device.arm(DiskFault.WRITE_ERROR, second.name)
        with pytest.raises(KafkaStorageError):
            at.append(second)
        at.disk.gate.set()
        for waiting in (flushing, later):
            with pytest.raises(KafkaStorageError):
                await waiting
        assert first.flushed_offset == 0

    played(story, logs=2)


def test_a_log_that_is_closed_and_moved_away_in_mid_flush_harms_nobody() -> None:
    async def story(at: Setting) -> None:
        gone, other = at.logs
        for log in at.logs:
            at.append(log)
            at.flusher.request(log)
        at.disk.gate = asyncio.Event()
        await asyncio.sleep(0.001)
        gone.close(clean=False)
        at.disk.rename("/data/t-0", "/data/t-0-delete")
        at.disk.gate.set()
        await at.flusher.stop()
        assert at.fence.failure is None
        assert at.told == [("t-1", 1)]
        assert other.flushed_offset == 1

    played(story, logs=2)


def test_sealed_segments_and_their_proofs_follow_by_themselves() -> None:
    async def story(at: Setting) -> None:
        (log,) = at.logs
        for _ in range(10):
            at.append(log)
        at.flusher.request(log)
        await at.flusher.stop()
        assert len(log.segments) > 2
        assert not log.needs_flush
        names = at.disk.list("/data/t-0")
        assert sum(name.endswith(".snapshot") for name in names) == len(log.segments) - 1
        assert not any(name.endswith(".tmp") for name in names)

    played(story, segment_bytes=250)
