"""ConsumerGroupHeartbeat (key 68), versions 0–1: the messages (KIP-848)."""

from broker.kafka.schema import Int16, Int32, NullableString, String, Structure, Uuid, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 1, 0

MEMBER_MAKES_ID_FROM = 1
"""Before, a new member is given its id."""


@structure
class HeartbeatTopic(Structure):
    topic_id: Uuid
    partitions: tuple[Int32, ...]


@structure
class ConsumerGroupHeartbeatRequest(Structure):
    group_id: String
    member_id: String
    member_epoch: Int32
    instance_id: NullableString
    rack_id: NullableString
    rebalance_timeout_ms: Int32
    """-1: as before."""
    subscribed_topics: tuple[String, ...] | None
    """None: as before; so with all that may be null."""
    subscribed_regex: NullableString = wire(since=1, default=None)
    server_assignor: NullableString
    topic_partitions: tuple[HeartbeatTopic, ...] | None
    """What the member has."""


@structure
class HeartbeatAssignment(Structure):
    topic_partitions: tuple[HeartbeatTopic, ...]


@structure
class ConsumerGroupHeartbeatResponse(Structure):
    throttle_ms: Int32 = 0
    error: Int16
    error_message: NullableString = None
    member_id: NullableString = None
    member_epoch: Int32 = 0
    heartbeat_interval_ms: Int32 = 0
    assignment: HeartbeatAssignment | None = None
    """None: as before."""
