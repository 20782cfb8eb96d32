"""A shard on virtual time, with the smallest core and a log in memory."""

import asyncio
import gc
import struct
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from broker.coordinator import shard
from broker.coordinator.shard import COMMIT_TIMEOUT_MS, Shard
from kraftpy.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    InvalidRequestError,
    KraftpyError,
    NotCoordinatorError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
)
from kraftpy.record.control import encode_marker
from simulation.clock import SimulatedClock
from simulation.loop import Loop
from tests.coordinator.counters import Add, Counted, CountedCodec, Counters, MemoryLog, WaitFor, batch

Counting = Shard[Add | WaitFor, Counted]


class Stage:
    """A shard with its parts within reach."""

    def __init__(self, loop: Loop, log: MemoryLog, codec: CountedCodec) -> None:
        self.core = Counters()
        self.log = log
        self.performed: list[tuple[str, int]] = []  # effects, and what was committed when they began
        self.failures = 0
        self.shard: Counting = Shard(self.core, codec, log, SimulatedClock(loop, loop.world), self._perform)
        self.shard.on_failed = self._failed

    async def begin(self) -> None:
        self.shard.start()
        await asyncio.sleep(0.01)
        assert self.shard.is_active

    async def refusal(self, command: Add | WaitFor) -> KraftpyError:
        with pytest.raises(KraftpyError) as caught:
            await self.shard.submit(command)
        return caught.value

    async def _perform(self, shard: Counting, effect: Any) -> None:
        self.performed.append((effect, self.log.committed))

    def _failed(self, error: BaseException) -> None:
        self.failures += 1


def story(
    tell: Callable[[Stage], Awaitable[None]], log: MemoryLog | None = None, codec: CountedCodec | None = None
) -> Stage:
    loop = Loop(1, time_limit_ms=1_000_000)
    stages: list[Stage] = []

    async def run() -> None:
        stages.append(Stage(loop, log or MemoryLog(), codec or CountedCodec()))
        await tell(stages[0])
        stages[0].shard.close()

    try:
        loop.run_until_complete(run())
    finally:
        loop.shutdown()
    return stages[0]


def marker(producer_id: int, commit: bool) -> bytearray:
    return encode_marker(commit=commit, coordinator_epoch=0, timestamp_ms=0, producer_id=producer_id, producer_epoch=0)


def test_the_next_shard_knows_what_the_last_one_wrote() -> None:
    log = MemoryLog()

    async def first(stage: Stage) -> None:
        await stage.begin()
        assert [await stage.shard.submit(Add("a")) for _ in range(3)] == [1, 2, 3]

    async def second(stage: Stage) -> None:
        assert isinstance(await stage.refusal(Add("a")), CoordinatorLoadInProgressError)
        await stage.begin()
        assert await stage.shard.submit(Add("a", 0)) == 3

    story(first, log)
    story(second, log)
    assert log.reads == 3


def test_who_asks_too_much_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what every client of a coordinator understands."""
    monkeypatch.setattr(shard, "WAITING_MAX", 2)

    async def tell(stage: Stage) -> None:
        await stage.begin()
        waiting = [asyncio.ensure_future(stage.shard.submit(Add("a"))) for _ in range(2)]
        await asyncio.sleep(0)
        assert isinstance(await stage.refusal(Add("a")), CoordinatorNotAvailableError)
        stage.log.commit()
        assert await asyncio.gather(*waiting) == [1, 2]

    story(tell, MemoryLog(commits_at_once=False))


def test_an_answer_waits_for_its_commit_and_one_without_records_for_those_before_it() -> None:
    async def tell(stage: Stage) -> None:
        await stage.begin()
        written = asyncio.ensure_future(stage.shard.submit(Add("a", effect="tell")))
        looked = asyncio.ensure_future(stage.shard.submit(Add("a", 0)))
        await asyncio.sleep(1)
        assert not written.done() and not looked.done() and not stage.performed
        stage.log.commit()
        assert [await written, await looked] == [1, 1]
        await asyncio.sleep(0)
        assert stage.performed == [("tell", 1)], "effects begin once their records are committed"

    story(tell, MemoryLog(commits_at_once=False))


def test_a_command_is_answered_by_a_later_one() -> None:
    async def tell(stage: Stage) -> None:
        await stage.begin()
        waiting = asyncio.ensure_future(stage.shard.submit(WaitFor("a", 2)))
        await asyncio.sleep(0)
        await stage.shard.submit(Add("a"))
        assert not waiting.done()
        await stage.shard.submit(Add("a"))
        assert await waiting == 2

    story(tell)


def test_a_batch_that_cannot_be_decoded_is_looked_into() -> None:
    """What the page cache had was not checked when it was read."""

    async def tell(stage: Stage) -> None:
        stage.log.append(batch(Counted("a", 5)))
        stage.log.append(batch(Counted("a", 6), Counted("a", 7)))
        stage.log.batches[1] = stage.log.batches[1][:-1] + b"?"
        stage.shard.start()
        await asyncio.sleep(0.01)
        assert stage.failures == 1 and stage.log.suspected == [1]

    story(tell)


def test_what_is_not_committed_in_time_is_answered_and_may_still_be_committed() -> None:
    async def tell(stage: Stage) -> None:
        await stage.begin()
        started = asyncio.get_running_loop().time()
        assert isinstance(await stage.refusal(Add("a", effect="tell")), CoordinatorNotAvailableError)
        assert asyncio.get_running_loop().time() - started == pytest.approx(COMMIT_TIMEOUT_MS / 1_000, abs=0.1)
        assert not stage.performed
        stage.log.commit()
        await asyncio.sleep(0)
        assert stage.performed == [("tell", 1)]
        assert await stage.shard.submit(Add("a", 0)) == 1

    story(tell, MemoryLog(commits_at_once=False))


def test_a_refused_batch_is_never_replayed() -> None:
    async def tell(stage: Stage) -> None:
        await stage.begin()
        stage.log.refusal = NotEnoughReplicasError("one is not enough")
        assert isinstance(await stage.refusal(Add("a")), CoordinatorNotAvailableError)
        assert len(stage.core.refusals) == 1
        stage.log.refusal = None
        assert await stage.shard.submit(Add("a")) == 1

    story(tell)


class NarrowCodec(CountedCodec):
    """Has room for short names only, as Kafka's records have for texts of 32,767 bytes."""

    def encode(self, record: Counted) -> tuple[bytes, bytes | None]:
        struct.pack(">b", len(record.name))
        return super().encode(record)


def test_what_does_not_fit_into_a_record_is_refused_and_the_shard_goes_on() -> None:
    async def tell(stage: Stage) -> None:
        await stage.begin()
        assert isinstance(await stage.refusal(Add("a" * 128)), InvalidRequestError)
        assert await stage.shard.submit(Add("a" * 127)) == 1

    assert story(tell, codec=NarrowCodec()).failures == 0


def test_a_commit_on_too_few_replicas_is_no_success_but_stands() -> None:
    async def tell(stage: Stage) -> None:
        await stage.begin()
        written = asyncio.ensure_future(stage.refusal(Add("a", effect="tell")))
        await asyncio.sleep(0)
        stage.log.commit(error=NotEnoughReplicasAfterAppendError("the others left"))
        assert isinstance(await written, CoordinatorNotAvailableError)
        assert stage.performed == [("tell", 1)]

    story(tell, MemoryLog(commits_at_once=False))


def test_the_end_of_the_leadership_answers_everybody() -> None:
    async def tell(stage: Stage) -> None:
        await stage.begin()
        asked = [asyncio.ensure_future(stage.refusal(each)) for each in (Add("a"), WaitFor("b", 1))]
        await asyncio.sleep(0)
        stage.shard.close()
        assert all([isinstance(await each, NotCoordinatorError) for each in asked])
        assert isinstance(await stage.refusal(Add("a")), NotCoordinatorError)

    story(tell, MemoryLog(commits_at_once=False))


def test_a_leadership_that_is_lost_unnoticed_writes_nothing() -> None:
    async def tell(stage: Stage) -> None:
        await stage.begin()
        stage.log.leads = False
        assert isinstance(await stage.refusal(Add("a")), NotCoordinatorError)
        assert stage.core.values == {}

    story(tell)


def test_a_core_that_crashes_stops_its_shard_and_is_made_anew() -> None:
    async def tell(stage: Stage) -> None:
        await stage.begin()
        assert isinstance(await stage.refusal(Add("a", crash=True)), CoordinatorNotAvailableError)
        assert isinstance(await stage.refusal(Add("a")), CoordinatorNotAvailableError)
        assert stage.failures == 1

    story(tell)


def test_a_refusal_by_the_core_is_the_answer() -> None:
    async def tell(stage: Stage) -> None:
        await stage.begin()
        assert isinstance(await stage.refusal(Add("a", -1)), InvalidRequestError)
        assert await stage.shard.submit(Add("a")) == 1

    story(tell)


def test_time_passes_from_the_loading_on() -> None:
    async def tell(stage: Stage) -> None:
        await asyncio.sleep(10)
        assert stage.core.ticks == 0
        await stage.begin()
        await asyncio.sleep(3.5)
        assert stage.core.ticks == 3

    story(tell)


def test_time_passes_however_many_commands_come() -> None:
    """Where one came every half a millisecond, no session ended and no rebalance."""

    async def tell(stage: Stage) -> None:
        await stage.begin()
        for _ in range(7_000):
            await stage.shard.submit(Add("a"))
            await asyncio.sleep(0.000_5)
        assert stage.core.ticks == 3

    story(tell)


@pytest.mark.parametrize("commit", [True, False])
def test_transactional_records_count_once_their_marker_says_so(commit: bool) -> None:
    log = MemoryLog()
    log.append(batch(Counted("a", 5), producer_id=7))
    log.append(batch(Counted("a", 1)))
    log.append(marker(7, commit))
    log.append(batch(Counted("b", 3), producer_id=8))

    async def tell(stage: Stage) -> None:
        await stage.begin()
        assert await stage.shard.submit(Add("a", 0)) == (5 if commit else 1)
        assert await stage.shard.submit(Add("b", 0)) == 0
        ended: list[KraftpyError | None] = []
        stage.shard.append_marker(marker(8, True), 8, True, ended.append, bumps_epoch=True)
        assert ended == [None] and log.bumps_epoch, "else the marker would end what begins with its epoch as well"
        assert await stage.shard.submit(Add("b", 0)) == 3

    story(tell, log)


@pytest.mark.filterwarnings("error")
def test_a_shard_that_is_closed_before_its_first_turn_leaves_nothing_unawaited() -> None:
    async def close_at_once(stage: Stage) -> None:
        stage.shard.start()
        stage.shard.close()
        await asyncio.sleep(0.01)
        assert not stage.shard.is_active
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            gc.collect()
        assert [str(each.message) for each in caught] == []

    story(close_at_once)
