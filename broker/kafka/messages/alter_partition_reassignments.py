"""AlterPartitionReassignments (key 45), versions 0–1: the messages."""

from broker.kafka.schema import Boolean, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 1, 0


@structure
class ReassignablePartition(Structure):
    partition: Int32
    replicas: tuple[Int32, ...] | None = wire(default=None)


@structure
class ReassignableTopic(Structure):
    name: String
    partitions: tuple[ReassignablePartition, ...]


@structure
class AlterPartitionReassignmentsRequest(Structure):
    timeout_ms: Int32 = wire(default=60000)
    allow_replication_factor_change: Boolean = wire(since=1, default=True)
    topics: tuple[ReassignableTopic, ...]


@structure
class ReassignablePartitionResponse(Structure):
    partition: Int32
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)


@structure
class ReassignableTopicResponse(Structure):
    name: String
    partitions: tuple[ReassignablePartitionResponse, ...]


@structure
class AlterPartitionReassignmentsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    allow_replication_factor_change: Boolean = wire(since=1, default=True)
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
    responses: tuple[ReassignableTopicResponse, ...]
