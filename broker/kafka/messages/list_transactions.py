"""ListTransactions (key 66), versions 0–2: the messages."""

from broker.kafka.schema import Int16, Int32, Int64, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 2, 0


@structure
class ListTransactionsRequest(Structure):
    states: tuple[String, ...]
    producer_ids: tuple[Int64, ...]
    duration_ms: Int64 = wire(since=1, default=-1)
    transactional_id_pattern: NullableString = wire(since=2, default=None)


@structure
class ListedTransaction(Structure):
    transactional_id: String
    producer_id: Int64
    state: String


@structure
class ListTransactionsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(default=0)
    unknown_states: tuple[String, ...] = wire(default=())
    transactions: tuple[ListedTransaction, ...] = wire(default=())
