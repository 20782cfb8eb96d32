"""The settings of the topics in which coordinators keep their state."""

from dataclasses import dataclass

from kraftpy.runtime.limits import INT16_MAX, INT32_MAX, check_limits

MIB = 1024 * 1024
SEGMENT_BYTES_MIN = MIB
SEGMENT_BYTES_MAX = INT32_MAX
"""As of any topic (segment.bytes): what it does not take could not be created, at the first use of a group."""


@dataclass(frozen=True, slots=True)
class StateTopicsConfig:
    """`__consumer_offsets` and `__transaction_state`, as they are created; later they are topics like others."""

    offsets_partitions: int = 50
    """Coordinators of groups, spread over the brokers. It must never change once groups exist, because a group's name
    says which of them it belongs to. More spread the load of many groups; each costs a log on three brokers."""

    offsets_replication_factor: int = 3
    """Replicas of groups and offsets. A cluster with fewer brokers in service does not make the topic yet; a cluster of
    one node uses 1. More survive more losses and slow every commit."""

    offsets_segment_bytes: int = 100 * MIB
    """How large a segment grows. Larger ones are compacted later and take longer to read when a leader takes over."""

    transactions_partitions: int = 50
    """Coordinators of transactions; as with `offsets_partitions`."""

    transactions_replication_factor: int = 3
    """Replicas of the state of transactions; as with `offsets_replication_factor`."""

    transactions_min_isr: int = 2
    """How many of them must be in sync to begin or end a transaction. More lose less and refuse earlier."""

    transactions_segment_bytes: int = 100 * MIB
    """As with `offsets_segment_bytes`."""

    def __post_init__(self) -> None:
        check_limits(
            ("offsets.topic.num.partitions", self.offsets_partitions, 1, INT32_MAX),
            ("offsets.topic.replication.factor", self.offsets_replication_factor, 1, INT16_MAX),
            ("offsets.topic.segment.bytes", self.offsets_segment_bytes, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
            ("transaction.state.log.num.partitions", self.transactions_partitions, 1, INT32_MAX),
            ("transaction.state.log.replication.factor", self.transactions_replication_factor, 1, INT16_MAX),
            ("transaction.state.log.min.isr", self.transactions_min_isr, 1, INT32_MAX),
            (
                "transaction.state.log.segment.bytes",
                self.transactions_segment_bytes,
                SEGMENT_BYTES_MIN,
                SEGMENT_BYTES_MAX,
            ),
        )
