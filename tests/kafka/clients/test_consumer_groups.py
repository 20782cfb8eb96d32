"""Consumer groups whose coordinator assigns (KIP-848), by confluent-kafka with group.protocol=consumer.

A cluster of its own, whose members send heartbeats often, so that nobody waits for what comes with the next.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from kraftpy.testing import Cluster
from tests.kafka.clients.waiting import wait_until

QUICK = {
    "group.consumer.heartbeat.interval.ms": 200,
    "group.consumer.min.heartbeat.interval.ms": 100,
    "group.consumer.session.timeout.ms": 6_000,
    "group.consumer.min.session.timeout.ms": 1_000,
}
POLL_S = 0.05
CALL_S = 20.0


@pytest.fixture(scope="module")
def quick() -> Iterator[Cluster]:
    with Cluster(nodes=3, config=QUICK) as running:
        yield running


class Group:
    """Consumers of one group, polled in turn."""

    def __init__(self, cluster: Cluster, group_id: str) -> None:
        self.cluster = cluster
        self.group_id = group_id
        self.admin = AdminClient({"bootstrap.servers": cluster.kafka_bootstrap})
        self.consumers: list[Consumer] = []
        self.values: list[bytes] = []

    def topic(self, name: str, partitions: int) -> None:
        new = NewTopic(name, partitions, 3)
        self.admin.create_topics([new])[name].result(CALL_S)

    def join(self, *topics: str, **settings: Any) -> Consumer:
        consumer = Consumer(
            {
                "bootstrap.servers": self.cluster.kafka_bootstrap,
                "group.id": self.group_id,
                "group.protocol": "consumer",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                **{key.replace("_", "."): value for key, value in settings.items()},
            }
        )
        consumer.subscribe(list(topics))
        self.consumers.append(consumer)
        return consumer

    def leave(self, consumer: Consumer) -> None:
        self.consumers.remove(consumer)
        consumer.close()

    def poll_until(self, holds: Callable[[], bool]) -> None:
        def polled() -> bool:
            for consumer in self.consumers:
                message = consumer.poll(POLL_S)
                if message is not None:
                    assert message.error() is None, message.error()
                    self.values.append(message.value())
            return holds()

        wait_until(polled)

    def shares(self) -> list[int]:
        """How many partitions each has."""
        return [len(consumer.assignment()) for consumer in self.consumers]


@pytest.fixture
def group(quick: Cluster, request: pytest.FixtureRequest) -> Iterator[Group]:
    made = Group(quick, "".join(letter if letter.isalnum() else "-" for letter in request.node.name))
    yield made
    for consumer in made.consumers:
        consumer.close()


def produce(cluster: Cluster, topic: str, count: int, partitions: int) -> list[bytes]:
    producer = Producer({"bootstrap.servers": cluster.kafka_bootstrap})
    values = [str(index).encode() for index in range(count)]
    for index, value in enumerate(values):
        producer.produce(topic, value, partition=index % partitions)
    assert producer.flush(CALL_S) == 0
    return values


def test_members_come_and_go_and_partitions_are_added(group: Group, quick: Cluster) -> None:
    group.topic("comes-and-goes", 4)
    values = produce(quick, "comes-and-goes", 40, 4)
    first = group.join("comes-and-goes")
    group.poll_until(lambda: len(group.values) == 40)
    assert sorted(group.values) == sorted(values)
    first.commit(asynchronous=False)
    second = group.join("comes-and-goes")
    group.poll_until(lambda: group.shares() == [2, 2])
    places = [(each.topic, each.partition) for consumer in group.consumers for each in consumer.assignment()]
    assert len(set(places)) == 4
    group.admin.create_partitions([NewPartitions("comes-and-goes", 6)])["comes-and-goes"].result(CALL_S)
    group.poll_until(lambda: sum(group.shares()) == 6)
    group.leave(second)
    group.poll_until(lambda: group.shares() == [6])
    committed = first.committed([TopicPartition("comes-and-goes", index) for index in range(4)], timeout=CALL_S)
    assert [each.offset for each in committed] == [10] * 4
    assert len(group.values) == 40, "nothing was read twice"


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_a_group_changes_its_protocol_member_by_member_and_back(group: Group, quick: Cluster, strategy: str) -> None:
    topic = f"changes-{strategy}"
    group.topic(topic, 6)
    values = produce(quick, topic, 60, 6)
    classic = {"group_protocol": "classic", "partition_assignment_strategy": strategy, "heartbeat_interval_ms": 200}
    old = [group.join(topic, **classic), group.join(topic, **classic)]
    group.poll_until(lambda: group.shares() == [3, 3] and len(set(group.values)) == 60)
    for consumer in old:
        consumer.commit(asynchronous=False)
    new = group.join(topic)
    group.poll_until(lambda: group.shares() == [2, 2, 2])
    places = [each.partition for consumer in group.consumers for each in consumer.assignment()]
    assert sorted(places) == list(range(6))
    group.leave(old.pop())
    group.poll_until(lambda: group.shares() == [3, 3])
    group.leave(new)
    group.poll_until(lambda: group.shares() == [6])
    listed = group.admin.list_consumer_groups().result(CALL_S).valid
    assert [each.type.name for each in listed if each.group_id == group.group_id] == ["CLASSIC"]
    assert set(group.values) == set(values)


def test_a_pattern_finds_topics_that_come_later(group: Group) -> None:
    group.topic("pattern-1", 1)
    group.join("^pattern-[0-9]+")
    group.poll_until(lambda: group.shares() == [1])
    group.topic("pattern-2", 2)
    group.poll_until(lambda: group.shares() == [3])


def test_a_static_member_is_back_before_anybody_notices(group: Group) -> None:
    group.topic("static", 4)
    static = group.join("static", group_instance_id="i")
    group.join("static")
    group.poll_until(lambda: group.shares() == [2, 2])
    had = sorted(each.partition for each in static.assignment())
    group.leave(static)
    again = group.join("static", group_instance_id="i")
    group.poll_until(lambda: group.shares() == [2, 2])
    assert sorted(each.partition for each in again.assignment()) == had


def test_administrators_see_the_group(group: Group) -> None:
    group.topic("seen", 3)
    group.join("seen", group_remote_assignor="range")
    group.poll_until(lambda: group.shares() == [3])
    description = group.admin.describe_consumer_groups([group.group_id])[group.group_id].result(CALL_S)
    assert (description.state.name, description.type.name, description.partition_assignor) == (
        "STABLE",
        "CONSUMER",
        "range",
    )
    assert len(description.members[0].assignment.topic_partitions) == 3
    listed = group.admin.list_consumer_groups().result(CALL_S).valid
    assert [each.type.name for each in listed if each.group_id == group.group_id] == ["CONSUMER"]
    group.leave(group.consumers[0])
    group.admin.delete_consumer_groups([group.group_id])[group.group_id].result(CALL_S)


def test_a_group_outlives_the_node_that_coordinates_it(group: Group, quick: Cluster) -> None:
    group.topic("outlives", 4)
    first = group.join("outlives")
    group.join("outlives")
    group.poll_until(lambda: group.shares() == [2, 2])  # before there are records: none is handed on uncommitted
    values = produce(quick, "outlives", 40, 4)
    group.poll_until(lambda: len(group.values) >= 40)
    for consumer in group.consumers:
        consumer.commit(asynchronous=False)
    description = group.admin.describe_consumer_groups([group.group_id])[group.group_id].result(CALL_S)
    killed = description.coordinator.id
    quick.kill(killed)
    more = produce(quick, "outlives", 80, 4)
    group.poll_until(lambda: len(group.values) >= 120)
    quick.start(killed)
    assert sorted(group.values) == sorted([*values, *more]), "nothing is lost, and nothing came twice"
    assert sum(group.shares()) == 4 and len(first.assignment()) == 2
