"""The settings of groups, under Kafka's names (`group.*`, `offset.*`, `offsets.*`)."""

from dataclasses import dataclass

_MINUTE_MS = 60_000
_DAY_MS = 24 * 60 * _MINUTE_MS


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """Checked once, when it is made; a wrong value is a `ValueError` that names the setting."""

    session_timeout_min_ms: int = 6_000
    """The shortest session that a member may ask for (group.min.session.timeout.ms). Shorter ones find crashes sooner
    and cost more heartbeats."""

    session_timeout_max_ms: int = 30 * _MINUTE_MS
    """The longest (group.max.session.timeout.ms). A crashed member keeps its partitions for that long."""

    initial_rebalance_delay_ms: int = 3_000
    """How long the first rebalance of an empty group waits for more members (group.initial.rebalance.delay.ms). More
    saves rebalances where many start together; the first member waits that long. 0 for development."""

    members_max: int = 2**31 - 1
    """Members of one classic group (group.max.size). Each rebalance costs by their number, and by its square in bytes
    where their subscriptions are long."""

    offset_metadata_bytes_max: int = 4_096
    """What a client may write beside an offset (offset.metadata.max.bytes). It stays in memory."""

    offsets_retention_ms: int = 7 * _DAY_MS
    """How long offsets are kept after their group lost its last member, or stopped to read the topic
    (offsets.retention.minutes, KIP-211)."""

    offsets_retention_check_interval_ms: int = 10 * _MINUTE_MS
    """Between looks for such offsets (offsets.retention.check.interval.ms). A look costs by the number of offsets."""

    def __post_init__(self) -> None:
        if not 0 < self.session_timeout_min_ms <= self.session_timeout_max_ms:
            raise ValueError("group.min.session.timeout.ms is above 0 and at most group.max.session.timeout.ms")
        for name, value, least in (
            ("group.initial.rebalance.delay.ms", self.initial_rebalance_delay_ms, 0),
            ("group.max.size", self.members_max, 1),
            ("offset.metadata.max.bytes", self.offset_metadata_bytes_max, 0),
            ("offsets.retention.minutes", self.offsets_retention_ms, 1),
            ("offsets.retention.check.interval.ms", self.offsets_retention_check_interval_ms, 1),
        ):
            if value < least:
                raise ValueError(f"{name} is at least {least}")
