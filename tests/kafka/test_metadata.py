"""Metadata in every version: brokers, topics, leaders, ids, and bytes that are kept as long as they are true."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from broker.kafka.api import Request
from broker.kafka.authorized import NOT_ASKED
from broker.kafka.messages.metadata import (
    FLEXIBLE_FROM,
    AskedTopic,
    MetadataRequest,
    MetadataResponse,
)
from broker.kafka.metadata import Metadata
from broker.kafka.schema import decode, encode
from broker.metadata.records import BrokerChangeRecord, PartitionChangeRecord, RemoveTopicRecord
from kraftpy.error_codes import class_for
from kraftpy.errors import (
    InvalidRequestError,
    InvalidTopicError,
    LeaderNotAvailableError,
    ListenerNotFoundError,
    PolicyViolationError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from kraftpy.runtime.ports import Address
from tests.kafka.cluster_view import TOPIC_ID, Creation, View
from tests.kafka.fake_replicas import join

VERSIONS = range(14)
PEER = Address("127.0.0.1", 5)


class Door:
    def __init__(self, creation: Creation | None = None) -> None:
        self.view = View()
        self.creation = creation or Creation()
        self.leaders_known: list[Awaitable[None]] = []  # waited for by the next answers, one each
        self.handler = Metadata(self.view, self.creation, self.view.endpoint_of, self._wait_leaders_known)

    async def _wait_leaders_known(self) -> None:
        if self.leaders_known:
            await self.leaders_known.pop()

    def ask(self, version: int, *topics: str | UUID, everything: bool = False, **fields: Any) -> MetadataResponse:
        listed = tuple(
            AskedTopic(name=each) if isinstance(each, str) else AskedTopic(topic_id=each, name=None) for each in topics
        )
        asked = MetadataRequest(topics=(None if version else ()) if everything else listed, **fields)
        body = memoryview(encode(asked, version, flexible=version >= FLEXIBLE_FROM))
        data = join(asyncio.run(self.handler.handle(Request(version, 1, "c", PEER, body))))
        return decode(MetadataResponse, data, version, flexible=version >= FLEXIBLE_FROM)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_whole_cluster_in_every_version(version: int) -> None:
    told = Door().ask(version, everything=True)
    assert [(each.broker_id, each.host, each.port) for each in told.brokers] == [(1, "n1", 9092), (2, "n2", 9092)]
    if version >= 1:
        assert told.controller_id == 2
        assert told.brokers[0].rack == "rack-1"
    if version >= 2:
        assert told.cluster_id == "the-cluster"
    (topic,) = told.topics
    assert (topic.name, topic.error) == ("a", 0)
    assert topic.topic_id == (TOPIC_ID if version >= 10 else None)
    first, second = topic.partitions
    assert (first.leader, first.replicas, first.isr) == (1, (1, 2, 3), (1, 2))
    assert first.offline_replicas == ((3,) if version >= 5 else ())
    assert first.leader_epoch == (5 if version >= 7 else -1)
    assert (second.leader, class_for(second.error)) == (-1, LeaderNotAvailableError), "its leader is out of service"


@pytest.mark.parametrize("version", VERSIONS)
def test_only_what_is_asked_for(version: int) -> None:
    door = Door()
    told = door.ask(version, "a", "missing", "not a name", "a")
    assert [each.name for each in told.topics] == ["a", "missing", "not a name"]
    assert [class_for(each.error) for each in told.topics[1:]] == [UnknownTopicOrPartitionError, InvalidTopicError]
    assert door.creation.asked == ["missing", "not a name"]
    if version >= 1:
        assert door.ask(version).topics == ()


def test_topics_are_made_only_where_the_client_allows_it() -> None:
    door = Door(Creation({"missing": PolicyViolationError("no")}))
    (topic,) = door.ask(4, "missing", allow_auto_topic_creation=False).topics
    assert class_for(topic.error) is UnknownTopicOrPartitionError and not door.creation.asked
    (topic,) = door.ask(4, "missing").topics
    assert class_for(topic.error) is PolicyViolationError and door.creation.asked == ["missing"]


@pytest.mark.parametrize("version", [12, 13])
def test_topics_by_id(version: int) -> None:
    unknown = UUID(int=99)
    known, missing = Door().ask(version, TOPIC_ID, unknown).topics
    assert (known.name, known.topic_id) == ("a", TOPIC_ID)
    assert (missing.name, missing.topic_id, class_for(missing.error)) == (None, unknown, UnknownTopicIdError)


def test_operations_are_told_where_they_are_asked_for() -> None:
    door = Door()
    assert door.ask(8, "a").topics[0].authorized_operations == NOT_ASKED
    told = door.ask(8, "a", include_topic_authorized_operations=True, include_cluster_authorized_operations=True)
    assert told.topics[0].authorized_operations == 0b110111111000
    assert told.cluster_authorized_operations == 0b1111110100000


def test_what_changes_is_told_anew_and_the_rest_is_kept() -> None:
    door = Door()
    before = door.ask(9, "a")
    assert door.ask(9, "a") == before
    door.view.apply(PartitionChangeRecord(TOPIC_ID, 0, leader=2, isr=(2,)))
    (topic,) = door.ask(9, "a").topics
    assert (topic.partitions[0].leader, topic.partitions[0].leader_epoch) == (2, 6)
    epoch = door.view.image.brokers[3].epoch
    door.view.apply(BrokerChangeRecord(3, epoch, fenced=False, in_controlled_shutdown=False))
    told = door.ask(9, "a")
    assert [each.broker_id for each in told.brokers] == [1, 2, 3]
    assert told.topics[0].partitions[1].leader == 3
    door.view.apply(RemoveTopicRecord(TOPIC_ID))
    assert class_for(door.ask(9, "a").topics[0].error) is UnknownTopicOrPartitionError


@pytest.mark.parametrize("version, error", [(5, LeaderNotAvailableError), (6, ListenerNotFoundError)])
def test_a_broker_without_the_clients_listener_is_not_told(version: int, error: Any) -> None:
    door = Door()
    door.view.without_listener = [1]
    told = door.ask(version, "a")
    assert [each.broker_id for each in told.brokers] == [2]
    assert (told.topics[0].partitions[0].leader, class_for(told.topics[0].partitions[0].error)) == (-1, error)


@pytest.mark.parametrize("controller_id, told", [(2, 2), (1, 1), (None, 1), (3, 1), (77, 1)])
def test_the_controller_is_always_one_of_those_that_are_told(controller_id: int | None, told: int) -> None:
    door = Door()
    door.view.controller_id = controller_id
    assert door.ask(9).controller_id == told


@pytest.mark.parametrize("version", VERSIONS)
def test_a_node_that_has_not_joined_tells_nothing(version: int) -> None:
    door = Door()
    door.view.has_joined = False
    told = door.ask(version, "a")
    assert (told.brokers, told.topics) == ((), ())


@pytest.mark.parametrize("version", [10, 11])
def test_ids_of_the_two_versions_in_which_they_were_broken_are_refused(version: int) -> None:
    (topic,) = Door().ask(version, TOPIC_ID).topics
    assert class_for(topic.error) is InvalidRequestError


def test_an_answer_waits_for_the_next_leader_where_one_was_just_lost() -> None:
    door = Door()

    async def elected() -> None:
        await asyncio.sleep(0)
        door.view.apply(PartitionChangeRecord(TOPIC_ID, 0, leader=2, isr=(2,)))

    door.leaders_known.append(elected())
    assert door.ask(9, "a").topics[0].partitions[0].leader == 2


def test_an_answer_is_of_the_moment_in_which_it_leaves() -> None:
    door = Door()

    async def story() -> int:
        answered = asyncio.Event()
        request = MetadataRequest(topics=(AskedTopic(name="a"),))
        body = memoryview(encode(request, 9, flexible=True))
        asked = asyncio.create_task(door.handler.handle(Request(9, 1, "c", PEER, body, turn=_after(answered))))
        await asyncio.sleep(0)
        door.view.apply(PartitionChangeRecord(TOPIC_ID, 0, leader=2, isr=(2,)))
        answered.set()
        told = decode(MetadataResponse, join(await asked), 9, flexible=True)
        return told.topics[0].partitions[0].leader

    assert asyncio.run(story()) == 2


def _after(event: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def wait() -> None:
        await event.wait()

    return wait


def test_a_broker_that_just_fell_out_of_service_is_told_a_while_longer_but_not_as_the_controller() -> None:
    door = Door()
    door.view.missed, door.view.controller_id = (3,), 3
    told = door.ask(9, "a")
    assert ([each.broker_id for each in told.brokers], told.controller_id) == ([1, 2, 3], 1)
    assert told.topics[0].partitions[1].leader == -1, "it leads nothing"
    door.view.missed = ()
    assert [each.broker_id for each in door.ask(9, "a").brokers] == [1, 2]
