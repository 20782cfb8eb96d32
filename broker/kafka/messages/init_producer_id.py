"""InitProducerId (key 22), versions 0–6: the messages."""

from broker.kafka.schema import Boolean, Int16, Int32, Int64, NullableString, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 6, 2


@structure
class InitProducerIdRequest(Structure):
    transactional_id: NullableString
    transaction_timeout_ms: Int32
    producer_id: Int64 = wire(since=3, default=-1)
    producer_epoch: Int16 = wire(since=3, default=-1)
    enable_two_phase_commit: Boolean = wire(since=6, default=False)
    keep_prepared_transaction: Boolean = wire(since=6, default=False)


@structure
class InitProducerIdResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(default=0)
    producer_id: Int64 = wire(default=-1)
    producer_epoch: Int16
    ongoing_transaction_producer_id: Int64 = wire(since=6, default=-1)
    ongoing_transaction_producer_epoch: Int16 = wire(since=6, default=-1)
