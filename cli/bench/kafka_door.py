"""Kafka's door, through librdkafka (confluent-kafka): one client for kraftpy, Apache Kafka and whatever is like it.

What differs from that client's own defaults: with acks=all its producer is idempotent, and a record is given up after
two minutes, both as Kafka's own client and the SDK do. Delivery reports are fetched by a thread of their own, so that
their times are not those at which somebody happened to ask.
"""

import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from cli.bench.door import Position, ReaderSettings, SenderSettings, Told
from cli.bench.names import DoorName
from kraftpy.client.values import ConsumerRecord, Headers, TopicPartition
from kraftpy.error_codes import error_for
from kraftpy.errors import (
    BufferExhaustedError,
    CallTimeoutError,
    ClientError,
    ClosedError,
    ConfigurationError,
    DeliveryTimeoutError,
    KraftpyError,
    NoBrokersAvailableError,
    StaleMetadataError,
    UnknownTopicOrPartitionError,
)

try:
    import confluent_kafka
    from confluent_kafka.admin import AdminClient, NewTopic
except ImportError:
    raise ConfigurationError(
        "--door kafka needs a client of Kafka, which is not installed: pip install 'kraftpy[bench]'"
    ) from None

CLIENT_ID = "kraftpy-bench"
POLL_RECORDS = 5_000
DELIVERY_POLL_S = 0.1
FULL_PAUSE_S = 0.001  # between two looks for room, while the client's queue is full
FULL_S_MAX = 60.0
DELIVERY_TIMEOUT_MS = 120_000
PROPAGATION_S = 5.0  # how long a node may not know a new topic or leader, as in the SDK
PROPAGATION_LOOK_S = 0.05
LOG_NOTHING = 0

_LOCAL: Mapping[int, type[ClientError | UnknownTopicOrPartitionError]] = {
    -187: NoBrokersAvailableError,  # _ALL_BROKERS_DOWN
    -195: NoBrokersAvailableError,  # _TRANSPORT
    -193: NoBrokersAvailableError,  # _RESOLVE
    -185: CallTimeoutError,  # _TIMED_OUT
    -192: DeliveryTimeoutError,  # _MSG_TIMED_OUT
    -188: UnknownTopicOrPartitionError,  # _UNKNOWN_TOPIC
    -190: UnknownTopicOrPartitionError,  # _UNKNOWN_PARTITION
    -186: ConfigurationError,  # _INVALID_ARG
    -151: ClosedError,  # _PURGE_INFLIGHT
    -152: ClosedError,  # _PURGE_QUEUE
}
"""librdkafka's own errors that have a counterpart here."""

_NO_OFFSET = -168
_PARTITION_EOF = -191


def error_of(error: Any) -> KraftpyError:
    """A `KafkaError`, or what carries one, as one of ours."""
    inner = error.args[0] if isinstance(error, Exception) and error.args else error
    if not isinstance(inner, confluent_kafka.KafkaError):
        return ClientError(str(error))
    code = inner.code()
    if code > 0:
        return error_for(code, inner.str())
    return _LOCAL.get(code, ClientError)(inner.str())


class KafkaSender:
    """`confluent_kafka.Producer`, and the thread that fetches its delivery reports."""

    def __init__(self, topic: str, config: Mapping[str, Any], told: Told) -> None:
        self._topic = topic
        self._told = told
        self._producer = _made(confluent_kafka.Producer, config)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._fetch_reports, name="bench-deliveries", daemon=True)
        self._thread.start()

    def send(self, tag: int, value: bytes, key: bytes | None, headers: Headers | None, partition: int | None) -> None:
        extra: dict[str, Any] = {} if partition is None else {"partition": partition}
        if headers is not None:
            extra["headers"] = list(headers)
        report = partial(self._delivered, tag)
        full_until: float | None = None
        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=report, **extra)
                return
            except BufferError:
                full_until = full_until or time.monotonic() + FULL_S_MAX
                if time.monotonic() > full_until:
                    raise BufferExhaustedError from None
                time.sleep(FULL_PAUSE_S)
            except confluent_kafka.KafkaException as error:
                raise error_of(error) from None

    def flush(self, timeout: float) -> None:
        until = time.monotonic() + timeout
        while self._producer.flush(min(DELIVERY_POLL_S, timeout)) and time.monotonic() < until:
            pass

    def close(self) -> None:
        self._producer.purge()
        self._producer.flush(DELIVERY_POLL_S)
        self._closing.set()
        self._thread.join()
        # A librdkafka producer ends with its object. One that lived on would ask for its topic again, whenever a broker
        # is lost, and so make brokers create the topic that has been deleted meanwhile.
        del self._producer

    def _fetch_reports(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(DELIVERY_POLL_S)

    def _delivered(self, tag: int, error: Any, message: Any) -> None:
        partition = message.partition()
        self._told(tag, -1 if partition is None else partition, None if error is None else error_of(error))


class KafkaReader:
    """`confluent_kafka.Consumer`."""

    def __init__(self, config: Mapping[str, Any], timeout: float) -> None:
        self._timeout = timeout
        self._consumer = _made(confluent_kafka.Consumer, config)
        self._ends_met: dict[TopicPartition, int] = {}  # where a fetch found nothing more

    def ends(self, topic: str, partitions: int) -> dict[TopicPartition, int]:
        return {TopicPartition(topic, partition): self._end_of(topic, partition) for partition in range(partitions)}

    def assign(self, start: Position) -> None:
        self._consumer.assign(
            [confluent_kafka.TopicPartition(place.topic, place.partition, offset) for place, offset in start.items()]
        )

    def assign_from_beginning(self, topic: str, partitions: int) -> None:
        self.assign(
            {TopicPartition(topic, partition): confluent_kafka.OFFSET_BEGINNING for partition in range(partitions)}
        )

    def subscribe(self, topic: str) -> None:
        self._consumer.subscribe([topic])

    def position(self, place: TopicPartition) -> int:
        """The client's own position stands behind the last record, before what follows it and is none."""
        (found,) = self._consumer.position([confluent_kafka.TopicPartition(*place)])
        return max(int(found.offset), self._ends_met.get(place, 0))

    def poll(self, timeout: float) -> Sequence[Any]:
        """`consume` waits until so many are there, or the time is over; so the first is waited for alone."""
        first = self._consumer.poll(timeout)
        if first is None:
            return ()
        records = [first, *self._consumer.consume(POLL_RECORDS - 1, 0)]
        return [record for record in records if record.error() is None or self._note(record)]

    def size_bytes(self, records: Sequence[Any]) -> int:
        return sum([len(record) for record in records])

    def seen(self, records: Sequence[Any]) -> Iterator[ConsumerRecord]:
        for record in records:
            yield ConsumerRecord(
                record.topic(),
                record.partition(),
                record.offset(),
                record.timestamp()[1],
                record.key(),
                record.value(),
                tuple(record.headers() or ()),
            )

    def commit(self) -> None:
        try:
            self._consumer.commit(asynchronous=False)
        except confluent_kafka.KafkaException as error:
            if error.args[0].code() != _NO_OFFSET:
                raise error_of(error) from None

    def close(self) -> None:
        self._consumer.close()

    def _end_of(self, topic: str, partition: int) -> int:
        """A topic that was made a moment ago is known to this client's node a moment later."""
        known_by = time.monotonic() + PROPAGATION_S
        while True:
            try:
                place = confluent_kafka.TopicPartition(topic, partition)
                return int(self._consumer.get_watermark_offsets(place, self._timeout)[1])
            except confluent_kafka.KafkaException as error:
                known = error_of(error)
                if not isinstance(known, StaleMetadataError) or time.monotonic() > known_by:
                    raise known from None
                time.sleep(PROPAGATION_LOOK_S)

    def _note(self, event: Any) -> bool:
        """An event that is no record; raises it where it is not the end of a partition."""
        if event.error().code() != _PARTITION_EOF:
            raise error_of(event.error())
        self._ends_met[TopicPartition(event.topic(), event.partition())] = event.offset()
        return False


class KafkaDoor:
    """librdkafka's three clients of one cluster."""

    name = DoorName.KAFKA

    def __init__(self, bootstrap: str, timeout: float) -> None:
        self._base: Mapping[str, Any] = {
            "bootstrap.servers": bootstrap,
            "client.id": CLIENT_ID,
            "log_level": LOG_NOTHING,  # it would write into the live line; what matters is told as an error
        }
        self._timeout = timeout
        self._admin = _made(AdminClient, self._base)

    def brokers(self) -> int:
        return len(self._metadata().brokers)

    def partitions_of(self, topic: str) -> int | None:
        found = self._metadata().topics.get(topic)  # of all topics: to ask for one may create it
        return None if found is None else len(found.partitions)

    def create_topic(self, topic: str, partitions: int, replication_factor: int, config: Mapping[str, str]) -> None:
        new = NewTopic(topic, partitions, replication_factor, config=dict(config))
        _wait_for(self._admin.create_topics([new], request_timeout=self._timeout)[topic], self._timeout)

    def delete_topic(self, topic: str) -> None:
        self._metadata()  # who is the controller now: the one that is remembered may have been killed
        _wait_for(self._admin.delete_topics([topic], request_timeout=self._timeout)[topic], self._timeout)

    def sender(self, topic: str, settings: SenderSettings, told: Told) -> KafkaSender:
        config: dict[str, Any] = {
            **self._base,
            "acks": settings.acks,
            "enable.idempotence": settings.acks in ("all", "-1"),
            "compression.type": settings.compression,
            "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
        }
        if settings.batch_size is not None:
            config["batch.size"] = settings.batch_size
        if settings.linger_ms is not None:
            config["linger.ms"] = settings.linger_ms
        return KafkaSender(topic, {**config, **settings.others}, told)

    def reader(self, settings: ReaderSettings) -> KafkaReader:
        config = {
            **self._base,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "group.id": settings.group or f"{CLIENT_ID}-{secrets.token_hex(4)}",  # required, and not used without one
        }
        return KafkaReader({**config, **settings.others}, self._timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to be closed: librdkafka's admin client ends with its object."""

    def _metadata(self) -> Any:
        try:
            return self._admin.list_topics(timeout=self._timeout)
        except confluent_kafka.KafkaException as error:
            raise error_of(error) from None


def _made(kind: Any, config: Mapping[str, Any]) -> Any:
    """A client. Raises `ConfigurationError` in librdkafka's words."""
    try:
        return kind(dict(config))
    except confluent_kafka.KafkaException as error:
        raise error_of(error) from None


def _wait_for(future: Any, timeout: float) -> None:
    try:
        future.result(timeout)
    except confluent_kafka.KafkaException as error:
        raise error_of(error) from None
    except TimeoutError:
        raise CallTimeoutError from None
