"""UnregisterBroker (key 64), version 0: the messages."""

from broker.kafka.schema import Int16, Int32, NullableString, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 0, 0


@structure
class UnregisterBrokerRequest(Structure):
    broker_id: Int32


@structure
class UnregisterBrokerResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
