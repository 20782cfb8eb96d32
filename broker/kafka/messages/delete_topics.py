"""DeleteTopics (key 20), versions 1–6: the messages."""

from broker.kafka.schema import Int16, Int32, NullableString, String, Structure, Uuid, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 1, 6, 4


@structure
class DeleteTopicState(Structure):
    name: NullableString = wire(default=None)
    topic_id: Uuid


@structure
class DeleteTopicsRequest(Structure):
    topics: tuple[DeleteTopicState, ...] = wire(since=6, default=())
    topic_names: tuple[String, ...] = wire(end=6, default=())
    timeout_ms: Int32


@structure
class DeletableTopicResult(Structure):
    name: NullableString = wire(nullable_since=6)
    topic_id: Uuid = wire(since=6, default=None)
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(since=5, default=None)


@structure
class DeleteTopicsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    responses: tuple[DeletableTopicResult, ...]
