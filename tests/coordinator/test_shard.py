"""A shard on virtual time, with the smallest core and a log in memory."""

import asyncio
import gc
import struct
import warnings
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from broker.coordinator import shard
from broker.coordinator.coordinators import RESTART_PAUSE_MS, Coordinators, absolute_hash
from broker.coordinator.core import Moment, Producer, Result
from broker.coordinator.shard import COMMIT_TIMEOUT_MS, PART_STEPS, Shard
from broker.replication.partition import Partition
from kraftpy.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    InvalidRequestError,
    KafkaStorageError,
    KraftpyError,
    NotCoordinatorError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
)
from kraftpy.record import BatchBuilder, read_header
from kraftpy.record.control import encode_marker
from simulation.clock import SimulatedClock
from simulation.loop import Loop
from tests.coordinator.counters import Add, Counted, CountedCodec, Counters, MemoryLog, WaitFor

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

    def _failed(self) -> None:
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


def batch(*records: Counted, producer_id: int = -1) -> bytearray:
    builder = BatchBuilder()
    for record in records:
        builder.append(0, record.name.encode(), b"%d" % record.value)
    return builder.build(producer_id=producer_id, producer_epoch=0, transactional=producer_id >= 0)


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


class OneRead(MemoryLog):
    """Gives all that is left in one piece, as the page cache does."""

    async def read(self, offset: int, bytes_max: int) -> bytes:
        self._check()
        self.reads += 1
        return b"".join(each for each in self.batches if read_header(each).end_offset > offset)


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

    try:
        loop.run_until_complete(run())
    finally:
        loop.shutdown()


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

    try:
        loop.run_until_complete(run())
    finally:
        loop.shutdown()


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

    try:
        loop.run_until_complete(run())
    finally:
        loop.shutdown()


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

    try:
        loop.run_until_complete(run())
    finally:
        loop.shutdown()


class UnreadableOnce(MemoryLog):
    """Its disk does not give what is there when it is first asked, or as often."""

    def __init__(self, failures: int = 1) -> None:
        super().__init__()
        self.failures = failures

    async def read(self, offset: int, bytes_max: int) -> bytes:
        self.reads += 1
        if self.reads <= self.failures:
            raise KafkaStorageError("a sector cannot be read")
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

    try:
        loop.run_until_complete(run())
    finally:
        loop.shutdown()
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

    try:
        loop.run_until_complete(run())
    finally:
        loop.shutdown()


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

    try:
        loop.run_until_complete(run())
    finally:
        loop.shutdown()


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
