"""GetMetadata and InitProducerId: what a node tells, and what it has created first."""

import asyncio
from typing import Any
from uuid import UUID

from broker.metadata.records import BrokerChangeRecord, PartitionRecord, TopicRecord
from broker.rpc import metadata_answers
from broker.topic_creation import BRIEFLY_MS
from kraftpy.error_codes import code_of
from kraftpy.errors import (
    InvalidReplicationFactorError,
    InvalidTopicError,
    KraftpyError,
    LeaderNotAvailableError,
    NetworkError,
    UnknownTopicOrPartitionError,
)
from kraftpy.pb import client_pb2 as pb
from tests.controller.harness import Harness
from tests.replication.cluster import TOPIC
from tests.rpc.cluster import Bed, play


async def metadata(bed: Bed, *topics: str, node_id: int = 2, **fields: Any) -> pb.MetadataResponse:
    request = pb.MetadataRequest(topics=topics, **fields)
    return await bed.call(node_id, "Client/GetMetadata", request, pb.MetadataResponse)


def error_of(response: pb.MetadataResponse) -> dict[str, int]:
    return {topic.name: topic.error for topic in response.topics}


def code(error: type[KraftpyError]) -> int:
    return code_of(error)


def test_brokers_and_topics_are_told() -> None:
    async def story(bed: Bed) -> None:
        only_brokers = await metadata(bed)
        assert not only_brokers.topics and (only_brokers.cluster_id, only_brokers.controller_id) == ("test", 1)
        assert [
            (each.id, each.host, each.port, each.listener_host, each.listener_port) for each in only_brokers.brokers
        ] == [
            (1, "n1", 9093, "n1", 9092),
            (2, "n2", 9093, "n2", 9092),
            (3, "n3", 9093, "n3", 9092),
        ]
        (topic,) = (await metadata(bed, TOPIC, TOPIC)).topics
        assert topic.topic_id == bed.cluster.controller.image.topic_ids[TOPIC].bytes and not topic.internal
        (partition,) = topic.partitions
        assert (partition.error, partition.partition, partition.leader, partition.leader_epoch) == (0, 0, 1, 0)
        assert (list(partition.replicas), list(partition.isr), list(partition.offline_replicas)) == (
            [1, 2, 3],
            [1, 2, 3],
            [],
        )
        assert [topic.name for topic in (await metadata(bed, all_topics=True)).topics] == [TOPIC]

    play(story)


def test_brokers_out_of_service_lead_nothing() -> None:
    async def story(bed: Bed) -> None:
        controller = bed.cluster.controller
        controller.commit(BrokerChangeRecord(1, controller.image.brokers[1].epoch, fenced=True))
        await bed.settled()
        answer = await metadata(bed, TOPIC)
        assert [each.id for each in answer.brokers] == [2, 3]
        (partition,) = answer.topics[0].partitions
        assert (partition.leader, partition.error) == (-1, code(LeaderNotAvailableError))
        assert list(partition.offline_replicas) == [1]
        controller.change(leader=-1)
        await bed.settled()
        (partition,) = (await metadata(bed, TOPIC)).topics[0].partitions
        assert (partition.leader, partition.leader_epoch) == (-1, 1)

    play(story)


def test_a_node_that_has_not_joined_says_that_it_knows_nothing() -> None:
    async def story(bed: Bed) -> None:
        bed.doors[2].has_joined = False  # what it has applied may be of long ago
        answer = await metadata(bed, TOPIC, "fresh", allow_auto_topic_creation=True)
        assert not answer.brokers and not answer.topics and answer.controller_id == -1
        assert not bed.controller.commands
        async with bed.consumer(TOPIC) as consumer:  # which asks another node
            assert await consumer.poll(timeout=1) == []

    play(story)


def test_missing_topics_are_created_only_where_asked_and_allowed() -> None:
    async def story(bed: Bed) -> None:
        assert error_of(await metadata(bed, "fresh", "no good", "__cluster_metadata", "")) == {
            "fresh": code(UnknownTopicOrPartitionError),
            "no good": code(InvalidTopicError),
            "__cluster_metadata": code(InvalidTopicError),
            "": code(InvalidTopicError),
        }
        bed.doors[2].creation.enabled = False
        assert error_of(await metadata(bed, "fresh", allow_auto_topic_creation=True)) == {
            "fresh": code(UnknownTopicOrPartitionError)
        }
        assert not bed.controller.commands
        bed.doors[2].creation.enabled = True
        answer = await metadata(bed, "fresh", "no good", TOPIC, allow_auto_topic_creation=True)
        assert error_of(answer) == {"fresh": 0, "no good": code(InvalidTopicError), TOPIC: 0}
        (partition,) = answer.topics[0].partitions
        assert partition.leader >= 1
        assert len(bed.controller.commands) == 1

    play(story)


def test_an_answer_does_not_wait_long_for_a_creation() -> None:
    """The same answer tells who leads the topics that are there."""

    async def story(bed: Bed) -> None:
        released = asyncio.Event()
        answering = bed.doors[2].run

        async def slow(method: str, payload: bytes, timeout_ms: int) -> bytes:
            await released.wait()
            return await answering(method, payload, timeout_ms)

        bed.doors[2].run = slow  # type: ignore[method-assign]
        began_us = bed.world.loop.now_us
        answer = await metadata(bed, "fresh", TOPIC, allow_auto_topic_creation=True)
        assert error_of(answer) == {"fresh": code(LeaderNotAvailableError), TOPIC: 0}
        assert bed.world.loop.now_us - began_us < (BRIEFLY_MS + 100) * 1_000
        released.set()
        await asyncio.sleep(0.1)
        assert error_of(await metadata(bed, "fresh", allow_auto_topic_creation=True)) == {"fresh": 0}
        assert len(bed.controller.commands) == 1

    play(story)


def test_why_a_topic_cannot_be_created_is_told_unless_it_passes() -> None:
    async def story(bed: Bed) -> None:
        bed.has_controller = False
        answer = await metadata(bed, "fresh", allow_auto_topic_creation=True)
        assert error_of(answer) == {"fresh": code(LeaderNotAvailableError)} and answer.controller_id == -1
        bed.has_controller = True
        for node_id in (1, 3):
            bed.cluster.controller.fence(node_id)
        bed.cluster.controller.commit(
            BrokerChangeRecord(2, bed.cluster.controller.image.brokers[2].epoch, in_controlled_shutdown=True)
        )
        await bed.settled()
        answer = await metadata(bed, "fresh", allow_auto_topic_creation=True)
        assert error_of(answer) == {"fresh": code(InvalidReplicationFactorError)}

    play(story)


def test_large_answers_let_others_in() -> None:
    async def story(bed: Bed) -> None:
        controller = bed.cluster.controller
        for number in range(3):
            topic_id = UUID(int=77 + number)
            partitions = [PartitionRecord(topic_id, index, (1,), (1,), 1, 0, 0) for index in range(600)]
            controller.commit(TopicRecord(f"many{number}", topic_id), *partitions)
        await bed.settled()
        answer = await metadata(bed, all_topics=True)
        assert [(topic.name, len(topic.partitions)) for topic in answer.topics] == [
            ("many0", 600),
            ("many1", 600),
            ("many2", 600),
            (TOPIC, 1),
        ]

    play(story)


def test_producer_ids_are_given_away_once() -> None:
    async def story(bed: Bed) -> None:
        async def ask(node_id: int) -> int:
            request = pb.InitProducerIdRequest()
            answer = await bed.call(node_id, "Client/InitProducerId", request, pb.InitProducerIdResponse)
            assert (answer.error, answer.producer_epoch) == (0, 0)
            return answer.producer_id

        ids = await asyncio.gather(*[ask(node_id) for node_id in (1, 2, 3) for _ in range(15)])
        assert len(dict.fromkeys(ids)) == 45

        async def nobody() -> Any:
            raise NetworkError("no controller")

        bed.doors[1].client._producer_ids._allocate = nobody
        for _ in range(20):
            answer = await bed.call(1, "Client/InitProducerId", pb.InitProducerIdRequest(), pb.InitProducerIdResponse)
        assert answer.error != 0 and "no controller" in answer.error_message and answer.producer_id == -1

    play(story)


def test_the_framed_address_is_of_the_listener_that_is_asked_for() -> None:
    harness = Harness()
    harness.start(1)
    registration = harness.image.brokers[1].registration
    assert registration.framed_endpoint("") is None
    (info,) = metadata_answers.broker_infos(harness.image, "ELSEWHERE")
    assert (info.host, info.port, info.listener_host, info.listener_port) == ("localhost", 9093, "", 0)
