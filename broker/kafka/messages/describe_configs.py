"""DescribeConfigs (key 32), versions 1–4: the messages."""

from broker.kafka.schema import Boolean, Int8, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 1, 4, 4


@structure
class DescribeConfigsResource(Structure):
    resource_type: Int8
    resource_name: String
    configuration_keys: tuple[String, ...] | None = wire(default=())


@structure
class DescribeConfigsRequest(Structure):
    resources: tuple[DescribeConfigsResource, ...]
    include_synonyms: Boolean = wire(default=False)
    include_documentation: Boolean = wire(since=3, default=False)


@structure
class DescribeConfigsSynonym(Structure):
    name: String
    value: NullableString
    source: Int8


@structure
class DescribeConfigsResourceResult(Structure):
    name: String
    value: NullableString
    read_only: Boolean
    config_source: Int8 = wire(default=-1)
    is_sensitive: Boolean
    synonyms: tuple[DescribeConfigsSynonym, ...]
    config_type: Int8 = wire(since=3, default=0)
    documentation: NullableString = wire(since=3, default=None)


@structure
class DescribeConfigsResult(Structure):
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
    resource_type: Int8
    resource_name: String
    configs: tuple[DescribeConfigsResourceResult, ...]


@structure
class DescribeConfigsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    results: tuple[DescribeConfigsResult, ...]
