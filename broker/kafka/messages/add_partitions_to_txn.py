"""AddPartitionsToTxn (key 24), versions 0–5: the messages."""

from broker.kafka.schema import Boolean, Int16, Int32, Int64, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 5, 3
MANY_FROM = 4
"""From here on a request holds several transactions: brokers ask so."""


@structure
class PartitionsOfTopic(Structure):
    name: String
    partitions: tuple[Int32, ...]


@structure
class AskedTransaction(Structure):
    transactional_id: String
    producer_id: Int64
    producer_epoch: Int16
    verify_only: Boolean = wire(default=False)
    topics: tuple[PartitionsOfTopic, ...]


@structure
class AddPartitionsToTxnRequest(Structure):
    transactions: tuple[AskedTransaction, ...] = wire(since=MANY_FROM, default=())
    transactional_id: String = wire(end=MANY_FROM, default="")
    producer_id: Int64 = wire(end=MANY_FROM, default=-1)
    producer_epoch: Int16 = wire(end=MANY_FROM, default=-1)
    topics: tuple[PartitionsOfTopic, ...] = wire(end=MANY_FROM, default=())


@structure
class PartitionResult(Structure):
    partition: Int32
    error: Int16


@structure
class TopicResult(Structure):
    name: String
    partitions: tuple[PartitionResult, ...]


@structure
class TransactionResult(Structure):
    transactional_id: String
    topics: tuple[TopicResult, ...]


@structure
class AddPartitionsToTxnResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(since=MANY_FROM, default=0)
    transactions: tuple[TransactionResult, ...] = wire(since=MANY_FROM, default=())
    topics: tuple[TopicResult, ...] = wire(end=MANY_FROM, default=())
