"""LeaveGroup (key 13), versions 0–5: the messages."""

from broker.kafka.schema import Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 5, 4
MANY_FROM = 3
"""From here on a request names several members."""


@structure
class LeavingMember(Structure):
    member_id: String
    group_instance_id: NullableString
    reason: NullableString = wire(since=5, default=None)


@structure
class LeaveGroupRequest(Structure):
    group_id: String
    member_id: String = wire(end=MANY_FROM, default="")
    members: tuple[LeavingMember, ...] = wire(since=MANY_FROM, default=())


@structure
class MemberGone(Structure):
    member_id: String
    group_instance_id: NullableString
    error: Int16


@structure
class LeaveGroupResponse(Structure):
    throttle_ms: Int32 = wire(since=1, default=0)
    error: Int16
    members: tuple[MemberGone, ...] = wire(since=MANY_FROM, default=())
