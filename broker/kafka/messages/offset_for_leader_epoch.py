"""OffsetForLeaderEpoch (key 23), versions 2–4: the messages."""

from broker.kafka.schema import Int16, Int32, Int64, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 2, 4, 4


@structure
class OffsetForLeaderPartition(Structure):
    partition: Int32
    current_leader_epoch: Int32 = wire(default=-1)
    leader_epoch: Int32


@structure
class OffsetForLeaderTopic(Structure):
    topic: String
    partitions: tuple[OffsetForLeaderPartition, ...]


@structure
class OffsetForLeaderEpochRequest(Structure):
    replica_id: Int32 = wire(since=3, default=-2)
    topics: tuple[OffsetForLeaderTopic, ...]


@structure
class EpochEndOffset(Structure):
    error: Int16 = wire(default=0)
    partition: Int32
    leader_epoch: Int32 = wire(default=-1)
    end_offset: Int64 = wire(default=-1)


@structure
class OffsetForLeaderTopicResult(Structure):
    topic: String
    partitions: tuple[EpochEndOffset, ...]


@structure
class OffsetForLeaderEpochResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    topics: tuple[OffsetForLeaderTopicResult, ...]
