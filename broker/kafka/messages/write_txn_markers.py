"""WriteTxnMarkers (key 27), version 1: the messages."""

from broker.kafka.schema import Boolean, Int16, Int32, Int64, String, Structure, structure

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 1, 1, 1


@structure
class PartitionsOfTopic(Structure):
    name: String
    partitions: tuple[Int32, ...]


@structure
class WritableMarker(Structure):
    producer_id: Int64
    producer_epoch: Int16
    committed: Boolean
    topics: tuple[PartitionsOfTopic, ...]
    coordinator_epoch: Int32


@structure
class WriteTxnMarkersRequest(Structure):
    markers: tuple[WritableMarker, ...]


@structure
class PartitionResult(Structure):
    partition: Int32
    error: Int16


@structure
class TopicResult(Structure):
    name: String
    partitions: tuple[PartitionResult, ...]


@structure
class MarkerResult(Structure):
    producer_id: Int64
    topics: tuple[TopicResult, ...]


@structure
class WriteTxnMarkersResponse(Structure):
    markers: tuple[MarkerResult, ...]
