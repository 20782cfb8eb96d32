"""FindCoordinator (key 10), versions 0–6: the messages."""

from broker.kafka.schema import Int8, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 6, 3
MANY_FROM = 4
"""From here on a request asks for several keys."""


@structure
class FindCoordinatorRequest(Structure):
    key: String = wire(end=MANY_FROM, default="")
    key_type: Int8 = wire(since=1, default=0)
    keys: tuple[String, ...] = wire(since=MANY_FROM, default=())


@structure
class FoundCoordinator(Structure):
    key: String
    node_id: Int32
    host: String
    port: Int32
    error: Int16
    error_message: NullableString


@structure
class FindCoordinatorResponse(Structure):
    throttle_ms: Int32 = wire(since=1, default=0)
    error: Int16 = wire(end=MANY_FROM, default=0)
    error_message: NullableString = wire(since=1, end=MANY_FROM, default=None)
    node_id: Int32 = wire(end=MANY_FROM, default=-1)
    host: String = wire(end=MANY_FROM, default="")
    port: Int32 = wire(end=MANY_FROM, default=-1)
    coordinators: tuple[FoundCoordinator, ...] = wire(since=MANY_FROM, default=())
