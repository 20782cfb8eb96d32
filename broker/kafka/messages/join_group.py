"""JoinGroup (key 11), versions 0–9: the messages."""

from broker.kafka.schema import Boolean, Bytes, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 9, 6


@structure
class JoinGroupProtocol(Structure):
    name: String
    metadata: Bytes


@structure
class JoinGroupRequest(Structure):
    group_id: String
    session_timeout_ms: Int32
    rebalance_timeout_ms: Int32 = wire(since=1, default=-1)
    """-1: as long as the session."""
    member_id: String
    group_instance_id: NullableString = wire(since=5, default=None)
    protocol_type: String
    protocols: tuple[JoinGroupProtocol, ...]
    reason: NullableString = wire(since=8, default=None)


@structure
class JoinGroupMember(Structure):
    member_id: String
    group_instance_id: NullableString = wire(since=5, default=None)
    metadata: Bytes


@structure
class JoinGroupResponse(Structure):
    throttle_ms: Int32 = wire(since=2, default=0)
    error: Int16
    generation_id: Int32 = -1
    protocol_type: NullableString = wire(since=7, default=None)
    protocol_name: NullableString = wire(nullable_since=7)
    leader: String = ""
    skip_assignment: Boolean = wire(since=9, default=False)
    member_id: String
    members: tuple[JoinGroupMember, ...] = ()
