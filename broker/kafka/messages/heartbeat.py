"""Heartbeat (key 12), versions 0–4: the messages."""

from broker.kafka.schema import Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 4, 4


@structure
class HeartbeatRequest(Structure):
    group_id: String
    generation_id: Int32
    member_id: String
    group_instance_id: NullableString = wire(since=3, default=None)


@structure
class HeartbeatResponse(Structure):
    throttle_ms: Int32 = wire(since=1, default=0)
    error: Int16
