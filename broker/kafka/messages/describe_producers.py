"""DescribeProducers (key 61), version 0: the messages."""

from broker.kafka.schema import Int16, Int32, Int64, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 0, 0


@structure
class TopicRequest(Structure):
    name: String
    partitions: tuple[Int32, ...] = wire(default=())


@structure
class DescribeProducersRequest(Structure):
    topics: tuple[TopicRequest, ...]


@structure
class ProducerState(Structure):
    producer_id: Int64
    producer_epoch: Int32
    last_sequence: Int32 = wire(default=-1)
    last_timestamp: Int64 = wire(default=-1)
    coordinator_epoch: Int32
    current_txn_start_offset: Int64 = wire(default=-1)


@structure
class PartitionResponse(Structure):
    partition: Int32
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
    active_producers: tuple[ProducerState, ...]


@structure
class TopicResponse(Structure):
    name: String
    partitions: tuple[PartitionResponse, ...]


@structure
class DescribeProducersResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    topics: tuple[TopicResponse, ...]
