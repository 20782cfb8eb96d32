"""confluent-kafka (librdkafka), all capabilities."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from tests.compatibility.programs.python.sharing import return_as_static, share
from tests.compatibility.programs.python.telling import (
    PATIENCE_S,
    Attempt,
    check,
    check_all_once_in_order,
    check_equal,
    keyed_records,
    persist,
    poll_until,
    tell,
)

Keyed = Sequence[tuple[bytes | None, bytes]]


def produce(bootstrap: str, topic: str, values: Keyed, **options: Any) -> None:
    errors: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": bootstrap, **{name.replace("_", "."): o for name, o in options.items()}})

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            errors.append(error)

    for key, value in values:
        producer.produce(topic, value, key, on_delivery=delivered)
    left = producer.flush(PATIENCE_S)
    check(not errors and not left, f"{left} not delivered, errors {errors}")


def read(
    bootstrap: str, topic: str, count: int, partitions: int = 1, isolation: str = "read_committed"
) -> list[Message]:
    """So many records from the start, and none after them within half a second."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "unused",
            "isolation.level": isolation,
            "enable.auto.commit": False,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
        records: list[Message] = []

        def poll() -> bool:
            records.extend(polled(consumer, 0.25))
            return len(records) >= count

        poll_until(poll, lambda: f"{len(records)} of {count} records read")
        records += polled(consumer, 0.5)
        check_equal(len(records), count, "records")
        return records
    finally:
        consumer.close()


def polled(consumer: Consumer, timeout_s: float) -> list[Message]:
    found = consumer.consume(500, timeout_s)
    for message in found:
        error = message.error()
        if error is not None and not error.retriable():
            raise KafkaException(error)
    return [message for message in found if message.error() is None]


def values_of(messages: Sequence[Message]) -> list[bytes]:
    return [value for message in messages if isinstance(value := message.value(), bytes)]


def produce_consume(bootstrap: str, name: str) -> str:
    sent: Keyed = keyed_records(100)
    produce(bootstrap, name, sent, acks="all")
    records = read(bootstrap, name, 100, partitions=3)
    read_values = [
        (message.partition() or 0, value) for message, value in zip(records, values_of(records), strict=True)
    ]
    check_all_once_in_order(read_values, [value for _, value in sent])
    return ""


def headers(bootstrap: str, name: str) -> str:
    sent: list[tuple[str, str | bytes | None]] = [
        ("trace", b"\x00\xff"),
        ("kind", b"first"),
        ("kind", "zweites ü".encode()),
    ]
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(name, b"value", headers=sent)
    producer.flush(PATIENCE_S)
    check_equal(read(bootstrap, name, 1)[0].headers(), sent, "headers")
    return ""


def compression(bootstrap: str, name: str) -> str:
    codecs = ["gzip", "snappy", "lz4", "zstd"]
    sent: list[bytes] = []
    for codec in codecs:
        values = [f"{codec}-{number}-".encode() + b"x" * 200 for number in range(50)]
        produce(bootstrap, name, [(None, value) for value in values], compression_type=codec, linger_ms=20)
        sent += values
    check_equal(values_of(read(bootstrap, name, len(sent))), sent, "values")
    return ", ".join(codecs)


def idempotence(bootstrap: str, name: str) -> str:
    values = [b"%05d" % number for number in range(300)]
    keyed: Keyed = [(None, value) for value in values]
    produce(bootstrap, name, keyed, enable_idempotence=True, batch_num_messages=10)
    check_equal(values_of(read(bootstrap, name, 300)), values, "values")
    return ""


class GroupMember:
    """A subscribed consumer."""

    def __init__(self, bootstrap: str, name: str, **options: Any) -> None:
        self.assignments = 0
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": name,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                **{option.replace("_", "."): value for option, value in options.items()},
            }
        )
        self._consumer.subscribe([name], on_assign=self._assigned)
        self._polled = False

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.assignments += 1

    def poll(self) -> list[bytes]:
        found = values_of(polled(self._consumer, 0.25))
        self._polled = self._polled or bool(found)
        return found

    def partitions(self) -> set[int]:
        return {assigned.partition for assigned in self._consumer.assignment()}

    def commit(self) -> None:
        if self._polled:  # with nothing to commit, librdkafka raises _NO_OFFSET
            self._consumer.commit(asynchronous=False)

    def close(self) -> None:
        self._consumer.close()


CLASSIC = {"heartbeat_interval_ms": 500, "session_timeout_ms": 6_000}
"""Short, because a LeaveGroup may die with its coordinator (librdkafka sends it once), and each coordinator begins the
session anew, here as in Apache Kafka: in 20 s the next is killed, and who left keeps its partitions for a minute."""

STATIC = {**CLASSIC, "session_timeout_ms": 20_000}


def group(**options: Any) -> Attempt:
    def attempt(bootstrap: str, name: str) -> str:
        return share(
            lambda: GroupMember(bootstrap, name, **options),
            lambda values: produce(
                bootstrap,
                name,
                [(None, value) for value in values],
                partitioner="random",
                sticky_partitioning_linger_ms=0,
            ),
        )

    return attempt


def group_static(bootstrap: str, name: str) -> str:
    return return_as_static(lambda instance: GroupMember(bootstrap, name, group_instance_id=instance, **STATIC))


def transactions(bootstrap: str, name: str) -> str:
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"{name}-id"})
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": name})
    try:
        producer.init_transactions(PATIENCE_S)
        for number in range(3):
            producer.begin_transaction()
            for _ in range(10):
                producer.produce(name, b"transaction-%d" % number, partition=0)
            if number == 1:
                producer.flush(PATIENCE_S)
                producer.abort_transaction(PATIENCE_S)
                continue
            if number == 2:
                offsets = [TopicPartition(name, 0, 7)]
                producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), PATIENCE_S)
            producer.commit_transaction(PATIENCE_S)
        committed = read(bootstrap, name, 20)
        check_equal(set(values_of(committed)), {b"transaction-0", b"transaction-2"}, "committed values")
        read(bootstrap, name, 30, isolation="read_uncommitted")
        found = consumer.committed([TopicPartition(name, 0)], timeout=PATIENCE_S)
        check_equal(found[0].offset, 7, "the group's offset")
    finally:
        consumer.close()
    return ""


def admin_of(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap})


def code_of(error: Exception) -> int | None:
    return int(error.args[0].code()) if isinstance(error, KafkaException) else None


def is_lost(error: Exception) -> bool:
    """librdkafka asks one broker for an administrator, and tells when that one dies."""
    return code_of(error) == int(KafkaError._TRANSPORT)


def answered(ask: Callable[[], dict[Any, Any]], done: int | None = None) -> Any:
    """The answer for the only thing that was asked; `done`: the code of a repeated question that was heard before."""

    def answer() -> Any:
        (future,) = ask().values()
        return future.result(PATIENCE_S)

    return persist(answer, is_lost, lambda error: code_of(error) == done)


def refused(call: Callable[[], Any]) -> int:
    """The code of the error that it raises."""
    try:
        call()
    except KafkaException as error:
        return code_of(error) or 0
    raise AssertionError("it was not refused")


def admin_topics(bootstrap: str, name: str) -> str:
    admin = admin_of(bootstrap)
    wanted = NewTopic(name, 2, 3, config={"retention.ms": "123456"})
    answered(lambda: admin.create_topics([wanted]), KafkaError.TOPIC_ALREADY_EXISTS)
    poll_until(lambda: name in admin.list_topics(timeout=PATIENCE_S).topics, "it is listed")
    poll_until(lambda: replicas_of(admin, name) == [3, 3], "two partitions of three replicas on the node asked next")
    poll_until(lambda: retention_of(admin, name) == "123456", "its retention.ms on the node that is asked after that")
    code = refused(lambda: answered(lambda: admin.create_topics([wanted])))
    check_equal(code, KafkaError.TOPIC_ALREADY_EXISTS, "the code for a second one")
    answered(lambda: admin.delete_topics([name]), KafkaError.UNKNOWN_TOPIC_OR_PART)
    poll_until(lambda: name not in admin.list_topics(timeout=PATIENCE_S).topics, "it is gone")
    return ""


def replicas_of(admin: AdminClient, topic: str) -> list[int]:
    """How many each partition has; empty where the node that is asked has not heard of the topic yet."""
    found = admin.list_topics(topic, timeout=PATIENCE_S).topics[topic]
    return [len(partition.replicas) for partition in found.partitions.values()]


def retention_of(admin: AdminClient, topic: str) -> str | None:
    """Its retention.ms; None where the node that is asked has not heard of the topic yet."""
    try:
        return setting_of(admin, topic, "retention.ms")[0]
    except KafkaException as error:
        if code_of(error) != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise
        return None


def setting_of(admin: AdminClient, topic: str, setting: str) -> tuple[str, int]:
    """Its value and the number of where that comes from."""
    entry = answered(lambda: admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))[setting]
    return entry.value, entry.source


def admin_configs(bootstrap: str, name: str) -> str:
    admin = admin_of(bootstrap)
    default = ("604800000", ConfigSource.DEFAULT_CONFIG.value)
    check_equal(setting_of(admin, name, "retention.ms"), default, "before")
    entry = ConfigEntry("retention.ms", "3600000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    answered(lambda: admin.incremental_alter_configs([resource]))
    changed = ("3600000", ConfigSource.DYNAMIC_TOPIC_CONFIG.value)
    poll_until(lambda: setting_of(admin, name, "retention.ms") == changed, "the new value shows")
    return ""


def admin_partitions(bootstrap: str, name: str) -> str:
    admin = admin_of(bootstrap)
    answered(lambda: admin.create_partitions([NewPartitions(name, 4)]), KafkaError.INVALID_PARTITIONS)
    poll_until(lambda: len(admin.list_topics(name, timeout=PATIENCE_S).topics[name].partitions) == 4, "4 partitions")
    code = refused(lambda: answered(lambda: admin.create_partitions([NewPartitions(name, 2)])))
    check_equal(code, KafkaError.INVALID_PARTITIONS, "the code for fewer")
    return ""


def offsets_by_time(bootstrap: str, name: str) -> str:
    first_ms = int(time.time() * 1000) - 60_000
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(10):
        producer.produce(name, b"%d" % number, timestamp=first_ms + 1000 * number)
    check_equal(producer.flush(PATIENCE_S), 0, "records left")
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused"})
    try:
        for time_ms, offset in ((first_ms + 4_500, 5), (first_ms + 20_000, -1)):
            found = consumer.offsets_for_times([TopicPartition(name, 0, time_ms)], timeout=PATIENCE_S)[0]
            check(found.error is None, str(found.error))
            check_equal(found.offset, offset, f"the offset for {time_ms - first_ms} ms after the first")
    finally:
        consumer.close()
    return ""


def delete_records(bootstrap: str, name: str) -> str:
    produce(bootstrap, name, [(None, b"%d" % number) for number in range(10)])
    admin = admin_of(bootstrap)  # its answers do not outlive it
    deleted = answered(lambda: admin.delete_records([TopicPartition(name, 0, 4)]))
    check_equal(deleted.low_watermark, 4, "the answer")
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused"})
    check_equal(consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=PATIENCE_S), (4, 10), "watermarks")
    consumer.close()
    check_equal([message.offset() for message in read(bootstrap, name, 6)], [4, 5, 6, 7, 8, 9], "offsets")
    return ""


ATTEMPTS: dict[str, Attempt] = {
    "produce-consume": produce_consume,
    "headers": headers,
    "compression": compression,
    "idempotence": idempotence,
    "group-eager": group(partition_assignment_strategy="range", **CLASSIC),
    "group-cooperative": group(partition_assignment_strategy="cooperative-sticky", **CLASSIC),
    "group-static": group_static,
    "group-consumer": group(group_protocol="consumer"),
    "transactions": transactions,
    "admin-topics": admin_topics,
    "admin-configs": admin_configs,
    "admin-partitions": admin_partitions,
    "offsets-by-time": offsets_by_time,
    "delete-records": delete_records,
}

if __name__ == "__main__":
    tell(ATTEMPTS)
