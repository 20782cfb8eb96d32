"""A fetcher's session (KIP-227): what its leader is told to hold, and to forget."""

import asyncio
import gc
import logging
import weakref
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from broker.metadata.state import PartitionKey
from broker.replication.config import ReplicationConfig
from broker.replication.fetch_types import FetchAnswer
from broker.replication.fetcher import Fetcher
from broker.replication.fetchers import Fetchers
from kraftpy.errors import InvalidRequestError
from kraftpy.runtime.ports import Address, RemoteFailure
from simulation.clock import SimulatedClock
from simulation.loop import Loop

NOBODY: Any = None


def replica(index: int) -> Any:
    epochs = SimpleNamespace(latest_epoch=3)
    log = SimpleNamespace(start_offset=0, flushed_start_offset=0, end_offset=10, epochs=epochs)
    key, state = PartitionKey(UUID(int=7), index), SimpleNamespace(leader_epoch=3)
    return SimpleNamespace(key=key, topic="t", state=state, log=log, high_watermark=0, is_durable=True)


class Host:
    """Holds back what a test says."""

    node_id = 2

    def __init__(self) -> None:
        self.lost: list[int] = []
        self.held_back: dict[PartitionKey, int] = {}

    def broker_epoch(self) -> int:
        return 1

    def held_back_ms(self, partition: Any) -> int:
        return self.held_back.get(partition.key, 0)

    def unreachable(self, broker_id: int, broker_epoch: int) -> None:
        self.lost.append(broker_id)


def test_a_repaired_replica_that_is_held_back_is_forgotten_by_the_session_until_it_is_asked_for() -> None:
    """Else its leader would take it for as far as it was before it was cut, with each fetch of the others."""
    loop, host, cut, other = Loop(1, time_limit_ms=60_000), Host(), replica(0), replica(1)

    async def story() -> None:
        clock = SimulatedClock(loop, loop.world)
        config, address = ReplicationConfig(), Address("n1", 1)
        fetcher = Fetcher(1, 1, address, NOBODY, clock, config, NOBODY, cast(Any, host))
        fetcher.add(cut)
        fetcher.add(other)
        first = fetcher._next_query()
        assert first is not None and [target.partition for target in first.partitions] == [0, 1]
        fetcher._open_session(9)
        fetcher.remove(cut.key)
        cut.log.end_offset = 4
        host.held_back[cut.key] = 10
        fetcher.add(cut)
        second = fetcher._next_query()
        assert second is not None and not second.partitions
        assert [forgotten.partition for forgotten in second.forgotten] == [0]
        host.held_back.clear()
        await asyncio.sleep(0.02)
        third = fetcher._next_query()
        assert third is not None and [target.offset for target in third.partitions] == [4]
        assert not third.forgotten

    try:
        loop.run_until_complete(story())
    finally:
        loop.shutdown()


def test_a_start_that_retention_moved_is_told_once_it_is_durable() -> None:
    """Whoever deletes records is told that they are gone where the disk does not know it: they come back after a
    power failure. A new session asks from all partitions, also while one of them is being flushed."""
    loop, moved, other = Loop(1, time_limit_ms=60_000), replica(0), replica(1)

    async def story() -> None:
        clock = SimulatedClock(loop, loop.world)
        fetcher = Fetcher(1, 1, Address("n1", 1), NOBODY, clock, ReplicationConfig(), NOBODY, cast(Any, Host()))
        for each in (moved, other):
            fetcher.add(each)
        moved.log.start_offset, moved.is_durable = 5, False
        first = fetcher._next_query()
        assert first is not None and [target.log_start_offset for target in first.partitions] == [0, 0]
        fetcher._open_session(9)
        moved.log.flushed_start_offset, moved.is_durable = 5, True
        for each in (moved, other):
            fetcher.flushed(each)
        second = fetcher._next_query()
        assert second is not None
        assert [(target.partition, target.log_start_offset) for target in second.partitions] == [(0, 5)]

    try:
        loop.run_until_complete(story())
    finally:
        loop.shutdown()


class Nonsense:
    """A leader that answers what is refused, or what it is told to."""

    def __init__(self, *errors: Exception) -> None:
        self.asked = 0
        self._errors = list(errors)

    async def connect(self, address: Address, timeout_ms: int) -> Any:
        self.asked += 1
        raise self._errors.pop(0) if self._errors else RemoteFailure("a frame of 10485760 bytes")


def fetching_for(seconds: float, leader: Nonsense) -> Loop:
    """A fetcher runs for so long; the loop tells what failed."""
    loop = Loop(1, time_limit_ms=600_000)

    async def story() -> None:
        clock = SimulatedClock(loop, loop.world)
        fetcher = Fetcher(
            1, 1, Address("n1", 1), cast(Any, leader), clock, ReplicationConfig(), NOBODY, cast(Any, Host())
        )
        fetcher.start()
        await asyncio.sleep(seconds)
        await fetcher.stop()

    try:
        loop.run_until_complete(story())
    finally:
        loop.shutdown()
    return loop


def test_a_failure_that_repeats_is_told_every_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    fetching_for(5, Nonsense())
    assert not caplog.records
    assert not fetching_for(35, Nonsense()).failures
    assert [record.levelno for record in caplog.records] == 3 * [logging.WARNING]
    assert "fetching from broker 1 at n1:1 has failed for 10 s: a frame of 10485760 bytes" in caplog.text


def test_what_nobody_expected_is_told_and_fetching_goes_on() -> None:
    leader = Nonsense(UnicodeError("label empty or too long"), ZeroDivisionError("a bug"))
    told = fetching_for(5, leader).failures
    assert leader.asked > 3
    assert len(told) == 1 and "fetching from broker 1 at n1:1 failed" in told[0] and "label empty" in told[0]


def test_of_an_answer_that_was_refused_nothing_is_kept_while_the_next_conversation_goes_on() -> None:
    """That may go on for weeks, and an answer is 10 MiB."""
    loop, answers = Loop(1, time_limit_ms=60_000), [memoryview(b"no answer")]
    refused = weakref.ref(answers[0])

    class Talking(Nonsense):
        """Answers the first fetch, and no other."""

        async def connect(self, address: Address, timeout_ms: int) -> Any:
            return SimpleNamespace(ask=self.ask, close=lambda: None)

        def ask(self, frame: object, timeout_ms: int) -> asyncio.Future[memoryview]:
            self.asked += 1
            answer: asyncio.Future[memoryview] = loop.create_future()
            if answers:
                answer.set_result(answers.pop())
            return answer

    class Codec:
        def encode_query(self, *_: object) -> list[bytes]:
            return []

        def decode_answer(self, frame: memoryview, correlation_id: int) -> FetchAnswer:
            raise InvalidRequestError("that is no answer")

    async def story() -> None:
        clock, leader = SimulatedClock(loop, loop.world), Talking()
        fetcher = Fetcher(
            1, 1, Address("n1", 1), cast(Any, leader), clock, ReplicationConfig(), Codec(), cast(Any, Host())
        )
        fetcher.add(replica(0))
        fetcher.start()
        await asyncio.sleep(1)
        gc.collect()
        assert leader.asked == 2 and refused() is None
        await fetcher.stop()

    try:
        loop.run_until_complete(story())
    finally:
        loop.shutdown()


def test_a_fetcher_that_cannot_end_well_keeps_no_other_from_ending() -> None:
    loop = Loop(1, time_limit_ms=60_000)
    ended = []

    class Ending:
        def __init__(self, leader_id: int) -> None:
            self.leader_id = leader_id

        def start(self) -> None:
            """Nothing runs."""

        def add(self, partition: Any) -> None:
            """Nothing is fetched."""

        async def stop(self) -> None:
            if self.leader_id == 1:
                raise ZeroDivisionError("a bug")
            await asyncio.sleep(1)
            ended.append(self.leader_id)

    async def story() -> None:
        fetchers = Fetchers(lambda leader_id: cast(Any, Ending(leader_id)))
        for index in (1, 2):
            followed = replica(index)
            followed.state.leader = index
            fetchers.follow(followed)
        await fetchers.stop()

    try:
        loop.run_until_complete(story())
    finally:
        loop.shutdown()
    assert ended == [2]
    assert len(loop.failures) == 1 and "a bug" in loop.failures[0]
