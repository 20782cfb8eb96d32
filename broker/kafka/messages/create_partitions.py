"""CreatePartitions (key 37), versions 0–3: the messages."""

from broker.kafka.schema import Boolean, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 3, 2


@structure
class CreatePartitionsAssignment(Structure):
    broker_ids: tuple[Int32, ...] = wire(default=())


@structure
class CreatePartitionsTopic(Structure):
    name: String
    count: Int32
    assignments: tuple[CreatePartitionsAssignment, ...] | None


@structure
class CreatePartitionsRequest(Structure):
    topics: tuple[CreatePartitionsTopic, ...]
    timeout_ms: Int32
    validate_only: Boolean


@structure
class CreatePartitionsTopicResult(Structure):
    name: String
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)


@structure
class CreatePartitionsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    results: tuple[CreatePartitionsTopicResult, ...]
