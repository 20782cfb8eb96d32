"""The coordinators of a node on virtual time: how they load beside each other, and begin anew."""

import asyncio
import errno
import os
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from broker.coordinator.coordinators import RESTART_PAUSE_MS, Coordinators, absolute_hash
from broker.coordinator.core import Moment, Producer, Result
from broker.coordinator.shard import COMMIT_TIMEOUT_MS, PART_STEPS, Shard
from broker.replication.partition import Partition
from kraftpy.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaStorageError,
)
from kraftpy.record import read_header
from simulation.clock import SimulatedClock
from simulation.loop import Loop
from tests.coordinator.counters import Add, Counted, CountedCodec, Counters, MemoryLog, WaitFor, batch

Counting = Shard[Add | WaitFor, Counted]


class OneRead(MemoryLog):
    """Gives all that is left in one piece, as the page cache does."""

    async def read(self, offset: int, bytes_max: int) -> bytes:
        self._check()
        self.reads += 1
        return b"".join(each for each in self.batches if read_header(each).end_offset > offset)


def play(loop: Loop, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        loop.run_until_complete(story())
    finally:
        loop.shutdown()


def long_log(records: int, per_batch: int) -> OneRead:
    log = OneRead()
    for start in range(0, records, per_batch):
        log.append(batch(*(Counted("a", start + index) for index in range(per_batch))))
    return log


class Replaying(Counters):
    """Tells of what it replays, and that it has loaded."""

    def __init__(self, told: Callable[[], None]) -> None:
        super().__init__()
        self._told = told

    def replay(self, record: Counted, producer: Producer | None) -> None:
        self._told()
        super().replay(record, producer)

    def loaded(self, now: Moment) -> Result[Counted]:
        self._told()
        return super().loaded(now)


async def _nothing(shard: Counting, effect: Any) -> None:
    raise AssertionError("counters have no effects here")


def loading(loop: Loop, logs: Sequence[MemoryLog], told: Callable[[int], None]) -> list[Counting]:
    """Shards of one node, each with its log; `told` has the number of the one that replays a record or has loaded."""
    clock, turn = SimulatedClock(loop, loop.world), asyncio.Lock()
    cores = [Replaying(partial(told, index)) for index in range(len(logs))]
    return [Shard(core, CountedCodec(), log, clock, _nothing, turn=turn) for core, log in zip(cores, logs, strict=True)]


@pytest.mark.parametrize("per_batch", [1, 50, 5_000])
def test_however_many_logs_are_loaded_others_have_their_turns(per_batch: int) -> None:
    """Where a broker dies, fifty partitions of its coordinators may move to this node in one delta."""
    loop = Loop(1, time_limit_ms=1_000_000)
    log = long_log(5_000, per_batch)
    between_turns = [0]

    def count(index: int) -> None:
        between_turns[-1] += 1

    async def run() -> None:
        shards = loading(loop, [log] * 20, count)
        for each in shards:
            each.start()
        while not all(each.is_active for each in shards):
            await asyncio.sleep(0)
            between_turns.append(0)
        assert all(each.core.values == {"a": 4_999} for each in shards if isinstance(each.core, Counters))
        assert sum(between_turns) == 20 * 5_001 and max(between_turns) <= PART_STEPS
        for each in shards:
            each.close()

    play(loop, run)


def test_a_short_log_waits_for_one_part_of_each_long_one() -> None:
    loop = Loop(1, time_limit_ms=1_000_000)
    told: list[int] = []

    async def run() -> None:
        shards = loading(loop, [*[long_log(20 * PART_STEPS, 1_000)] * 3, long_log(1, 1)], told.append)
        for each in shards:
            each.start()
        while not shards[3].is_active:  # noqa: ASYNC110 - turns of the loop are what is looked at
            await asyncio.sleep(0)
        assert not any(each.is_active for each in shards[:3])
        assert len(told) <= 3 * 3 * PART_STEPS
        for each in shards:
            each.close()

    play(loop, run)


@pytest.mark.parametrize("turns", range(6))
def test_a_shard_that_is_closed_while_it_loads_keeps_nobody_from_loading(turns: int) -> None:
    """Whether it had the turn, or waited for it."""
    loop = Loop(1, time_limit_ms=1_000_000)
    told: list[int] = []

    async def run() -> None:
        shards = loading(loop, [long_log(3 * PART_STEPS, 1_000)] * 3, told.append)
        for each in shards:
            each.start()
        for _ in range(turns):
            await asyncio.sleep(0)
        for each in shards[:2]:
            each.close()
        before = len(told)
        await asyncio.sleep(0.01)
        assert shards[2].is_active and set(told[before:]) == {2}
        shards[2].close()

    play(loop, run)


def led(loop: Loop, log: MemoryLog, commit_timeout_ms: int = COMMIT_TIMEOUT_MS) -> Coordinators[Add | WaitFor, Counted]:
    """The coordinators of a topic whose only partition this node leads."""
    coordinators: Coordinators[Add | WaitFor, Counted] = Coordinators(
        "counters",
        lambda: 1,
        lambda *_: Counters(),
        CountedCodec,
        lambda *_: log,
        SimulatedClock(loop, loop.world),
        lambda *_: asyncio.sleep(0),
        commit_timeout_ms,
    )
    partition = SimpleNamespace(key=SimpleNamespace(partition=0), leadership=SimpleNamespace(leader_epoch=1))
    coordinators.led(cast(Partition, partition))
    return coordinators


def test_shards_wait_for_a_commit_as_long_as_their_coordinators_are_told_to() -> None:
    loop = Loop(1, time_limit_ms=1_000_000)
    log = MemoryLog(commits_at_once=False)

    async def run() -> None:
        coordinators = led(loop, log, commit_timeout_ms=700)
        await asyncio.sleep(0.01)
        started = loop.time()
        with pytest.raises(CoordinatorNotAvailableError):
            await coordinators.submit("a", Add("a"))
        assert loop.time() - started == pytest.approx(0.7, abs=0.1)
        coordinators.stop()

    play(loop, run)


class UnreadableOnce(MemoryLog):
    """Its disk does not give what is there when it is first asked, or as often."""

    def __init__(self, failures: int = 1, number: int = errno.EIO) -> None:
        super().__init__()
        self.failures = failures
        self.number = number

    async def read(self, offset: int, bytes_max: int) -> bytes:
        self.reads += 1
        if self.reads <= self.failures:
            raise KafkaStorageError("it cannot be read now") from OSError(self.number, os.strerror(self.number))
        return await super().read(offset, bytes_max)


def test_a_log_that_could_not_be_read_is_read_again(caplog: pytest.LogCaptureFixture) -> None:
    """The metadata does not change for it: nobody else begins the coordinator anew."""
    loop = Loop(1, time_limit_ms=1_000_000)
    log = UnreadableOnce()
    log.append(batch(Counted("a", 5)))

    async def run() -> None:
        coordinators = led(loop, log)
        await asyncio.sleep(0.01)
        with pytest.raises(CoordinatorNotAvailableError):
            await coordinators.submit("a", Add("a", 0))
        await asyncio.sleep(RESTART_PAUSE_MS / 1_000)
        assert await coordinators.submit("a", Add("a", 0)) == 5
        coordinators.stop()

    play(loop, run)
    assert "the coordinator of counters-0 failed, and begins anew" in caplog.text


def test_a_log_that_stays_unreadable_is_read_less_and_less_often() -> None:
    """All of it is read up to there, each time. Once it has been, it all begins anew."""
    loop = Loop(1, time_limit_ms=1_000_000)
    log = UnreadableOnce(failures=10)
    log.append(batch(Counted("a", 5)))

    async def run() -> None:
        coordinators = led(loop, log)
        read_at = []
        while not coordinators.active():
            reads = log.reads
            await asyncio.sleep(0.05)
            if log.reads > reads:
                read_at.append(loop.time())
        pauses = [round(later - earlier) for earlier, later in pairwise(read_at)]
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
        with pytest.raises(CoordinatorNotAvailableError):
            await coordinators.submit("a", Add("a", crash=True))
        await asyncio.sleep(RESTART_PAUSE_MS / 1_000 + 0.1)
        assert await coordinators.submit("a", Add("a", 0)) == 5
        coordinators.stop()

    play(loop, run)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_log_that_lacked_a_descriptor_is_read_again_soon_and_counts_as_being_read(number: int) -> None:
    """There may be one in a second: nothing is wrong with the log."""
    loop = Loop(1, time_limit_ms=1_000_000)
    log = UnreadableOnce(failures=10, number=number)
    log.append(batch(Counted("a", 5)))

    async def run() -> None:
        coordinators = led(loop, log)
        read_at = []
        while not coordinators.active():
            with pytest.raises(CoordinatorLoadInProgressError):
                await coordinators.listed(Add("a", 0))
            reads = log.reads
            await asyncio.sleep(0.05)
            if log.reads > reads:
                read_at.append(loop.time())
        assert [round(later - earlier) for earlier, later in pairwise(read_at)] == [1] * 10
        assert await coordinators.submit("a", Add("a", 0)) == 5
        coordinators.stop()

    play(loop, run)


def test_who_asks_for_everything_is_not_kept_waiting_for_a_log_that_cannot_be_read() -> None:
    """Groups of other partitions could not be listed as long as one log was damaged."""
    loop = Loop(1, time_limit_ms=1_000_000)
    log = UnreadableOnce(failures=2)
    log.append(batch(Counted("a", 5)))

    async def run() -> None:
        coordinators = led(loop, log)
        with pytest.raises(CoordinatorLoadInProgressError):
            await coordinators.listed(Add("a", 0))
        for _ in range(20):  # failed, and being read a second time
            await asyncio.sleep(0.1)
            assert await coordinators.listed(Add("a", 0)) == []
        await asyncio.sleep(2)
        assert coordinators.active()
        coordinators.stop()

    play(loop, run)


@pytest.mark.parametrize(
    "text, expected",  # by Java: Math.abs("…".hashCode()), and 0 for the number that has no absolute value
    [
        ("", 0),
        ("a", 97),
        ("group", 98629247),
        ("my-group", 1906497762),
        ("polygenelubricants", 0),
        ("日本", 835047),
        ("😀x", 54959989),
    ],
)
def test_keys_lie_where_kafka_looks_for_them(text: str, expected: int) -> None:
    assert absolute_hash(text) == expected
