"""DescribeGroups (key 15), versions 0–6: the messages."""

from broker.kafka.authorized import NOT_ASKED
from broker.kafka.schema import Boolean, Bytes, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 6, 5
THROTTLE_FROM = 1
NOT_FOUND_FROM = 6
"""Before, a group that is not there is Dead, and no error."""


@structure
class DescribeGroupsRequest(Structure):
    groups: tuple[String, ...]
    include_authorized_operations: Boolean = wire(since=3, default=False)


@structure
class DescribedGroupMember(Structure):
    member_id: String
    group_instance_id: NullableString = wire(since=4, default=None)
    client_id: String
    client_host: String
    metadata: Bytes
    assignment: Bytes


@structure
class DescribedGroup(Structure):
    error: Int16 = 0
    error_message: NullableString = wire(since=6, default=None)
    group_id: String
    state: String = ""
    protocol_type: String = ""
    protocol: String = ""
    members: tuple[DescribedGroupMember, ...] = ()
    authorized_operations: Int32 = wire(since=3, default=NOT_ASKED)


@structure
class DescribeGroupsResponse(Structure):
    throttle_ms: Int32 = wire(since=THROTTLE_FROM, default=0)
    groups: tuple[DescribedGroup, ...]
