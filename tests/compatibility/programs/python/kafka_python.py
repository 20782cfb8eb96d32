"""kafka-python, all capabilities."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kafka import (
    ConsumerRebalanceListener,
    KafkaAdminClient,
    KafkaConsumer,
    KafkaProducer,
    TopicPartition,
)
from kafka.admin import ConfigResource
from kafka.coordinator.assignors.cooperative_sticky import (
    CooperativeStickyAssignor,
)
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import (
    InvalidPartitionsError,
    KafkaConnectionError,
    TopicAlreadyExistsError,
    UnknownBrokerIdError,
    UnknownTopicOrPartitionError,
)
from kafka.structs import OffsetAndMetadata

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

Poll = Callable[[], list[Any]]

POLL_MS = 1_000
TURN_S = 0.25


def produce(bootstrap: str, topic: str, values: Sequence[tuple[bytes | None, bytes]], **options: Any) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap.split(","), **options)
    try:
        for sent in [producer.send(topic, value, key=key) for key, value in values]:
            sent.get(timeout=PATIENCE_S)
    finally:
        producer.close()


def read(bootstrap: str, topic: str, count: int, partitions: int = 1, **options: Any) -> list[Any]:
    """So many records from the start, and none after them within half a second."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap.split(","), auto_offset_reset="earliest", **options)
    try:
        consumer.assign([TopicPartition(topic, partition) for partition in range(partitions)])
        records: list[Any] = []

        def poll(timeout_ms: int = 250) -> bool:
            for found in consumer.poll(timeout_ms=timeout_ms).values():
                records.extend(found)
            return len(records) >= count

        poll_until(poll, lambda: f"{len(records)} of {count} records read")
        poll(500)
        check_equal(len(records), count, "records")
        return records
    finally:
        consumer.close()


def produce_consume(bootstrap: str, name: str) -> str:
    sent = keyed_records(100)
    produce(bootstrap, name, sent, acks="all")
    records = read(bootstrap, name, 100, partitions=3)
    check_all_once_in_order([(record.partition, record.value) for record in records], [value for _, value in sent])
    check_equal(sorted((record.key, record.value) for record in records), sorted(sent), "keys and values")
    return ""


def headers(bootstrap: str, name: str) -> str:
    sent = [("trace", b"\x00\xff"), ("kind", b"first"), ("kind", "zweites ü".encode())]
    producer = KafkaProducer(bootstrap_servers=bootstrap.split(","))
    producer.send(name, b"value", headers=sent).get(timeout=PATIENCE_S)
    producer.close()
    check_equal([tuple(header) for header in read(bootstrap, name, 1)[0].headers], sent, "headers")
    return ""


def compression(bootstrap: str, name: str) -> str:
    codecs = ["gzip", "snappy", "lz4", "zstd"]
    sent: list[tuple[bytes | None, bytes]] = []
    for codec in codecs:
        values = [(None, f"{codec}-{number}-".encode() + b"x" * 200) for number in range(50)]
        produce(bootstrap, name, values, compression_type=codec, linger_ms=20)
        sent += values
    check_equal([(None, record.value) for record in read(bootstrap, name, len(sent))], sent, "values")
    return ", ".join(codecs)


def idempotence(bootstrap: str, name: str) -> str:
    values = [(None, b"%05d" % number) for number in range(300)]
    produce(bootstrap, name, values, enable_idempotence=True, acks="all", batch_size=200)
    check_equal([record.value for record in read(bootstrap, name, 300)], [value for _, value in values], "values")
    return ""


class GroupMember:
    """A subscribed `KafkaConsumer`, polled on a thread of its own.

    One thread that polls two by turns may keep them from agreeing for minutes: a member whose JoinGroup is answered in
    the other's turn joins anew.
    """

    def __init__(self, bootstrap: str, name: str, **options: Any) -> None:
        self.assignments = 0
        member = self

        class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
            def on_partitions_assigned(self, assigned: Any) -> None:
                member.assignments += 1

            def on_partitions_revoked(self, revoked: Any) -> None: ...

        self._consumer = KafkaConsumer(
            bootstrap_servers=bootstrap.split(","),
            group_id=name,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            heartbeat_interval_ms=500,
            session_timeout_ms=20_000,
            **options,
        )
        self._consumer.subscribe([name], listener=Listener())
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._polling = self._thread.submit(self._poll)

    def _poll(self) -> list[bytes]:
        return [record.value for found in self._consumer.poll(timeout_ms=POLL_MS).values() for record in found]

    def poll(self) -> list[bytes]:
        try:
            read = self._polling.result(TURN_S)
        except TimeoutError:
            return []
        self._polling = self._thread.submit(self._poll)
        return read

    def partitions(self) -> set[int]:
        return {assigned.partition for assigned in self._consumer.assignment()}

    def commit(self) -> None:
        self._thread.submit(self._consumer.commit).result()

    def close(self) -> None:
        self._thread.submit(self._consumer.close).result()
        self._thread.shutdown()


def group(assignor: Any) -> Attempt:
    def attempt(bootstrap: str, name: str) -> str:
        return share(
            lambda: GroupMember(bootstrap, name, partition_assignment_strategy=[assignor]),
            lambda values: produce(bootstrap, name, [(None, value) for value in values]),
        )

    return attempt


def group_static(bootstrap: str, name: str) -> str:
    return return_as_static(lambda instance: GroupMember(bootstrap, name, group_instance_id=instance))


def transactions(bootstrap: str, name: str) -> str:
    producer = KafkaProducer(bootstrap_servers=bootstrap.split(","), transactional_id=f"{name}-id")
    consumer = KafkaConsumer(bootstrap_servers=bootstrap.split(","), group_id=name, enable_auto_commit=False)
    partition = TopicPartition(name, 0)
    try:
        producer.init_transactions()
        for number in range(3):
            producer.begin_transaction()
            for _ in range(10):
                producer.send(name, b"transaction-%d" % number, partition=0)
            producer.flush(timeout=PATIENCE_S)
            if number == 1:
                producer.abort_transaction()
                continue
            if number == 2:
                offset = OffsetAndMetadata(7, "noted", -1)
                producer.send_offsets_to_transaction({partition: offset}, consumer.group_metadata())
            producer.commit_transaction()
        committed = read(bootstrap, name, 20, isolation_level="read_committed")
        check_equal({record.value for record in committed}, {b"transaction-0", b"transaction-2"}, "committed values")
        read(bootstrap, name, 30, isolation_level="read_uncommitted")
        consumer.assign([partition])
        poll_until(lambda: consumer.committed(partition) == 7, lambda: f"committed {consumer.committed(partition)}")
    finally:
        producer.close()
        consumer.close()
    return ""


def is_lost(error: Exception) -> bool:
    """Its admin client asks one broker, and tells when that one dies."""
    return isinstance(error, KafkaConnectionError | UnknownBrokerIdError)


class Admin:
    """kafka-python's, every call again where its answer was lost."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments, **named: persist(
            lambda: getattr(self._client, name)(*arguments, **named), is_lost, named.pop("is_done", None)
        )


def with_admin(use: Callable[[Any, str], None]) -> Attempt:
    def attempt(bootstrap: str, name: str) -> str:
        client = persist(lambda: KafkaAdminClient(bootstrap_servers=bootstrap.split(",")), is_lost)
        assert client is not None
        try:
            use(Admin(client), name)
        finally:
            client.close()
        return ""

    return attempt


def is_a(kind: type[Exception]) -> Callable[[Exception], bool]:
    return lambda error: isinstance(error, kind)


def admin_topics(admin: Any, name: str) -> None:
    wanted = {name: {"num_partitions": 2, "replication_factor": 3, "configs": {"retention.ms": "123456"}}}
    admin.create_topics(wanted, is_done=is_a(TopicAlreadyExistsError))
    poll_until(lambda: name in admin.list_topics(), f"{name} is listed")
    poll_until(lambda: replicas_of(admin, name) == [3, 3], "the node that is asked next knows two partitions of three")
    poll_until(lambda: retention_of(admin, name) == "123456", "the one after that knows its retention.ms")
    try:
        admin.create_topics(wanted)
        raise AssertionError("it could be created twice")
    except TopicAlreadyExistsError:
        pass
    admin.delete_topics([name], is_done=is_a(UnknownTopicOrPartitionError))
    poll_until(lambda: name not in admin.list_topics(), f"{name} is gone")


def replicas_of(admin: Any, topic: str) -> list[int]:
    """How many each partition has; empty where the node that is asked has not heard of the topic yet."""
    return [len(partition["replica_nodes"]) for partition in admin.describe_topics([topic])[0]["partitions"]]


def retention_of(admin: Any, topic: str) -> str | None:
    """Its retention.ms; None where the node that is asked has not heard of the topic yet."""
    try:
        return setting_of(admin, topic, "retention.ms")[0]
    except (KeyError, UnknownTopicOrPartitionError):
        return None


def setting_of(admin: Any, topic: str, setting: str) -> tuple[str, str]:
    """Its value and where that comes from."""
    described = admin.describe_configs([ConfigResource("TOPIC", topic)], config_filter="all")
    found = described["topic"][topic][setting]
    return str(found["value"]), str(found["config_source"])


def admin_configs(admin: Any, name: str) -> None:
    check_equal(setting_of(admin, name, "retention.ms"), ("604800000", "DEFAULT_CONFIG"), "before")
    admin.alter_configs([ConfigResource("TOPIC", name, configs={"retention.ms": "3600000"})])
    expected = ("3600000", "DYNAMIC_TOPIC_CONFIG")
    poll_until(lambda: setting_of(admin, name, "retention.ms") == expected, "the new value shows")


def admin_partitions(admin: Any, name: str) -> None:
    admin.create_partitions({name: 4}, is_done=is_a(InvalidPartitionsError))
    poll_until(lambda: len(admin.describe_topics([name])[0]["partitions"]) == 4, "4 partitions")
    try:
        admin.create_partitions({name: 2})
        raise AssertionError("it could be made smaller")
    except InvalidPartitionsError:
        pass


def offsets_by_time(bootstrap: str, name: str) -> str:
    first_ms = int(time.time() * 1000) - 60_000
    producer = KafkaProducer(bootstrap_servers=bootstrap.split(","))
    for number in range(10):
        producer.send(name, b"%d" % number, timestamp_ms=first_ms + 1000 * number).get(timeout=PATIENCE_S)
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=bootstrap.split(","))
    partition = TopicPartition(name, 0)
    found = consumer.offsets_for_times({partition: first_ms + 4_500})[partition]
    check_equal((found.offset, found.timestamp), (5, first_ms + 5_000), "offset and time")
    check(consumer.offsets_for_times({partition: first_ms + 20_000})[partition] is None, "an offset after all")
    consumer.close()
    return ""


def delete_records(bootstrap: str, name: str) -> str:
    produce(bootstrap, name, [(None, b"%d" % number) for number in range(10)])
    admin = KafkaAdminClient(bootstrap_servers=bootstrap.split(","))
    admin.delete_records({TopicPartition(name, 0): 4})
    admin.close()
    consumer = KafkaConsumer(bootstrap_servers=bootstrap.split(","))
    partition = TopicPartition(name, 0)
    check_equal(consumer.beginning_offsets([partition])[partition], 4, "the earliest offset")
    consumer.close()
    check_equal([record.offset for record in read(bootstrap, name, 6)], [4, 5, 6, 7, 8, 9], "offsets")
    return ""


ATTEMPTS: dict[str, Attempt] = {
    "produce-consume": produce_consume,
    "headers": headers,
    "compression": compression,
    "idempotence": idempotence,
    "group-eager": group(RangePartitionAssignor),
    "group-cooperative": group(CooperativeStickyAssignor),
    "group-static": group_static,
    "transactions": transactions,
    "admin-topics": with_admin(admin_topics),
    "admin-configs": with_admin(admin_configs),
    "admin-partitions": with_admin(admin_partitions),
    "offsets-by-time": offsets_by_time,
    "delete-records": delete_records,
}

if __name__ == "__main__":
    tell(ATTEMPTS)
