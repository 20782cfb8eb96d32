"""DeleteAcls (key 31), versions 1–3: the messages."""

from broker.kafka.schema import Int8, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 1, 3, 2


@structure
class DeleteAclsFilter(Structure):
    resource_type_filter: Int8
    resource_name_filter: NullableString
    pattern_type_filter: Int8 = wire(default=3)
    principal_filter: NullableString
    host_filter: NullableString
    operation: Int8
    permission_type: Int8


@structure
class DeleteAclsRequest(Structure):
    filters: tuple[DeleteAclsFilter, ...]


@structure
class DeleteAclsMatchingAcl(Structure):
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
    resource_type: Int8
    resource_name: String
    pattern_type: Int8 = wire(default=3)
    principal: String
    host: String
    operation: Int8
    permission_type: Int8


@structure
class DeleteAclsFilterResult(Structure):
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
    matching_acls: tuple[DeleteAclsMatchingAcl, ...]


@structure
class DeleteAclsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    filter_results: tuple[DeleteAclsFilterResult, ...]
