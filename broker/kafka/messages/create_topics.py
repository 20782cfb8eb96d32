"""CreateTopics (key 19), versions 2–7: the messages."""

from broker.kafka.schema import Boolean, Int8, Int16, Int32, NullableString, String, Structure, Uuid, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 2, 7, 5


@structure
class CreatableReplicaAssignment(Structure):
    partition: Int32
    broker_ids: tuple[Int32, ...] = wire(default=())


@structure
class CreatableTopicConfig(Structure):
    name: String
    value: NullableString


@structure
class CreatableTopic(Structure):
    name: String
    partitions: Int32
    replication_factor: Int16
    assignments: tuple[CreatableReplicaAssignment, ...]
    configs: tuple[CreatableTopicConfig, ...]


@structure
class CreateTopicsRequest(Structure):
    topics: tuple[CreatableTopic, ...]
    timeout_ms: Int32 = wire(default=60000)
    validate_only: Boolean = wire(default=False)


@structure
class CreatableTopicConfigs(Structure):
    name: String
    value: NullableString
    read_only: Boolean
    config_source: Int8 = wire(default=-1)
    is_sensitive: Boolean


@structure
class CreatableTopicResult(Structure):
    name: String
    topic_id: Uuid = wire(since=7, default=None)
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
    config_error: Int16 = wire(since=5, tag=0, default=0)
    partitions: Int32 = wire(since=5, default=-1)
    replication_factor: Int16 = wire(since=5, default=-1)
    configs: tuple[CreatableTopicConfigs, ...] | None = wire(since=5, default=None)


@structure
class CreateTopicsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    topics: tuple[CreatableTopicResult, ...]
