"""DeleteGroups (key 42), versions 0–2: the messages."""

from broker.kafka.schema import Int16, Int32, String, Structure, structure

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 2, 2


@structure
class DeleteGroupsRequest(Structure):
    groups: tuple[String, ...]


@structure
class DeletedGroup(Structure):
    group_id: String
    error: Int16


@structure
class DeleteGroupsResponse(Structure):
    throttle_ms: Int32 = 0
    results: tuple[DeletedGroup, ...]
