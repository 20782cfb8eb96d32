"""DescribeQuorum (key 55), versions 0–2: the messages."""

from broker.kafka.schema import Int16, Int32, Int64, NullableString, String, Structure, UInt16, Uuid, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 2, 0


@structure
class AskedPartition(Structure):
    partition: Int32


@structure
class AskedTopic(Structure):
    topic_name: String
    partitions: tuple[AskedPartition, ...]


@structure
class DescribeQuorumRequest(Structure):
    topics: tuple[AskedTopic, ...]


@structure
class ReplicaState(Structure):
    replica_id: Int32
    replica_directory_id: Uuid = wire(since=2, default=None)
    log_end_offset: Int64
    last_fetch_timestamp: Int64 = wire(since=1, default=-1)
    last_caught_up_timestamp: Int64 = wire(since=1, default=-1)


@structure
class QuorumPartition(Structure):
    partition: Int32
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(since=2, default=None)
    leader_id: Int32
    leader_epoch: Int32
    high_watermark: Int64
    current_voters: tuple[ReplicaState, ...]
    observers: tuple[ReplicaState, ...]


@structure
class QuorumTopic(Structure):
    topic_name: String
    partitions: tuple[QuorumPartition, ...]


@structure
class Listener(Structure):
    name: String
    host: String
    port: UInt16


@structure
class Node(Structure):
    node_id: Int32
    listeners: tuple[Listener, ...]


@structure
class DescribeQuorumResponse(Structure):
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(since=2, default=None)
    topics: tuple[QuorumTopic, ...]
    nodes: tuple[Node, ...] = wire(since=2, default=())
