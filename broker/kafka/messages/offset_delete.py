"""OffsetDelete (key 47), version 0: the messages."""

from broker.kafka.schema import Int16, Int32, String, Structure, structure

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 0, 1
"""No version is flexible."""


@structure
class OffsetDeletePartition(Structure):
    partition: Int32


@structure
class OffsetDeleteTopic(Structure):
    name: String
    partitions: tuple[OffsetDeletePartition, ...]


@structure
class OffsetDeleteRequest(Structure):
    group_id: String
    topics: tuple[OffsetDeleteTopic, ...]


@structure
class OffsetDeletePartitionResult(Structure):
    partition: Int32
    error: Int16


@structure
class OffsetDeleteTopicResult(Structure):
    name: String
    partitions: tuple[OffsetDeletePartitionResult, ...]


@structure
class OffsetDeleteResponse(Structure):
    error: Int16
    throttle_ms: Int32 = 0
    topics: tuple[OffsetDeleteTopicResult, ...] = ()
