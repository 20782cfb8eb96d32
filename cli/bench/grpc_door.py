"""Our own door: the SDK."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from cli.bench.door import Position, ReaderSettings, SenderSettings, Told
from cli.bench.names import DoorName
from kraftpy import Admin, Consumer, Producer
from kraftpy.client.values import ConsumerRecord, Headers, RecordMetadata, TopicPartition
from kraftpy.errors import KraftpyError, UnknownTopicOrPartitionError

CLIENT_ID = "kraftpy-bench"
POLL_RECORDS = 5_000


class GrpcSender:
    """`kraftpy.Producer`."""

    def __init__(self, topic: str, config: Mapping[str, Any], told: Told) -> None:
        self._topic = topic
        self._told = told
        self._producer = Producer.from_config(config)

    def send(self, tag: int, value: bytes, key: bytes | None, headers: Headers | None, partition: int | None) -> None:
        self._producer.send(
            self._topic, value, key, headers=headers, partition=partition, on_delivery=partial(self._delivered, tag)
        )

    def flush(self, timeout: float) -> None:
        try:
            self._producer.flush(timeout)
        except KraftpyError:
            pass  # each record's own error has been told

    def close(self) -> None:
        self._producer.close(0)

    def _delivered(self, tag: int, metadata: RecordMetadata | None, error: KraftpyError | None) -> None:
        self._told(tag, -1 if metadata is None else metadata.partition, error)


class GrpcReader:
    """`kraftpy.Consumer`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._consumer = Consumer.from_config(config)

    def ends(self, topic: str, partitions: int) -> dict[TopicPartition, int]:
        return self._consumer.end_offsets(_places(topic, partitions))

    def assign(self, start: Position) -> None:
        self._consumer.assign(start)
        for place, offset in start.items():
            self._consumer.seek(place, offset)

    def assign_from_beginning(self, topic: str, partitions: int) -> None:
        self._consumer.assign(_places(topic, partitions))

    def subscribe(self, topic: str) -> None:
        self._consumer.subscribe(topic)

    def position(self, place: TopicPartition) -> int:
        return self._consumer.position(place)

    def poll(self, timeout: float) -> Sequence[ConsumerRecord]:
        return self._consumer.poll(timeout, POLL_RECORDS)

    def size_bytes(self, records: Sequence[ConsumerRecord]) -> int:
        return sum([len(record.value) for record in records if record.value is not None])

    def seen(self, records: Sequence[ConsumerRecord]) -> Iterable[ConsumerRecord]:
        return records

    def commit(self) -> None:
        self._consumer.commit()

    def close(self) -> None:
        self._consumer.close()


class GrpcDoor:
    """The SDK's three clients of one cluster."""

    name = DoorName.GRPC

    def __init__(self, bootstrap: str, timeout: float) -> None:
        self._base: Mapping[str, Any] = {"bootstrap.servers": bootstrap, "client.id": CLIENT_ID}
        self._timeout = timeout
        self._admin = Admin(bootstrap, client_id=CLIENT_ID)

    def brokers(self) -> int:
        return len(self._admin.describe_cluster(include_fenced=False, timeout=self._timeout).brokers)

    def partitions_of(self, topic: str) -> int | None:
        try:
            return len(self._admin.describe_topic(topic, timeout=self._timeout).partitions)
        except UnknownTopicOrPartitionError:
            return None

    def create_topic(self, topic: str, partitions: int, replication_factor: int, config: Mapping[str, str]) -> None:
        self._admin.create_topic(
            topic, partitions=partitions, replication_factor=replication_factor, config=config, timeout=self._timeout
        )

    def delete_topic(self, topic: str) -> None:
        self._admin.delete_topic(topic, timeout=self._timeout)

    def sender(self, topic: str, settings: SenderSettings, told: Told) -> GrpcSender:
        config: dict[str, Any] = {**self._base, "acks": settings.acks, "compression.type": settings.compression}
        if settings.batch_size is not None:
            config["batch.size"] = settings.batch_size
        if settings.linger_ms is not None:
            config["linger.ms"] = settings.linger_ms
        return GrpcSender(topic, {**config, **settings.others}, told)

    def reader(self, settings: ReaderSettings) -> GrpcReader:
        config: dict[str, Any] = {**self._base, "auto.offset.reset": "earliest"}
        if settings.group is not None:
            config |= {"group.id": settings.group, "enable.auto.commit": "false"}
        return GrpcReader({**config, **settings.others})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admin.close()


def _places(topic: str, partitions: int) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for partition in range(partitions)]
