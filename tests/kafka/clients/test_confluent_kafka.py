"""confluent-kafka (librdkafka) against three real nodes: producing, consuming by assignment, administration."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import (
    Consumer,
    ElectionType,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)

from kraftpy.testing import Cluster
from tests.kafka.clients.waiting import wait_until

MakeTopic = Callable[..., str]
WAIT_S = 20.0


@pytest.fixture
def admin(cluster: Cluster) -> Iterator[AdminClient]:
    yield AdminClient({"bootstrap.servers": cluster.kafka_bootstrap})


def produce(cluster: Cluster, name: str, count: int, **settings: Any) -> list[int]:
    """The offsets, in the order of delivery."""
    offsets: list[int] = []

    def delivered(error: Any, message: Any) -> None:
        assert error is None, error
        offsets.append(message.offset())

    named = {key.replace("_", "."): value for key, value in settings.items()}
    producer = Producer({"bootstrap.servers": cluster.kafka_bootstrap, **named})
    for number in range(count):
        producer.produce(name, str(number).encode(), partition=0, on_delivery=delivered, headers={"n": str(number)})
    assert producer.flush(WAIT_S) == 0
    return offsets


def assigned(cluster: Cluster, name: str, offset: int = 0) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.kafka_bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign([TopicPartition(name, 0, offset)])
    return consumer


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("is_idempotent", [True, False])
def test_records_come_back(cluster: Cluster, topic: MakeTopic, is_idempotent: bool, compression: str) -> None:
    name = topic(1)
    sent = produce(cluster, name, 100, enable_idempotence=is_idempotent, compression_type=compression, linger_ms=5)
    assert sent == list(range(100))
    consumer = assigned(cluster, name)
    records = consumer.consume(100, WAIT_S)
    assert [int(each.value()) for each in records] == list(range(100))
    assert records[3].headers() == [("n", b"3")]
    consumer.seek(TopicPartition(name, 0, 40))
    (again,) = consumer.consume(1, WAIT_S)
    assert again.offset() == 40
    assert consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=WAIT_S) == (0, 100)
    consumer.close()


def test_topics_come_grow_and_go(admin: AdminClient) -> None:
    admin.create_topics([NewTopic("by-confluent", 2, 3, config={"retention.ms": "60000"})])["by-confluent"].result(
        WAIT_S
    )
    with pytest.raises(KafkaException) as refused:
        admin.create_topics([NewTopic("by-confluent", 2, 3)])["by-confluent"].result(WAIT_S)
    assert refused.value.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
    admin.create_partitions([NewPartitions("by-confluent", 5)])["by-confluent"].result(WAIT_S)

    def in_sync() -> list[int]:
        described = admin.describe_topics(TopicCollection(["by-confluent"]))["by-confluent"].result(WAIT_S)
        return [len(each.isr) for each in described.partitions]

    wait_until(lambda: in_sync() == [3] * 5)
    wait_until(lambda: len(admin.list_topics(timeout=WAIT_S).topics["by-confluent"].partitions) == 5)
    admin.delete_topics(["by-confluent"])["by-confluent"].result(WAIT_S)
    wait_until(lambda: "by-confluent" not in admin.list_topics(timeout=WAIT_S).topics)


def test_settings(admin: AdminClient, topic: MakeTopic) -> None:
    name = topic(1)

    def setting(key: str) -> Any:
        resource = ConfigResource(ResourceType.TOPIC, name)
        return admin.describe_configs([resource])[resource].result(WAIT_S)[key]

    def change(key: str, value: str | None, operation: AlterConfigOpType) -> None:
        entry = ConfigEntry(key, value, incremental_operation=operation)
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
        admin.incremental_alter_configs([resource])[resource].result(WAIT_S)

    assert setting("retention.ms").is_default
    change("retention.ms", "7000", AlterConfigOpType.SET)
    wait_until(lambda: (setting("retention.ms").value, setting("retention.ms").source) == ("7000", 1))
    wait_until(lambda: "log.retention.ms" in setting("retention.ms").synonyms)
    synonyms = setting("retention.ms").synonyms
    assert next((each.name, each.source) for each in synonyms.values()) == ("retention.ms", 1)
    assert "log.retention.ms" in synonyms
    change("cleanup.policy", "compact", AlterConfigOpType.APPEND)
    wait_until(lambda: setting("cleanup.policy").value == "delete,compact")
    change("retention.ms", None, AlterConfigOpType.DELETE)
    wait_until(lambda: setting("retention.ms").is_default)
    with pytest.raises(KafkaException) as refused:
        change("retention.ms", "never", AlterConfigOpType.SET)
    assert refused.value.args[0].code() == KafkaError.INVALID_CONFIG
    broker = ConfigResource(ResourceType.BROKER, "2")
    assert admin.describe_configs([broker])[broker].result(WAIT_S)["node.id"].value == "2"


def test_offsets_records_and_the_cluster(cluster: Cluster, admin: AdminClient, topic: MakeTopic) -> None:
    name = topic(1)
    produce(cluster, name, 10)
    partition = TopicPartition(name, 0)
    asked = {partition: OffsetSpec.latest()}
    found = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)[partition].result(WAIT_S)
    assert found.offset == 10
    deleted = admin.delete_records([TopicPartition(name, 0, 4)])
    assert [each.result(WAIT_S).low_watermark for each in deleted.values()] == [4]
    consumer = assigned(cluster, name)
    assert consumer.consume(1, WAIT_S)[0].offset() == 4
    consumer.close()
    described = admin.describe_cluster(include_authorized_operations=True).result(WAIT_S)
    assert sorted(node.id for node in described.nodes) == [1, 2, 3]
    assert AclOperation.ALTER in described.authorized_operations
    assert described.controller.id in (1, 2, 3)


def test_elections_are_not_needed_where_the_preferred_lead(
    cluster: Cluster, admin: AdminClient, topic: MakeTopic
) -> None:
    name = topic(1)
    cluster.wait_in_sync()
    partition = TopicPartition(name, 0)
    elected = admin.elect_leaders(ElectionType.PREFERRED, [partition]).result(WAIT_S)
    assert elected[partition].code() == KafkaError.ELECTION_NOT_NEEDED


def test_security_is_off_and_says_so(admin: AdminClient) -> None:
    wanted = AclBinding(
        ResourceType.TOPIC, "t", ResourcePatternType.LITERAL, "User:u", "*", AclOperation.READ, AclPermissionType.ALLOW
    )
    with pytest.raises(KafkaException) as refused:
        admin.create_acls([wanted])[wanted].result(WAIT_S)
    assert refused.value.args[0].code() == KafkaError.SECURITY_DISABLED
    assert admin.describe_user_scram_credentials().result(WAIT_S) == {}
