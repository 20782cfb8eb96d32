"""DescribeTopicPartitions (key 75), version 0: the messages."""

from broker.kafka.schema import Boolean, Int16, Int32, NullableString, String, Structure, Uuid, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 0, 0


@structure
class TopicRequest(Structure):
    name: String


@structure
class Cursor(Structure):
    topic_name: String
    partition: Int32


@structure
class DescribeTopicPartitionsRequest(Structure):
    topics: tuple[TopicRequest, ...]
    response_partition_limit: Int32 = wire(default=2000)
    cursor: Cursor | None = wire(default=None)


@structure
class DescribeTopicPartitionsResponsePartition(Structure):
    error: Int16 = wire(default=0)
    partition: Int32
    leader_id: Int32
    leader_epoch: Int32 = wire(default=-1)
    replica_nodes: tuple[Int32, ...] = wire(default=())
    isr_nodes: tuple[Int32, ...] = wire(default=())
    eligible_leader_replicas: tuple[Int32, ...] | None = wire(default=None)
    last_known_elr: tuple[Int32, ...] | None = wire(default=None)
    offline_replicas: tuple[Int32, ...] = wire(default=())


@structure
class DescribeTopicPartitionsResponseTopic(Structure):
    error: Int16 = wire(default=0)
    name: NullableString
    topic_id: Uuid
    is_internal: Boolean = wire(default=False)
    partitions: tuple[DescribeTopicPartitionsResponsePartition, ...]
    topic_authorized_operations: Int32 = wire(default=-2147483648)


@structure
class NextCursor(Structure):
    topic_name: String
    partition: Int32


@structure
class DescribeTopicPartitionsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    topics: tuple[DescribeTopicPartitionsResponseTopic, ...]
    next_cursor: NextCursor | None = wire(default=None)
