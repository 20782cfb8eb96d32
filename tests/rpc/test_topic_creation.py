"""Topics created on demand: asked for once, in batches, bounded, and whoever waits is told."""

import asyncio
from uuid import UUID

import pytest

from broker import topic_creation
from broker.metadata.image import MetadataImage
from broker.metadata.records import TopicRecord
from broker.topic_creation import BATCH_MAX, TopicCreation
from kraftpy.error_codes import code_of
from kraftpy.errors import (
    InvalidReplicationFactorError,
    KraftpyError,
    NotControllerError,
    ThrottlingQuotaExceededError,
    TopicAlreadyExistsError,
)
from kraftpy.pb.admin_pb2 import CreateTopicsRequest, TopicResults
from tests.client.support import run


class Controller:
    """Creates what it is asked for, after a while."""

    cluster_id = "test"
    has_joined = True
    controller_id = 1

    def __init__(self) -> None:
        self.image = MetadataImage.EMPTY
        self.requests: list[list[str]] = []
        self.refused: dict[str, type[KraftpyError]] = {}
        self.failure: KraftpyError | None = None
        self.under_way = 0

    async def run(self, method: str, payload: bytes, timeout_ms: int) -> bytes:
        assert method == "CreateTopics" and timeout_ms > 0
        self.under_way += 1
        assert self.under_way == 1, "one request at a time"
        request = CreateTopicsRequest.FromString(payload)
        assert all((topic.partitions, topic.replication_factor) == (-1, -1) for topic in request.topics)
        names = [topic.name for topic in request.topics]
        self.requests.append(names)
        await asyncio.sleep(0.1)
        self.under_way -= 1
        if self.failure is not None:
            raise self.failure
        results = TopicResults()
        for name in names:
            if name in self.refused:
                results.topics.add(name=name, error=code_of(self.refused[name]), error_message="so it is")
            else:
                self.exists(name)
                results.topics.add(name=name)
        return results.SerializeToString()

    def exists(self, name: str) -> None:
        record = TopicRecord(name, UUID(int=self.image.end_offset + 1))
        self.image, _ = self.image.apply([record], self.image.end_offset + 1, 1)


def test_concurrent_wishes_are_put_together_and_each_name_is_asked_for_once() -> None:
    async def story() -> None:
        controller = Controller()
        creation = TopicCreation(controller, True, controller)
        wishes = [creation.ensure([f"t{index % 5}", "shared"]) for index in range(20)]
        assert await asyncio.gather(*wishes) == [{}] * 20
        assert sorted(name for names in controller.requests for name in names) == [
            "shared",
            "t0",
            "t1",
            "t2",
            "t3",
            "t4",
        ]
        assert len(controller.requests) <= 2
        assert await creation.ensure(["t1", "shared", "t1"]) == {} and len(controller.requests) <= 2

    for seed in range(1, 6):
        run(story, seed=seed)


def test_requests_are_bounded_and_come_one_after_the_other() -> None:
    async def story() -> None:
        controller = Controller()
        creation = TopicCreation(controller, True, controller)
        assert await creation.ensure([f"t{index}" for index in range(2 * BATCH_MAX + 1)]) == {}
        assert [len(names) for names in controller.requests] == [BATCH_MAX, BATCH_MAX, 1]

    run(story)


def test_more_than_may_wait_is_refused_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_creation, "WAITING_MAX", 3)

    async def story() -> None:
        controller = Controller()
        creation = TopicCreation(controller, True, controller)
        refused = await creation.ensure([f"t{index}" for index in range(5)])
        assert {name: type(error) for name, error in refused.items()} == {
            "t3": ThrottlingQuotaExceededError,
            "t4": ThrottlingQuotaExceededError,
        }

    run(story)


def test_refusals_are_told_by_name_and_who_was_faster_is_none() -> None:
    async def story() -> None:
        controller = Controller()
        controller.refused = {"bad": InvalidReplicationFactorError, "there": TopicAlreadyExistsError}
        creation = TopicCreation(controller, True, controller)
        refused = await creation.ensure(["good", "bad", "there"])
        assert list(refused) == ["bad"]
        assert isinstance(refused["bad"], InvalidReplicationFactorError) and refused["bad"].message == "so it is"
        controller.failure = NotControllerError("nobody leads")
        assert await creation.ensure(["late", "good"]) == {"late": controller.failure}
        controller.failure = None
        assert await creation.ensure(["late"]) == {}

    run(story)


def test_a_client_that_goes_away_takes_nothing_from_the_others() -> None:
    async def story() -> None:
        controller = Controller()
        creation = TopicCreation(controller, True, controller)
        impatient = asyncio.get_running_loop().create_task(creation.ensure(["a"]))
        await asyncio.sleep(0.01)
        patient = asyncio.get_running_loop().create_task(creation.ensure(["a", "b"]))
        await asyncio.sleep(0.01)
        impatient.cancel()
        assert await patient == {}
        assert controller.requests == [["a"], ["b"]]

    run(story)


def test_stopping_tells_whoever_waits() -> None:
    async def story() -> None:
        controller = Controller()
        creation = TopicCreation(controller, True, controller)
        first = asyncio.get_running_loop().create_task(creation.ensure(["a"]))
        await asyncio.sleep(0.01)
        second = asyncio.get_running_loop().create_task(creation.ensure(["b"]))
        await asyncio.sleep(0.01)
        await creation.stop()
        for waiting, name in ((first, "a"), (second, "b")):
            refused = await waiting
            assert list(refused) == [name] and isinstance(refused[name], NotControllerError)
        await creation.stop()

    run(story)
