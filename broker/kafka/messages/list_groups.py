"""ListGroups (key 16), versions 0–5: the messages."""

from broker.kafka.schema import Int16, Int32, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 5, 3


@structure
class ListGroupsRequest(Structure):
    states: tuple[String, ...] = wire(since=4, default=())
    types: tuple[String, ...] = wire(since=5, default=())


@structure
class ListedGroup(Structure):
    group_id: String
    protocol_type: String
    state: String = wire(since=4, default="")
    type: String = wire(since=5, default="")


@structure
class ListGroupsResponse(Structure):
    throttle_ms: Int32 = wire(since=1, default=0)
    error: Int16
    groups: tuple[ListedGroup, ...] = ()
