"""kafka-python against three real nodes: the tutorial's programs, and its admin client. Groups are elsewhere."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.errors import (
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    KafkaError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)

from kraftpy.testing import Cluster
from tests.kafka.clients.waiting import wait_until

MakeTopic = Callable[..., str]


@pytest.fixture
def admin(cluster: Cluster) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=cluster.kafka_bootstrap)
    yield client
    client.close()


def read(cluster: Cluster, count: int, *partitions: TopicPartition, **settings: Any) -> list[Any]:
    """The first `count` records, by assignment."""
    consumer = KafkaConsumer(
        bootstrap_servers=cluster.kafka_bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=20_000,
        **settings,
    )
    consumer.assign(list(partitions))
    records = []
    for record in consumer:
        records.append(record)
        if len(records) == count:
            break
    consumer.close()
    return records


def test_the_tutorials_producer(cluster: Cluster, topic: MakeTopic) -> None:
    """Three bootstrap servers, retries, a client id, acks=1, JSON; the consumer prints five fields."""
    name = topic(1)
    producer = KafkaProducer(
        bootstrap_servers=cluster.kafka_bootstrap.split(","),
        retries=5,
        client_id="producer-tutorial",
        acks=1,
        value_serializer=lambda value: json.dumps(value).encode(),
    )
    for number in range(100):
        producer.send(name, {"number": number, "text": f"第{number}条"})
    producer.flush()
    producer.close()
    records = read(cluster, 100, TopicPartition(name, 0), value_deserializer=json.loads, client_id="consumer-tutorial")
    lines = [f"{each.topic}:{each.partition}:{each.offset}: key={each.key} value={each.value}" for each in records]
    assert lines[7] == f"{name}:0:7: key=None value={{'number': 7, 'text': '第7条'}}"
    assert [each.value["number"] for each in records] == list(range(100))


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_records_come_back_as_they_were_sent(
    cluster: Cluster, topic: MakeTopic, acks: int | str, compression: str | None
) -> None:
    name = topic(1)
    settings = {} if acks == "all" else {"enable_idempotence": False}
    producer = KafkaProducer(
        bootstrap_servers=cluster.kafka_bootstrap, acks=acks, compression_type=compression, linger_ms=5, **settings
    )
    sent = [
        (str(number).encode() * 50, [("h", b"1"), ("empty", b"")], 1_700_000_000_000 + number) for number in range(20)
    ]
    for value, headers, timestamp_ms in sent:
        producer.send(name, value, key=b"k", headers=headers, timestamp_ms=timestamp_ms)
    producer.flush()
    producer.close()
    records = read(cluster, 20, TopicPartition(name, 0))
    assert [(each.value, list(each.headers), each.timestamp) for each in records] == sent


def test_positions_are_found_by_end_and_by_time(cluster: Cluster, topic: MakeTopic) -> None:
    name = topic(1)
    partition = TopicPartition(name, 0)
    producer = KafkaProducer(bootstrap_servers=cluster.kafka_bootstrap)
    for number in range(10):
        producer.send(name, b"x", timestamp_ms=1_000 * (number + 1)).get(20)
    producer.close()
    consumer = KafkaConsumer(
        bootstrap_servers=cluster.kafka_bootstrap, consumer_timeout_ms=20_000, auto_offset_reset="none"
    )
    consumer.assign([partition])
    assert consumer.beginning_offsets([partition]) == {partition: 0}
    assert consumer.end_offsets([partition]) == {partition: 10}
    assert consumer.offsets_for_times({partition: 4_500})[partition].offset == 4
    assert consumer.offsets_for_times({partition: 99_000})[partition] is None
    consumer.seek(partition, 7)
    assert next(consumer).offset == 7
    consumer.seek_to_beginning(partition)
    assert next(consumer).offset == 0
    consumer.seek(partition, 99)
    with pytest.raises(OffsetOutOfRangeError):
        next(consumer)
    assert consumer.partitions_for_topic(name) == {0}
    consumer.close()


def test_a_topic_that_is_named_comes_to_be(cluster: Cluster) -> None:
    producer = KafkaProducer(bootstrap_servers=cluster.kafka_bootstrap)
    assert producer.send("made-on-demand", b"first").get(20).offset == 0
    assert len(producer.partitions_for("made-on-demand")) == 3
    producer.close()


def test_a_record_that_is_too_large_is_refused_by_the_broker(cluster: Cluster, topic: MakeTopic) -> None:
    name = topic(1, max_message_bytes="10000")
    producer = KafkaProducer(bootstrap_servers=cluster.kafka_bootstrap, max_request_size=2**24)
    with pytest.raises(MessageSizeTooLargeError):
        producer.send(name, bytes(20_000)).get(20)
    producer.close()


def test_no_leader_dies_unnoticed(cluster: Cluster, topic: MakeTopic) -> None:
    """A leader is killed while records are sent with acks=all: all of them are there, each once."""
    name = topic(1)
    producer = KafkaProducer(bootstrap_servers=cluster.kafka_bootstrap, acks="all", retries=100, linger_ms=1)
    sent = []
    victim = cluster.leader(name, 0)
    try:
        for number in range(300):
            sent.append(producer.send(name, str(number).encode()))
            if number == 100:
                cluster.kill(victim)
        producer.flush(60)
        assert [each.get(1).offset for each in sent] == list(range(300))
        producer.close()
        records = read(cluster, 300, TopicPartition(name, 0))
        assert [int(each.value) for each in records] == list(range(300))
    finally:
        cluster.start(victim)
        cluster.wait_in_sync()


# --- administration --------------------------------------------------------------------------------------------------


def test_topics_come_grow_and_go(admin: KafkaAdminClient) -> None:
    created = admin.create_topics([NewTopic("administered", 2, 3, topic_configs={"retention.ms": "60000"})])
    assert created["topics"][0]["configs"]["retention.ms"]["value"] == "60000"
    with pytest.raises(TopicAlreadyExistsError):
        admin.create_topics([NewTopic("administered", 2, 3)])
    with pytest.raises(InvalidReplicationFactorError):
        admin.create_topics([NewTopic("too-many", 2, 4)])
    wait_until(lambda: "administered" in admin.list_topics())
    admin.create_partitions({"administered": NewPartitions(4)})
    with pytest.raises(InvalidPartitionsError):
        admin.create_partitions({"administered": NewPartitions(3)})

    def partitions() -> Any:
        return admin.describe_topics(["administered"])[0]["partitions"]

    wait_until(lambda: [each["partition_index"] for each in partitions()] == [0, 1, 2, 3])
    wait_until(lambda: all(len(each["isr_nodes"]) == 3 for each in partitions()))
    admin.delete_topics(["administered"])
    with pytest.raises(UnknownTopicOrPartitionError):
        admin.delete_topics(["administered"])
    wait_until(lambda: "administered" not in admin.list_topics())


def test_settings_of_topics(admin: KafkaAdminClient, topic: MakeTopic) -> None:
    name = topic(1)

    def settings() -> Any:
        described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        return {key: each["value"] for key, each in described["topic"][name].items()}

    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"retention.ms": "5000"})])
    wait_until(lambda: settings() == {"retention.ms": "5000"})
    admin.reset_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"retention.ms": None})])
    wait_until(lambda: settings() == {})


def test_records_are_deleted(cluster: Cluster, admin: KafkaAdminClient, topic: MakeTopic) -> None:
    name = topic(1)
    producer = KafkaProducer(bootstrap_servers=cluster.kafka_bootstrap)
    for _ in range(10):
        producer.send(name, b"x").get(20)
    producer.close()
    partition = TopicPartition(name, 0)
    assert admin.delete_records({partition: 4})[partition]["low_watermark"] == 4
    assert read(cluster, 1, partition)[0].offset == 4


def test_the_cluster_is_described(cluster: Cluster, admin: KafkaAdminClient) -> None:
    described = admin.describe_cluster()
    assert sorted(each["broker_id"] for each in described["brokers"]) == [1, 2, 3]
    assert described["controller_id"] in (1, 2, 3)
    assert described["cluster_id"] == cluster.admin.describe_cluster().cluster_id
    directories = {each["broker"]: each["log_dirs"] for each in admin.describe_log_dirs()}
    assert [each["log_dir"] for each in directories[2]] == list(cluster.log_dirs(2))
    (partition,) = admin.describe_metadata_quorum()["topics"][0]["partitions"]
    assert sorted(each["replica_id"] for each in partition["current_voters"]) == [1, 2, 3]
    assert admin.describe_features()["metadata.version"]["finalized"][0] >= 1


def test_a_client_at_the_port_of_the_calls_is_told_in_the_nodes_log_where_to_go(cluster: Cluster) -> None:
    logged = len(cluster.log(1))
    with pytest.raises(KafkaError):
        KafkaAdminClient(bootstrap_servers=str(cluster.address(1)), client_id="lost", bootstrap_timeout_ms=1_000)
    came = "a Kafka client (client id 'lost') came to the port of the gRPC calls"
    wait_until(lambda: f"{came}: let its bootstrap.servers name {cluster.listener(1)}" in cluster.log(1)[logged:])
    assert cluster.log(1)[logged:].count("came to the port") == 1, "however often it tried"
