"""Commits whose coordinator takes its time: nobody waits longer than they said, and nothing stands still afterwards."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, cast

import pytest

from kraftpy.client.config import ConsumerConfig
from kraftpy.client.group.committing import Committing
from kraftpy.client.group.coordinator import Coordinator
from kraftpy.client.group.member import Identity
from kraftpy.client.metadata import Metadata
from kraftpy.client.values import OffsetAndMetadata, TopicPartition
from kraftpy.client.wire import ClientPorts
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import CallTimeoutError, KraftpyError, StaleMemberEpochError, UnknownTopicOrPartitionError
from kraftpy.pb import groups_pb2
from simulation.loop import Loop
from tests.client.fake_broker import FakeCluster, TestClock
from tests.client.support import run

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


class SlowCoordinator:
    """Answers when it may; notes what it was sent."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.sent: list[tuple[int, dict[int, int]]] = []  # generation, and offsets by partition
        self.refusals: list[KraftpyError] = []
        self.unknown: dict[int, int] = {}  # partitions that the next so many answers do not know

    async def call(self, method: str, request: Any, answer: Any, timeout_ms: int) -> groups_pb2.OffsetResults:
        self.sent.append((request.generation, {each.partition: each.offset for each in request.offsets}))
        await self.may_answer.wait()
        if self.refusals:
            raise self.refusals.pop(0)
        results = groups_pb2.OffsetResults(errors=[self._error_of(each.partition) for each in request.offsets])
        self.unknown = {partition: times - 1 for partition, times in self.unknown.items() if times > 1}
        return results

    def _error_of(self, partition: int) -> int:
        return code_of(UnknownTopicOrPartitionError) if partition in self.unknown else NO_ERROR

    def noted(self, error: KraftpyError) -> None:
        pass


class Stage:
    def __init__(self) -> None:
        self.coordinator = SlowCoordinator()
        self.generation = 1
        config = ConsumerConfig.from_keywords({"group_id": "g"})
        cluster = FakeCluster(1)
        cluster.create("t", 2)
        ports = ClientPorts(cluster, TestClock(), Random(1))
        metadata = Metadata(config, ports, auto_create=False)
        coordinator = cast(Coordinator, self.coordinator)
        self.committing = Committing(config, ports, metadata, coordinator, lambda: Identity("m", self.generation))
        self.told: list[KraftpyError | None] = []

    def later(self, **offsets: int) -> None:
        self.committing.commit_later(places(**offsets), lambda _offsets, error: self.told.append(error))

    def tell(self) -> list[str]:
        """What became of those, as far as it is known, in words."""
        while self.committing.told:
            callback, offsets, error = self.committing.told.popleft()
            callback(offsets, error)
        return ["done" if error is None else error.name for error in self.told]


def places(**offsets: int) -> dict[TopicPartition, OffsetAndMetadata]:
    return {{"a": A, "b": B}[name]: OffsetAndMetadata(offset) for name, offset in offsets.items()}


def story(tell: Callable[[Stage], Awaitable[None]]) -> None:
    async def told() -> None:
        stage = Stage()
        await tell(stage)
        await stage.committing.close()

    run(told)


def test_who_waits_no_longer_for_what_is_under_way_stops_nothing() -> None:
    """Found by the simulation, `groups` seed 10001: a rebalance that waited its time ended all commits for good."""

    async def tell(stage: Stage) -> None:
        stage.later(a=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await stage.committing.flush()
        stage.later(a=2)
        stage.coordinator.may_answer.set()
        await stage.committing.flush()
        assert stage.tell() == ["done", "done"]
        assert [sent for _, sent in stage.coordinator.sent] == [{0: 1}, {0: 2}]

    story(tell)


def test_a_commit_of_nothing_waits_for_those_before_and_holds_up_none() -> None:
    async def tell(stage: Stage) -> None:
        stage.later(a=1)
        await asyncio.sleep(0)
        waiting = asyncio.ensure_future(stage.committing.commit({}, 1_000))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        stage.coordinator.may_answer.set()
        await waiting
        await stage.committing.commit(places(a=2), 1_000)
        assert [sent for _, sent in stage.coordinator.sent] == [{0: 1}, {0: 2}]

    story(tell)


def test_a_commit_takes_no_longer_than_it_may() -> None:
    async def tell(stage: Stage) -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(CallTimeoutError):
            await stage.committing.commit(places(a=1), 2_000)
        assert asyncio.get_running_loop().time() - began == pytest.approx(2, abs=0.1)
        stage.coordinator.may_answer.set()
        await stage.committing.commit(places(a=2), 2_000)
        assert [sent for _, sent in stage.coordinator.sent] == [{0: 1}, {0: 2}]

    story(tell)


def test_of_what_the_next_epoch_sends_again_nothing_was_given_up() -> None:
    async def tell(stage: Stage) -> None:
        stage.later(a=1, b=1)
        stage.later(b=2)
        await asyncio.sleep(0)
        stage.committing.give_up([A])
        stage.generation = 2
        stage.coordinator.refusals.append(StaleMemberEpochError())
        stage.coordinator.may_answer.set()
        await stage.committing.flush()
        assert stage.coordinator.sent == [(1, {0: 1, 1: 2}), (2, {1: 2})]
        assert stage.tell() == ["COMMIT_FAILED", "done"]

    story(tell)


def test_a_partition_that_the_coordinator_does_not_know_holds_up_no_other() -> None:
    async def tell(stage: Stage) -> None:
        stage.coordinator.may_answer.set()
        stage.coordinator.unknown = {1: 2}
        stage.later(a=1, b=1)
        stage.later(a=2)
        stage.later(b=3)
        await asyncio.sleep(0.05)
        assert stage.tell() == ["done"]
        await stage.committing.flush()
        assert stage.tell() == ["done", "done", "done"]
        assert [sent for _, sent in stage.coordinator.sent] == [{0: 2, 1: 3}, {1: 3}, {1: 3}]

    story(tell)


def test_a_partition_that_stays_unknown_is_repeated_for_as_long_as_its_commit_may_take() -> None:
    async def tell(stage: Stage) -> None:
        stage.coordinator.may_answer.set()
        stage.coordinator.unknown = {1: 1_000_000}
        stage.committing.commit_later(places(a=1, b=1), lambda _offsets, error: stage.told.append(error))
        await stage.committing.flush()
        assert stage.tell() == ["CALL_TIMEOUT"] and "t-1" in str(stage.told[0])
        await stage.committing.commit(places(a=2), 100)

    story(tell)


def test_a_request_that_cannot_be_made_ends_the_commits_that_it_was_for_and_no_later_ones() -> None:
    async def told() -> None:
        stage = Stage()
        stage.coordinator.may_answer.set()
        nameless = TopicPartition("\ud800", 0)
        with pytest.raises(KraftpyError, match="UnicodeEncodeError"):
            await stage.committing.commit({nameless: OffsetAndMetadata(1)}, 1_000)
        await stage.committing.commit(places(a=2), 1_000)
        await stage.committing.close()

    loop = Loop(1, time_limit_ms=60_000)
    try:
        loop.run_until_complete(told())
        assert len(loop.failures) == 1
    finally:
        loop.failures.clear()
        loop.shutdown()
