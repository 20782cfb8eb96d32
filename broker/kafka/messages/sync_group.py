"""SyncGroup (key 14), versions 0–5: the messages."""

from broker.kafka.schema import Bytes, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 5, 4


@structure
class SyncGroupAssignment(Structure):
    member_id: String
    assignment: Bytes


@structure
class SyncGroupRequest(Structure):
    group_id: String
    generation_id: Int32
    member_id: String
    group_instance_id: NullableString = wire(since=3, default=None)
    protocol_type: NullableString = wire(since=5, default=None)
    protocol_name: NullableString = wire(since=5, default=None)
    assignments: tuple[SyncGroupAssignment, ...]


@structure
class SyncGroupResponse(Structure):
    throttle_ms: Int32 = wire(since=1, default=0)
    error: Int16
    protocol_type: NullableString = wire(since=5, default=None)
    protocol_name: NullableString = wire(since=5, default=None)
    assignment: Bytes = b""
