"""ElectLeaders (key 43), versions 0–2: the messages."""

from broker.kafka.schema import Int8, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 2, 2


@structure
class TopicPartitions(Structure):
    topic: String
    partitions: tuple[Int32, ...] = wire(default=())


@structure
class ElectLeadersRequest(Structure):
    election_type: Int8 = wire(since=1, default=0)
    topic_partitions: tuple[TopicPartitions, ...] | None
    timeout_ms: Int32 = wire(default=60000)


@structure
class PartitionResult(Structure):
    partition: Int32
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)


@structure
class ReplicaElectionResult(Structure):
    topic: String
    partitions: tuple[PartitionResult, ...]


@structure
class ElectLeadersResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(since=1, default=0)
    topics: tuple[ReplicaElectionResult, ...]
