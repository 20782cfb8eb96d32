"""IncrementalAlterConfigs (key 44), versions 0–1: the messages."""

from broker.kafka.schema import Boolean, Int8, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 1, 1


@structure
class AlterableConfig(Structure):
    name: String
    config_operation: Int8
    value: NullableString


@structure
class AlterConfigsResource(Structure):
    resource_type: Int8
    resource_name: String
    configs: tuple[AlterableConfig, ...]


@structure
class IncrementalAlterConfigsRequest(Structure):
    resources: tuple[AlterConfigsResource, ...]
    validate_only: Boolean


@structure
class AlterConfigsResourceResponse(Structure):
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
    resource_type: Int8
    resource_name: String


@structure
class IncrementalAlterConfigsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    responses: tuple[AlterConfigsResourceResponse, ...]
