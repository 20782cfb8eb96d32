"""SaslAuthenticate (key 36), versions 0–2: the messages."""

from broker.kafka.schema import Bytes, Int16, Int64, NullableString, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 2, 2


@structure
class SaslAuthenticateRequest(Structure):
    auth_bytes: Bytes


@structure
class SaslAuthenticateResponse(Structure):
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
    auth_bytes: Bytes
    session_lifetime_ms: Int64 = wire(since=1, default=0)
