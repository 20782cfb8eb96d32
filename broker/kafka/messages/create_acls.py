"""CreateAcls (key 30), versions 1–3: the messages."""

from broker.kafka.schema import Int8, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 1, 3, 2


@structure
class AclCreation(Structure):
    resource_type: Int8
    resource_name: String
    resource_pattern_type: Int8 = wire(default=3)
    principal: String
    host: String
    operation: Int8
    permission_type: Int8


@structure
class CreateAclsRequest(Structure):
    creations: tuple[AclCreation, ...]


@structure
class AclCreationResult(Structure):
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)


@structure
class CreateAclsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    results: tuple[AclCreationResult, ...]
