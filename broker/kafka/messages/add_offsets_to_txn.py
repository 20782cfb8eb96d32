"""AddOffsetsToTxn (key 25), versions 0–4: the messages."""

from broker.kafka.schema import Int16, Int32, Int64, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 4, 3


@structure
class AddOffsetsToTxnRequest(Structure):
    transactional_id: String
    producer_id: Int64
    producer_epoch: Int16
    group_id: String


@structure
class AddOffsetsToTxnResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(default=0)
