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
from kraftpy.client.values import OffsetAndMetadata, TopicPartition
from kraftpy.client.wire import ClientPorts
from kraftpy.errors import CallTimeoutError, KraftpyError, StaleMemberEpochError
from kraftpy.pb import groups_pb2
from tests.client.fake_broker import FakeCluster, TestClock
from tests.client.support import run

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


class SlowCoordinator:
    """Answers when it may; notes what it was sent."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.sent: list[tuple[int, dict[int, int]]] = []  # generation, and offsets by partition
        self.refusals: list[KraftpyError] = []

    async def call(self, method: str, request: Any, answer: Any, timeout_ms: int) -> groups_pb2.OffsetResults:
        self.sent.append((request.generation, {each.partition: each.offset for each in request.offsets}))
        await self.may_answer.wait()
        if self.refusals:
            raise self.refusals.pop(0)
        return groups_pb2.OffsetResults(errors=[0] * len(request.offsets))

    def noted(self, error: KraftpyError) -> None:
        pass


class Stage:
    def __init__(self) -> None:
        self.coordinator = SlowCoordinator()
        self.generation = 1
        config = ConsumerConfig.from_keywords({"group_id": "g"})
        ports = ClientPorts(FakeCluster(1), TestClock(), Random(1))
        coordinator = cast(Coordinator, self.coordinator)
        self.committing = Committing(config, ports, coordinator, lambda: Identity("m", self.generation))
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
