"""The settings of the topics in which coordinators keep their state."""

from dataclasses import dataclass

MIB = 1024 * 1024
SEGMENT_BYTES_MIN = MIB
SEGMENT_BYTES_MAX = 2**31 - 1
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
        for count in (
            self.offsets_partitions,
            self.offsets_replication_factor,
            self.transactions_partitions,
            self.transactions_replication_factor,
            self.transactions_min_isr,
        ):
            if count < 1:
                raise ValueError(f"{count} is too few: at least 1")
        for name, size in (
            ("offsets.topic.segment.bytes", self.offsets_segment_bytes),
            ("transaction.state.log.segment.bytes", self.transactions_segment_bytes),
        ):
            if not SEGMENT_BYTES_MIN <= size <= SEGMENT_BYTES_MAX:
                raise ValueError(f"{name} lies between {SEGMENT_BYTES_MIN} and {SEGMENT_BYTES_MAX}, not {size}")
