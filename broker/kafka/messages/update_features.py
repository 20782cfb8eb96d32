"""UpdateFeatures (key 57), versions 0–2: the messages."""

from broker.kafka.schema import Boolean, Int8, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 2, 0


@structure
class FeatureUpdateKey(Structure):
    feature: String
    max_version_level: Int16
    upgrade_type: Int8 = wire(since=1, default=1)
    allow_downgrade: Boolean = wire(end=1, default=False)


@structure
class UpdateFeaturesRequest(Structure):
    timeout_ms: Int32 = wire(default=60000)
    feature_updates: tuple[FeatureUpdateKey, ...]
    validate_only: Boolean = wire(since=1, default=False)


@structure
class UpdatableFeatureResult(Structure):
    feature: String
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)


@structure
class UpdateFeaturesResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
    results: tuple[UpdatableFeatureResult, ...] = wire(end=2, default=())
