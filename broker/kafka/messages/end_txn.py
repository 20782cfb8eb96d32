"""EndTxn (key 26), versions 0–5: the messages."""

from broker.kafka.schema import Boolean, Int16, Int32, Int64, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 5, 3
BUMPS_EPOCH_FROM = 5
"""From here on the producer gets another epoch with the answer (KIP-890)."""


@structure
class EndTxnRequest(Structure):
    transactional_id: String
    producer_id: Int64
    producer_epoch: Int16
    committed: Boolean


@structure
class EndTxnResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(default=0)
    producer_id: Int64 = wire(since=BUMPS_EPOCH_FROM, default=-1)
    producer_epoch: Int16 = wire(since=BUMPS_EPOCH_FROM, default=-1)
