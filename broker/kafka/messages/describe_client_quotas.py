"""DescribeClientQuotas (key 48), versions 0–1: the messages."""

from broker.kafka.schema import Boolean, Float64, Int8, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 1, 1


@structure
class ComponentData(Structure):
    entity_type: String
    match_type: Int8
    match: NullableString


@structure
class DescribeClientQuotasRequest(Structure):
    components: tuple[ComponentData, ...]
    strict: Boolean


@structure
class EntityData(Structure):
    entity_type: String
    entity_name: NullableString


@structure
class ValueData(Structure):
    key: String
    value: Float64


@structure
class EntryData(Structure):
    entity: tuple[EntityData, ...]
    values: tuple[ValueData, ...]


@structure
class DescribeClientQuotasResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
    entries: tuple[EntryData, ...] | None
