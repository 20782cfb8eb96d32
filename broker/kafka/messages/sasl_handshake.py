"""SaslHandshake (key 17), versions 0–1: the messages."""

from broker.kafka.schema import Int16, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 1, 2


@structure
class SaslHandshakeRequest(Structure):
    mechanism: String


@structure
class SaslHandshakeResponse(Structure):
    error: Int16 = wire(default=0)
    mechanisms: tuple[String, ...] = wire(default=())
