"""The records of transactions in Kafka's formats of `__transaction_state`, byte by byte: its tools read them.

A key is its version, 0 (int16), and the transactional id. A value begins with its version: 1, which is flexible, where
the cluster's `transaction.version` is at least 1, else 0. Keys of other versions are passed over.
"""

from collections.abc import Callable
from itertools import groupby
from operator import attrgetter
from struct import Struct

from broker.coordinator.transactions.commands import ProtocolVersion, TopicPartition
from broker.coordinator.transactions.records import TransactionMetadata, TransactionRecord
from broker.coordinator.transactions.states import TransactionState
from broker.kafka.schema import Int8, Int16, Int32, Int64, String, Structure, decode, encode, structure, wire
from broker.kafka.wire import ProtocolError
from kraftpy.errors import CorruptRecordError

_VERSION = Struct(">h")
_KEY_VERSION, _VALUE_VERSION_MAX, _FLEXIBLE_FROM = 0, 1, 1


@structure
class TransactionLogKey(Structure):
    transactional_id: String


@structure
class PartitionsOfTopic(Structure):
    topic: String
    partition_ids: tuple[Int32, ...]


@structure
class TransactionLogValue(Structure):
    producer_id: Int64
    previous_producer_id: Int64 = wire(since=1, tag=0, default=-1)
    next_producer_id: Int64 = wire(since=1, tag=1, default=-1)
    producer_epoch: Int16
    next_producer_epoch: Int16 = wire(since=1, tag=3, default=-1)
    transaction_timeout_ms: Int32
    transaction_status: Int8
    transaction_partitions: tuple[PartitionsOfTopic, ...] | None = wire(nullable_since=0)
    transaction_last_update_timestamp_ms: Int64
    transaction_start_timestamp_ms: Int64
    client_transaction_version: Int16 = wire(since=1, tag=2, default=0)


class TransactionRecordCodec:
    """`broker.coordinator.core.RecordCodec`."""

    def __init__(self, transaction_version: Callable[[], int]) -> None:
        """`transaction_version()`: the finalized level of the feature."""
        self._transaction_version = transaction_version

    def encode(self, record: TransactionRecord) -> tuple[bytes, bytes | None]:
        name = TransactionLogKey(transactional_id=record.transactional_id)
        key = _VERSION.pack(_KEY_VERSION) + bytes(encode(name, _KEY_VERSION, flexible=False))
        if record.metadata is None:
            return key, None
        return key, _value(record.metadata, 1 if self._transaction_version() >= 1 else 0)

    def decode(self, key: bytes, value: bytes | None) -> TransactionRecord | None:
        if len(key) < _VERSION.size:
            raise CorruptRecordError("a record of the transaction coordinator has no version")
        if _VERSION.unpack_from(key)[0] != _KEY_VERSION:
            return None
        try:
            name = decode(TransactionLogKey, key[_VERSION.size :], _KEY_VERSION, flexible=False)
            return TransactionRecord(name.transactional_id, None if value is None else _metadata(value))
        except ProtocolError as error:
            raise CorruptRecordError(f"a record of the transaction coordinator cannot be read: {error}") from error


def _value(metadata: TransactionMetadata, version: int) -> bytes:
    topics = groupby(metadata.partitions, attrgetter("topic"))
    stored = TransactionLogValue(
        producer_id=metadata.producer_id,
        previous_producer_id=metadata.previous_producer_id,
        next_producer_id=metadata.next_producer_id,
        producer_epoch=metadata.producer_epoch,
        transaction_timeout_ms=metadata.timeout_ms,
        transaction_status=metadata.state,
        transaction_partitions=tuple(
            PartitionsOfTopic(topic=topic, partition_ids=tuple(each.partition for each in group))
            for topic, group in topics
        )
        or (None if metadata.state is TransactionState.EMPTY else ()),  # as Kafka writes it
        transaction_last_update_timestamp_ms=metadata.updated_ms,
        transaction_start_timestamp_ms=metadata.started_ms,
        client_transaction_version=metadata.version,
    )
    return _VERSION.pack(version) + bytes(encode(stored, version, flexible=version >= _FLEXIBLE_FROM))


def _metadata(value: bytes) -> TransactionMetadata:
    if len(value) < _VERSION.size:
        raise CorruptRecordError("a record of the transaction coordinator has no version")
    version: int = _VERSION.unpack_from(value)[0]
    if not 0 <= version <= _VALUE_VERSION_MAX:
        raise CorruptRecordError(
            f"a record of the transaction coordinator has version {version}, known is {_VALUE_VERSION_MAX}"
        )
    stored = decode(TransactionLogValue, value[_VERSION.size :], version, flexible=version >= _FLEXIBLE_FROM)
    try:
        state = TransactionState(stored.transaction_status)
    except ValueError:
        raise CorruptRecordError(f"{stored.transaction_status} is no state of a transaction") from None
    partitions = sorted(
        TopicPartition(topic.topic, partition)
        for topic in stored.transaction_partitions or ()
        for partition in topic.partition_ids
    )
    is_second = stored.client_transaction_version >= ProtocolVersion.SECOND
    return TransactionMetadata(
        stored.producer_id,
        stored.producer_epoch,
        stored.transaction_timeout_ms,
        state,
        stored.transaction_last_update_timestamp_ms,
        tuple(partitions),
        stored.transaction_start_timestamp_ms,
        ProtocolVersion.SECOND if is_second else ProtocolVersion.FIRST,
        stored.previous_producer_id,
        stored.next_producer_id,
    )
