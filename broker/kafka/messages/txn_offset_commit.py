"""TxnOffsetCommit (key 28), versions 0–5: the messages."""

from broker.kafka.schema import Int16, Int32, Int64, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 5, 3
ADDS_PARTITIONS_FROM = 5
"""From here on the group's coordinator adds its partition to the transaction (KIP-890)."""


@structure
class TxnOffsetCommitPartition(Structure):
    partition: Int32
    offset: Int64
    leader_epoch: Int32 = wire(since=2, default=-1)
    metadata: NullableString


@structure
class TxnOffsetCommitTopic(Structure):
    name: String
    partitions: tuple[TxnOffsetCommitPartition, ...]


@structure
class TxnOffsetCommitRequest(Structure):
    transactional_id: String
    group_id: String
    producer_id: Int64
    producer_epoch: Int16
    generation: Int32 = wire(since=3, default=-1)
    member_id: String = wire(since=3, default="")
    group_instance_id: NullableString = wire(since=3, default=None)
    topics: tuple[TxnOffsetCommitTopic, ...]


@structure
class TxnOffsetCommitPartitionResult(Structure):
    partition: Int32
    error: Int16


@structure
class TxnOffsetCommitTopicResult(Structure):
    name: String
    partitions: tuple[TxnOffsetCommitPartitionResult, ...]


@structure
class TxnOffsetCommitResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    topics: tuple[TxnOffsetCommitTopicResult, ...]
