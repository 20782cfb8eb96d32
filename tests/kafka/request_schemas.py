"""The requests that the door reads by hand, as schemas: what the fuzzer writes them from."""

from broker.kafka.schema import (
    Int8,
    Int16,
    Int32,
    Int64,
    NullableBytes,
    NullableString,
    String,
    Structure,
    Uuid,
    structure,
    wire,
)


@structure
class PartitionProduceData(Structure):
    index: Int32
    records: NullableBytes


@structure
class TopicProduceData(Structure):
    topic_id: Uuid = wire(since=13, default=None)
    name: String = wire(end=13, default="")
    partition_data: tuple[PartitionProduceData, ...]


@structure
class ProduceRequest(Structure):
    transactional_id: NullableString
    acks: Int16
    timeout_ms: Int32
    topic_data: tuple[TopicProduceData, ...]


@structure
class ReplicaState(Structure):
    replica_id: Int32
    replica_epoch: Int64


@structure
class FetchPartition(Structure):
    partition: Int32
    current_leader_epoch: Int32 = wire(since=9, default=-1)
    fetch_offset: Int64
    last_fetched_epoch: Int32 = wire(since=12, default=-1)
    log_start_offset: Int64 = wire(since=5, default=-1)
    partition_max_bytes: Int32
    replica_directory_id: Uuid = wire(since=17, tag=0, default=None)
    high_watermark: Int64 = wire(since=18, tag=1, default=9223372036854775807)


@structure
class FetchTopic(Structure):
    topic_id: Uuid = wire(since=13, default=None)
    topic: String = wire(end=13, default="")
    partitions: tuple[FetchPartition, ...]


@structure
class ForgottenTopic(Structure):
    topic_id: Uuid = wire(since=13, default=None)
    topic: String = wire(end=13, default="")
    partitions: tuple[Int32, ...]


@structure
class FetchRequest(Structure):
    cluster_id: NullableString = wire(since=12, tag=0, default=None)
    replica_state: ReplicaState = wire(since=15, tag=1, default=None)
    replica_id: Int32 = wire(end=15, default=-1)
    max_wait: Int32
    min_bytes: Int32
    max_bytes: Int32
    isolation_level: Int8
    session_id: Int32 = wire(since=7, default=0)
    session_epoch: Int32 = wire(since=7, default=-1)
    topics: tuple[FetchTopic, ...]
    forgotten_topics_data: tuple[ForgottenTopic, ...] = wire(since=7, default=())
    rack_id: String = wire(since=11, default="")


@structure
class ListOffsetsPartition(Structure):
    partition: Int32
    current_leader_epoch: Int32 = wire(since=4, default=-1)
    timestamp: Int64


@structure
class ListOffsetsTopic(Structure):
    name: String
    partitions: tuple[ListOffsetsPartition, ...]


@structure
class ListOffsetsRequest(Structure):
    replica_id: Int32
    isolation_level: Int8 = wire(since=2, default=0)
    topics: tuple[ListOffsetsTopic, ...]
    timeout_ms: Int32 = wire(since=10, default=0)


@structure
class ApiVersionsRequest(Structure):
    client_software_name: String = wire(since=3, default="")
    client_software_version: String = wire(since=3, default="")
