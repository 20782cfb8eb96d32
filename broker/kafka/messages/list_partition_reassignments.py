"""ListPartitionReassignments (key 46), version 0: the messages."""

from broker.kafka.schema import Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 0, 0


@structure
class ListPartitionReassignmentsTopics(Structure):
    name: String
    partitions: tuple[Int32, ...] = wire(default=())


@structure
class ListPartitionReassignmentsRequest(Structure):
    timeout_ms: Int32 = wire(default=60000)
    topics: tuple[ListPartitionReassignmentsTopics, ...] | None


@structure
class OngoingPartitionReassignment(Structure):
    partition: Int32
    replicas: tuple[Int32, ...] = wire(default=())
    adding_replicas: tuple[Int32, ...] = wire(default=())
    removing_replicas: tuple[Int32, ...] = wire(default=())


@structure
class OngoingTopicReassignment(Structure):
    name: String
    partitions: tuple[OngoingPartitionReassignment, ...]


@structure
class ListPartitionReassignmentsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
    topics: tuple[OngoingTopicReassignment, ...]
