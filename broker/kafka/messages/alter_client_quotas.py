"""AlterClientQuotas (key 49), versions 0–1: the messages."""

from broker.kafka.schema import Boolean, Float64, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 1, 1


@structure
class EntityData(Structure):
    entity_type: String
    entity_name: NullableString


@structure
class OpData(Structure):
    key: String
    value: Float64
    remove: Boolean


@structure
class EntryData(Structure):
    entity: tuple[EntityData, ...]
    ops: tuple[OpData, ...]


@structure
class AlterClientQuotasRequest(Structure):
    entries: tuple[EntryData, ...]
    validate_only: Boolean


@structure
class AlteredEntity(Structure):
    entity_type: String
    entity_name: NullableString


@structure
class AlteredEntry(Structure):
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
    entity: tuple[AlteredEntity, ...]


@structure
class AlterClientQuotasResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    entries: tuple[AlteredEntry, ...]
