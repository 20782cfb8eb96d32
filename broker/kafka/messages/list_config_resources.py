"""ListConfigResources (key 74), versions 0–1: the messages."""

from broker.kafka.schema import Int8, Int16, Int32, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 1, 0


@structure
class ListConfigResourcesRequest(Structure):
    resource_types: tuple[Int8, ...] = wire(since=1, default=())


@structure
class ConfigResource(Structure):
    resource_name: String
    resource_type: Int8 = wire(since=1, default=16)


@structure
class ListConfigResourcesResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(default=0)
    config_resources: tuple[ConfigResource, ...]
