"""OffsetCommit (key 8), versions 2–10: the messages."""

from broker.kafka.schema import Int16, Int32, Int64, NullableString, String, Structure, Uuid, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 2, 10, 8
TOPIC_IDS_FROM = 10
"""From here on topics are named by their ids."""
MEMBER_EPOCHS_FROM = 9
"""From here on clients know the errors of KIP-848."""


@structure
class OffsetCommitPartition(Structure):
    partition: Int32
    offset: Int64
    leader_epoch: Int32 = wire(since=6, default=-1)
    metadata: NullableString


@structure
class OffsetCommitTopic(Structure):
    name: String = wire(end=TOPIC_IDS_FROM, default="")
    topic_id: Uuid = wire(since=TOPIC_IDS_FROM, default=None)
    partitions: tuple[OffsetCommitPartition, ...]


@structure
class OffsetCommitRequest(Structure):
    group_id: String
    generation_or_epoch: Int32
    member_id: String
    group_instance_id: NullableString = wire(since=7, default=None)
    retention_ms: Int64 = wire(end=5, default=-1)
    topics: tuple[OffsetCommitTopic, ...]


@structure
class OffsetCommitPartitionResult(Structure):
    partition: Int32
    error: Int16


@structure
class OffsetCommitTopicResult(Structure):
    name: String = wire(end=TOPIC_IDS_FROM, default="")
    topic_id: Uuid = wire(since=TOPIC_IDS_FROM, default=None)
    partitions: tuple[OffsetCommitPartitionResult, ...]


@structure
class OffsetCommitResponse(Structure):
    throttle_ms: Int32 = wire(since=3, default=0)
    topics: tuple[OffsetCommitTopicResult, ...]
