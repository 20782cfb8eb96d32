"""OffsetFetch (key 9), versions 1–10: the messages."""

from broker.kafka.schema import Boolean, Int16, Int32, Int64, NullableString, String, Structure, Uuid, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 1, 10, 6
GROUP_ERROR_FROM = 2
"""Before, a refusal of the group stands beside each partition."""
MANY_FROM = 8
"""From here on a request asks for several groups."""
TOPIC_IDS_FROM = 10
"""From here on topics are named by their ids."""


@structure
class OffsetFetchTopic(Structure):
    name: String
    partitions: tuple[Int32, ...]


@structure
class OffsetFetchGroupTopic(Structure):
    name: String = wire(end=TOPIC_IDS_FROM, default="")
    topic_id: Uuid = wire(since=TOPIC_IDS_FROM, default=None)
    partitions: tuple[Int32, ...]


@structure
class OffsetFetchGroup(Structure):
    group_id: String
    member_id: NullableString = wire(since=9, default=None)
    member_epoch: Int32 = wire(since=9, default=-1)
    topics: tuple[OffsetFetchGroupTopic, ...] | None
    """None: everything that is committed."""


@structure
class OffsetFetchRequest(Structure):
    group_id: String = wire(end=MANY_FROM, default="")
    topics: tuple[OffsetFetchTopic, ...] | None = wire(end=MANY_FROM, nullable_since=2, default=())
    groups: tuple[OffsetFetchGroup, ...] = wire(since=MANY_FROM, default=())
    require_stable: Boolean = wire(since=7, default=False)


@structure
class OffsetFetchPartitionResult(Structure):
    partition: Int32
    offset: Int64
    leader_epoch: Int32 = wire(since=5, default=-1)
    metadata: NullableString
    error: Int16


@structure
class OffsetFetchTopicResult(Structure):
    name: String
    partitions: tuple[OffsetFetchPartitionResult, ...]


@structure
class OffsetFetchGroupTopicResult(Structure):
    name: String = wire(end=TOPIC_IDS_FROM, default="")
    topic_id: Uuid = wire(since=TOPIC_IDS_FROM, default=None)
    partitions: tuple[OffsetFetchPartitionResult, ...]


@structure
class OffsetFetchGroupResult(Structure):
    group_id: String
    topics: tuple[OffsetFetchGroupTopicResult, ...]
    error: Int16


@structure
class OffsetFetchResponse(Structure):
    throttle_ms: Int32 = wire(since=3, default=0)
    topics: tuple[OffsetFetchTopicResult, ...] = wire(end=MANY_FROM, default=())
    error: Int16 = wire(since=GROUP_ERROR_FROM, end=MANY_FROM, default=0)
    groups: tuple[OffsetFetchGroupResult, ...] = wire(since=MANY_FROM, default=())
