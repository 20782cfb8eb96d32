"""What happens to a record before it is gathered, always in this order:

    interceptors → (the topic becomes known) → serializers → partitioner → accumulator

An interceptor may replace the record; one that fails is logged and passed over, as in Kafka. A failing serializer or
partitioner fails the send.
"""

import logging
from random import Random
from typing import Any, NamedTuple

from kraftpy.client.accumulator import record_bytes
from kraftpy.client.config import ProducerConfig
from kraftpy.client.loop_thread import ends_program
from kraftpy.client.partitioners import InvalidPartitionError, partitioner
from kraftpy.client.serializers import serialize, serializer
from kraftpy.client.values import Headers, OnDelivery, ProducerRecord, RecordMetadata
from kraftpy.errors import KraftpyError, RecordTooLargeError, SerializationError
from kraftpy.record.reader import HEADERS_MAX

HEADER_BYTES = 64  # of a batch, rounded up

_log = logging.getLogger(__name__)


class Serialized(NamedTuple):
    """A record as bytes. `size` is what it takes of buffer_memory."""

    key: bytes | None
    value: bytes | None
    size: int


class Pipeline:
    """The first half of a producer, without waiting."""

    def __init__(self, config: ProducerConfig, random: Random) -> None:
        self.interceptors: tuple[Any, ...] = config.interceptors
        self._serialize_key = serializer(config.key_serializer)
        self._serialize_value = serializer(config.value_serializer)
        self._choose = partitioner(config.partitioner, config.batch_size, config.linger_ms, random).choose
        self._bytes_max = min(config.max_request_size, config.buffer_memory - HEADER_BYTES)

    def intercept(self, record: ProducerRecord) -> ProducerRecord:
        for interceptor in self.interceptors:
            try:
                record = interceptor.on_send(record) if hasattr(interceptor, "on_send") else record
            except Exception:  # a hook that fails must not stop the record
                _log.exception("on_send of %r failed", interceptor)
        return record

    def listener(self, on_delivery: OnDelivery | None) -> OnDelivery | None:
        """Whom to tell of a record's fate: the interceptors, then the user."""
        if not self.interceptors:
            return on_delivery

        def acknowledge(metadata: RecordMetadata | None, error: KraftpyError | None) -> None:
            for interceptor in self.interceptors:
                try:
                    if hasattr(interceptor, "on_acknowledgement"):
                        interceptor.on_acknowledgement(metadata, error)
                except BaseException as raised:  # on the loop, where a failure must not stop other records' either
                    if ends_program(raised):
                        raise
                    _log.exception("on_acknowledgement of %r failed", interceptor)
            if on_delivery is not None:
                on_delivery(metadata, error)

        return acknowledge

    def serialize(self, topic: str, key: Any, value: Any, headers: Headers) -> Serialized:
        """Raises `SerializationError`, or `RecordTooLargeError` for what can never be sent."""
        key_bytes = key if type(key) is bytes and self._serialize_key is None else self._key(topic, key)
        value_bytes = value if type(value) is bytes and self._serialize_value is None else self._value(topic, value)
        size = record_bytes(key_bytes, value_bytes, headers)
        if size > self._bytes_max:
            raise RecordTooLargeError(
                f"{topic}: the record takes {size} bytes, more than max.request.size or buffer.memory "
                f"({self._bytes_max})"
            )
        return Serialized(key_bytes, value_bytes, size)

    def choose(self, topic: str, record: Serialized, partition: int | None, partition_count: int, now_ms: int) -> int:
        """The partition: the one that the user names, else the partitioner's. Raises `InvalidPartitionError`."""
        if partition is None:
            return self._choose(topic, record.key, record.value, partition_count, now_ms)
        if not isinstance(partition, int) or not 0 <= partition < partition_count:
            raise InvalidPartitionError(topic, partition, partition_count)
        return partition

    def close(self) -> None:
        for interceptor in self.interceptors:
            try:
                if hasattr(interceptor, "close"):
                    interceptor.close()
            except BaseException as raised:  # as above
                if ends_program(raised):
                    raise
                _log.exception("close of %r failed", interceptor)

    def _key(self, topic: str, key: Any) -> bytes | None:
        return serialize(self._serialize_key, topic, "key", key)

    def _value(self, topic: str, value: Any) -> bytes | None:
        return serialize(self._serialize_value, topic, "value", value)


def checked_headers(headers: Any) -> Headers:
    """Headers as (name, bytes) pairs. Raises `SerializationError`."""
    if not headers:
        return ()
    checked = []
    for header in headers.items() if isinstance(headers, dict) else headers:
        try:
            name, value = header
        except (TypeError, ValueError):
            raise SerializationError(f"a header is a pair of a name and bytes, not {header!r}") from None
        if not isinstance(name, str):
            raise SerializationError(f"a header's name is str, not {type(name).__name__}")
        if value is not None and not isinstance(value, bytes):
            if not isinstance(value, str | bytearray | memoryview):
                raise SerializationError(f"the value of header {name!r} is bytes or str, not {type(value).__name__}")
            value = value.encode() if isinstance(value, str) else bytes(value)
        checked.append((name, value))
    if len(checked) > HEADERS_MAX:
        raise SerializationError(f"a record has at most {HEADERS_MAX} headers, not {len(checked)}")
    return checked
