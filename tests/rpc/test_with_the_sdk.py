"""The services as their users meet them: through the SDK."""

import pytest

from broker.metadata.internal_topics import INTERNAL_TOPICS
from kraftpy.client.admin_values import ConfigResource
from kraftpy.errors import (
    BrokerIdNotRegisteredError,
    BrokerNotAvailableError,
    InvalidConfigError,
    InvalidPartitionsError,
    InvalidTopicError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from tests.replication.cluster import TOPIC
from tests.rpc.cluster import Bed, play


async def read_all(bed: Bed, topic: str, count: int) -> list[tuple[int, bytes | None]]:
    async with bed.consumer(topic) as consumer:
        got: list[tuple[int, bytes | None]] = []
        while len(got) < count:
            got += [(record.partition, record.value) for record in await consumer.poll(timeout=5)]
        return got


def test_what_is_sent_is_read_in_order_and_a_seed_replays() -> None:
    async def story(bed: Bed) -> None:
        async with bed.producer(linger_ms=1) as producer:
            for index in range(300):
                await producer.send(TOPIC, b"%d" % index, partition=0)
            await producer.flush()
        assert await read_all(bed, TOPIC, 300) == [(0, b"%d" % index) for index in range(300)]

    assert play(story, 5) == play(story, 5)


def test_a_topic_that_is_first_sent_to_is_created() -> None:
    async def story(bed: Bed) -> None:
        async with bed.producer() as producer:
            await producer.send("fresh", b"first")
            await producer.send("fresh", b"second")
            await producer.flush()
            with pytest.raises(InvalidTopicError):
                await producer.send("no good", b"")
        assert [value for _, value in await read_all(bed, "fresh", 2)] == [b"first", b"second"]
        assert len([1 for command in bed.controller.commands if type(command).__name__ == "CreateTopics"]) == 1

    play(story)


@pytest.mark.parametrize("topic", INTERNAL_TOPICS)
def test_what_coordinators_keep_is_not_for_clients_to_write_or_delete(topic: str) -> None:
    async def story(bed: Bed) -> None:
        async with bed.admin() as admin:
            await admin.create_topic(topic)
            with pytest.raises(InvalidTopicError):
                async with bed.producer() as producer:
                    await producer.send(topic, b"a group that never was")
            with pytest.raises(InvalidTopicError):
                await admin.delete_records({(topic, 0): 0})

    play(story)


def test_producers_and_consumers_follow_a_leader_that_moves_and_one_that_dies() -> None:
    async def story(bed: Bed) -> None:
        cluster = bed.cluster
        async with bed.producer(linger_ms=1) as producer, bed.consumer(TOPIC) as consumer:
            got: list[bytes | None] = []
            for index in range(60):
                if index == 20:
                    cluster.controller.change(leader=2)
                if index == 40:
                    cluster.crash(2)
                    cluster.controller.fence(2)
                await producer.send(TOPIC, b"%d" % index, partition=0)
            await producer.flush()
            while len(got) < 60:
                got += [record.value for record in await consumer.poll(timeout=5)]
        assert got == [b"%d" % index for index in range(60)]

    play(story)


def test_topics_are_administered() -> None:
    async def story(bed: Bed) -> None:
        async with bed.admin() as admin:
            created = await admin.create_topic(
                "lines", partitions=3, replication_factor=2, config={"retention.ms": "1000", "min.insync.replicas": "2"}
            )
            assert (created.partitions, created.replication_factor) == (3, 2)
            with pytest.raises(TopicAlreadyExistsError):
                await admin.create_topic("lines")
            with pytest.raises(InvalidConfigError, match=r"did you mean retention\.ms"):
                await admin.create_topic("other", config={"retention.m": "1"})
            assert [topic.name for topic in await admin.list_topics()] == ["lines", TOPIC]
            described = await admin.describe_topic("lines")
            assert [len(partition.replicas) for partition in described.partitions] == [2, 2, 2]
            assert all(partition.leader in partition.isr for partition in described.partitions)

            await admin.create_partitions("lines", 5, assignment={3: [1, 2], 4: [2, 3]})
            assert [each.replicas for each in (await admin.describe_topic("lines")).partitions[3:]] == [(1, 2), (2, 3)]
            with pytest.raises(InvalidPartitionsError, match="fewer"):
                await admin.create_partitions("lines", 2)

            await admin.delete_topic("lines")
            with pytest.raises(UnknownTopicOrPartitionError):
                await admin.describe_topic("lines")

    play(story)


def test_settings_are_described_and_changed() -> None:
    async def story(bed: Bed) -> None:
        topic, broker, everybody = ConfigResource.topic(TOPIC), ConfigResource.broker(2), ConfigResource.broker()
        async with bed.admin() as admin:
            await admin.alter_configs({topic: {"retention.ms": "5000"}, everybody: {"log.retention.bytes": "77"}})
            await admin.alter_configs({broker: {"log.retention.ms": None, "log.roll.ms": "123"}})
            described = await admin.describe_configs([topic, broker, everybody])
            entries = described[topic]
            assert (entries["retention.ms"].value, entries["retention.ms"].source) == ("5000", "dynamic-topic")
            assert (entries["retention.bytes"].value, entries["retention.bytes"].source) == ("77", "dynamic-default")
            assert entries["segment.bytes"].is_default and "rolled" in entries["segment.bytes"].documentation
            assert {name: entry.value for name, entry in described[everybody].items()} == {"log.retention.bytes": "77"}
            entries = described[broker]  # whichever node was asked, broker 2 itself has answered
            assert (entries["log.roll.ms"].value, entries["log.roll.ms"].source) == ("123", "dynamic-broker")
            node_id = entries["node.id"]
            assert (node_id.value, node_id.source, node_id.read_only) == ("2", "static", True)
            assert entries["broker.rack"].is_default and "rack" in entries["broker.rack"].documentation
            assert list(entries) == sorted(entries)

            await admin.alter_configs({topic: {"retention.ms": None}})
            assert (await admin.describe_configs([topic]))[topic]["retention.ms"].is_default
            with pytest.raises(InvalidConfigError, match="whole number"):
                await admin.alter_configs({topic: {"retention.ms": "soon"}})
            with pytest.raises(UnknownTopicOrPartitionError, match="no topic nothing"):
                await admin.describe_configs([ConfigResource.topic("nothing")])
            with pytest.raises(BrokerIdNotRegisteredError, match="broker 9"):
                await admin.describe_configs([ConfigResource.broker(9)])
            bed.cluster.crash(2)
            with pytest.raises(BrokerNotAvailableError, match="cannot tell what it was started with"):
                await admin.describe_configs([broker])

    play(story)


def test_records_are_deleted_leaders_elected_and_the_cluster_described() -> None:
    async def story(bed: Bed) -> None:
        async with bed.producer() as producer, bed.admin() as admin:
            for index in range(5):
                await producer.send(TOPIC, b"%d" % index, partition=0)
            await producer.flush()
            assert await admin.delete_records({(TOPIC, 0): 3}) == {(TOPIC, 0): 3}
            assert [value for _, value in await read_all(bed, TOPIC, 2)] == [b"3", b"4"]

            bed.cluster.controller.change(leader=3)
            assert [each.error for each in await admin.elect_leaders()] == [""]
            assert bed.cluster.leader() == 1
            assert [each.error for each in await admin.elect_leaders([(TOPIC, 0)])] == ["ELECTION_NOT_NEEDED"]

            bed.cluster.controller.fence(3)
            await bed.settled()
            cluster = await admin.describe_cluster()
            assert [(each.node_id, each.fenced, each.port, each.listener_port) for each in cluster.brokers] == [
                (1, False, 9093, 9092),
                (2, False, 9093, 9092),
                (3, True, 9093, 9092),
            ]
            assert cluster.cluster_id == "test" and cluster.controller_id == 1 and cluster.metadata_offset > 0
            health = await admin.cluster_health()
            assert not health.healthy and health.under_replicated == (f"{TOPIC}-0",)
            assert (await admin.describe_topic(TOPIC)).partitions[0].offline_replicas == (3,)

    play(story)


def test_the_quorum_is_described_and_its_leadership_handed_on() -> None:
    async def story(bed: Bed) -> None:
        async with bed.admin() as admin:
            quorum = await admin.describe_quorum()
            assert [(each.node_id, each.host, each.log_end_offset) for each in quorum.voters] == [
                (1, "n1", 9),
                (2, "n2", 8),
                (3, "n3", 7),
            ]
            assert [each.node_id for each in quorum.observers] == [4]
            assert (quorum.leader_id, quorum.leader_epoch, quorum.high_watermark) == (1, 1, 9)
            await admin.transfer_quorum_leadership(3)
            assert bed.quorum.leader_id == 3

    play(story)


def test_a_controller_that_is_away_for_a_while_is_waited_for() -> None:
    async def story(bed: Bed) -> None:
        bed.has_controller = False
        bed.world.loop.call_later(2, lambda: setattr(bed, "has_controller", True))
        async with bed.admin() as admin:
            assert (await admin.describe_cluster()).controller_id == -1
            await admin.create_topic("late")
            bed.has_controller = False
            bed.world.loop.call_later(2, lambda: setattr(bed, "has_controller", True))
            assert (await admin.describe_quorum()).leader_id == 1

    play(story)
