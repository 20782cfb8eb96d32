"""DeleteRecords (key 21), versions 0–2: the messages."""

from broker.kafka.schema import Int16, Int32, Int64, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 2, 2


@structure
class DeleteRecordsPartition(Structure):
    partition: Int32
    offset: Int64


@structure
class DeleteRecordsTopic(Structure):
    name: String
    partitions: tuple[DeleteRecordsPartition, ...]


@structure
class DeleteRecordsRequest(Structure):
    topics: tuple[DeleteRecordsTopic, ...]
    timeout_ms: Int32


@structure
class DeleteRecordsPartitionResult(Structure):
    partition: Int32
    low_watermark: Int64
    error: Int16 = wire(default=0)


@structure
class DeleteRecordsTopicResult(Structure):
    name: String
    partitions: tuple[DeleteRecordsPartitionResult, ...]


@structure
class DeleteRecordsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    topics: tuple[DeleteRecordsTopicResult, ...]
