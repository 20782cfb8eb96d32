"""DescribeAcls (key 29), versions 1–3: the messages."""

from broker.kafka.schema import Int8, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 1, 3, 2


@structure
class DescribeAclsRequest(Structure):
    resource_type_filter: Int8
    resource_name_filter: NullableString
    pattern_type_filter: Int8 = wire(default=3)
    principal_filter: NullableString
    host_filter: NullableString
    operation: Int8
    permission_type: Int8


@structure
class AclDescription(Structure):
    principal: String
    host: String
    operation: Int8
    permission_type: Int8


@structure
class DescribeAclsResource(Structure):
    resource_type: Int8
    resource_name: String
    pattern_type: Int8 = wire(default=3)
    acls: tuple[AclDescription, ...]


@structure
class DescribeAclsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
    resources: tuple[DescribeAclsResource, ...]
