"""DescribeTransactions (key 65), version 0: the messages."""

from broker.kafka.schema import Int16, Int32, Int64, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 0, 0


@structure
class DescribeTransactionsRequest(Structure):
    transactional_ids: tuple[String, ...]


@structure
class PartitionsOfTopic(Structure):
    topic: String
    partitions: tuple[Int32, ...]


@structure
class DescribedTransaction(Structure):
    error: Int16
    transactional_id: String
    state: String = wire(default="")
    timeout_ms: Int32 = wire(default=0)
    start_time_ms: Int64 = wire(default=0)
    producer_id: Int64 = wire(default=0)
    producer_epoch: Int16 = wire(default=0)
    topics: tuple[PartitionsOfTopic, ...] = wire(default=())


@structure
class DescribeTransactionsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    transactions: tuple[DescribedTransaction, ...]
