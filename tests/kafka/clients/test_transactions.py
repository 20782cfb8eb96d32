"""Transactions of other clients against three real nodes: what is committed, what is aborted, and who is fenced."""

import asyncio
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka import KafkaError as E

from kraftpy.testing import Cluster
from tests.kafka.clients.waiting import wait_until

MakeTopic = Callable[..., str]
WAIT_S = 20.0


def transactional(cluster: Cluster, transactional_id: str, **settings: object) -> Producer:
    """librdkafka speaks the first version of the protocol (KIP-98)."""
    named = {key.replace("_", "."): value for key, value in settings.items()}
    producer = Producer({"bootstrap.servers": cluster.kafka_bootstrap, "transactional.id": transactional_id, **named})
    producer.init_transactions(WAIT_S)
    return producer


def seen(cluster: Cluster, topic: str, isolation: str, count: int, partitions: int = 3) -> list[str]:
    """The first values of all partitions, sorted."""
    settings = {"bootstrap.servers": cluster.kafka_bootstrap, "group.id": "looking", "isolation.level": isolation}
    consumer = Consumer({**settings, "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, index, 0) for index in range(partitions)])
    values: list[str] = []

    def is_enough() -> bool:
        for message in consumer.consume(100, 0.2):
            assert message.error() is None, message.error()
            values.append(message.value().decode())
        return len(values) >= count

    try:
        wait_until(is_enough)
    finally:
        consumer.close()
    return sorted(values)


def send(producer: Producer, topic: str, *values: str) -> None:
    for number, value in enumerate(values):
        producer.produce(topic, value.encode(), partition=number % 3)


def test_what_is_committed_is_seen_and_what_is_aborted_is_not(cluster: Cluster, topic: MakeTopic) -> None:
    name = topic()
    producer = transactional(cluster, "payments")
    for number in range(6):
        producer.begin_transaction()
        send(producer, name, *(f"{number}-{part}" for part in "abc"))
        if number % 2:
            producer.abort_transaction(WAIT_S)
        else:
            producer.commit_transaction(WAIT_S)
    committed = [f"{number}-{part}" for number in (0, 2, 4) for part in "abc"]
    assert seen(cluster, name, "read_committed", len(committed)) == committed
    assert len(seen(cluster, name, "read_uncommitted", 9)) >= 9


def test_offsets_go_with_the_transaction(cluster: Cluster, topic: MakeTopic) -> None:
    source, target = topic(), "offsets-go-to"
    cluster.admin.create_topic(target, partitions=3, replication_factor=3)
    feeder = Producer({"bootstrap.servers": cluster.kafka_bootstrap})
    send(feeder, source, *map(str, range(9)))
    assert feeder.flush(WAIT_S) == 0
    settings = {"bootstrap.servers": cluster.kafka_bootstrap, "group.id": "movers", "auto.offset.reset": "earliest"}
    consumer = Consumer({**settings, "enable.auto.commit": False, "isolation.level": "read_committed"})
    consumer.subscribe([source])
    producer = transactional(cluster, "mover")
    moved, rounds = 0, 0
    while moved < 9:
        messages = consumer.consume(3, 1.0)
        if not messages:
            continue
        rounds += 1
        producer.begin_transaction()
        for message in messages:
            producer.produce(target, message.value(), partition=message.partition())
        positions = consumer.position(consumer.assignment())
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), WAIT_S)
        if rounds == 2:  # as if something had failed
            producer.abort_transaction(WAIT_S)
            for committed in consumer.committed(consumer.assignment(), WAIT_S):
                consumer.seek(TopicPartition(source, committed.partition, max(committed.offset, 0)))
            continue
        producer.commit_transaction(WAIT_S)
        moved += len(messages)
    committed = consumer.committed([TopicPartition(source, index) for index in range(3)], WAIT_S)
    assert [each.offset for each in committed] == [3, 3, 3]
    consumer.close()
    assert seen(cluster, target, "read_committed", 9) == list(map(str, range(9)))


def test_the_one_before_is_fenced(cluster: Cluster, topic: MakeTopic) -> None:
    name = topic()
    old = transactional(cluster, "single")
    old.begin_transaction()
    send(old, name, "old")
    assert old.flush(WAIT_S) == 0
    new = transactional(cluster, "single")
    new.begin_transaction()
    send(new, name, "new")
    new.commit_transaction(WAIT_S)
    with pytest.raises(KafkaException) as caught:
        old.commit_transaction(WAIT_S)
    assert caught.value.args[0].code() in (E._FENCED, E.PRODUCER_FENCED, E.INVALID_PRODUCER_EPOCH)
    assert seen(cluster, name, "read_committed", 1) == ["new"]


def test_kafka_python(cluster: Cluster, topic: MakeTopic) -> None:
    from kafka import KafkaConsumer, KafkaProducer
    from kafka import TopicPartition as Place

    name = topic()
    producer = KafkaProducer(bootstrap_servers=cluster.kafka_bootstrap, transactional_id="python", acks="all")
    producer.init_transactions()
    for number in range(4):
        producer.begin_transaction()
        sent = [producer.send(name, f"{number}".encode(), partition=index) for index in range(3)]
        if number % 2:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
            assert all(future.succeeded() for future in sent)
    producer.close()
    consumer = KafkaConsumer(
        bootstrap_servers=cluster.kafka_bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    consumer.assign([Place(name, index) for index in range(3)])
    values: list[bytes] = []

    def is_enough() -> bool:
        for records in consumer.poll(200).values():
            values.extend(record.value for record in records)
        return len(values) >= 6

    wait_until(is_enough)
    consumer.close()
    assert sorted(values) == [b"0"] * 3 + [b"2"] * 3


def test_aiokafka(cluster: Cluster, topic: MakeTopic) -> None:
    from aiokafka import AIOKafkaProducer

    name = topic()

    async def run() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=cluster.kafka_bootstrap, transactional_id="aio")
        await producer.start()
        try:
            for number in range(4):
                await producer.begin_transaction()
                for index in range(3):
                    await producer.send_and_wait(name, f"{number}".encode(), partition=index)
                if number % 2:
                    await producer.abort_transaction()
                else:
                    await producer.commit_transaction()
        finally:
            await producer.stop()

    asyncio.run(run())
    assert seen(cluster, name, "read_committed", 6) == ["0"] * 3 + ["2"] * 3
