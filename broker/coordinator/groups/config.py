"""The settings of groups, under Kafka's names (`group.*`, `offset.*`, `offsets.*`)."""

from dataclasses import dataclass

from kraftpy.runtime.limits import INT32_MAX, INT64_MAX, check_limits

_MINUTE_MS = 60_000
_DAY_MS = 24 * 60 * _MINUTE_MS

ASSIGNOR_NAMES = ("uniform", "range")
REGEX_REFRESH_INTERVAL_MIN_MS = 10_000
MIGRATION_POLICIES = ("disabled", "downgrade", "upgrade", "bidirectional")


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
    saves rebalances where many start together; the first member waits that long. `kraftpy dev` and
    `kraftpy.testing.Cluster` set 0, as Kafka's quick start does."""

    members_max: int = INT32_MAX
    """Members of one classic group (group.max.size). Each rebalance costs by their number, and by its square in bytes
    where their subscriptions are long."""

    consumer_session_timeout_ms: int = 45_000
    """How long a member of a consumer group (KIP-848) may be silent (group.consumer.session.timeout.ms). Longer: what a
    crashed one had lies idle for longer."""

    consumer_session_timeout_min_ms: int = 45_000
    """The shortest that may be set (group.consumer.min.session.timeout.ms)."""

    consumer_session_timeout_max_ms: int = 60_000
    """The longest (group.consumer.max.session.timeout.ms)."""

    consumer_heartbeat_interval_ms: int = 5_000
    """How often members of consumer groups are to send heartbeats (group.consumer.heartbeat.interval.ms). That is also
    how soon they hear of a new assignment. Shorter costs requests."""

    consumer_heartbeat_interval_min_ms: int = 5_000
    """The shortest that may be set (group.consumer.min.heartbeat.interval.ms)."""

    consumer_heartbeat_interval_max_ms: int = 15_000
    """The longest (group.consumer.max.heartbeat.interval.ms)."""

    consumer_members_max: int = INT32_MAX
    """Members of one consumer group (group.consumer.max.size). An assignment costs by their number."""

    consumer_assignors: tuple[str, ...] = ("uniform", "range")
    """How the coordinator may assign (group.consumer.assignors); the first where members do not say."""

    consumer_migration_policy: str = "bidirectional"
    """Whether a group changes its type while it has members (group.consumer.migration.policy): `upgrade` to the
    consumer protocol when the first member speaks it, `downgrade` when the last one leaves, `bidirectional`, or
    `disabled`."""

    consumer_regex_refresh_interval_ms: int = 600_000
    """How often patterns of topics are matched anew although no topic came or went
    (group.consumer.regex.refresh.interval.ms)."""

    offset_metadata_bytes_max: int = 4_096
    """What a client may write beside an offset (offset.metadata.max.bytes). It stays in memory."""

    offsets_commit_timeout_ms: int = 5_000
    """How long a commit of offsets, or any other change of a group, may wait for its replicas before the client is told
    to try again (offsets.commit.timeout.ms). Longer rides out slow replicas; clients hear later that there are too
    few."""

    offsets_retention_ms: int = 7 * _DAY_MS
    """How long offsets are kept after their group lost its last member, or stopped to read the topic
    (offsets.retention.minutes, KIP-211)."""

    offsets_retention_check_interval_ms: int = 10 * _MINUTE_MS
    """Between looks for such offsets (offsets.retention.check.interval.ms). A look costs by the number of offsets."""

    def __post_init__(self) -> None:
        check_limits(
            ("group.min.session.timeout.ms", self.session_timeout_min_ms, 1, INT32_MAX),
            ("group.max.session.timeout.ms", self.session_timeout_max_ms, 1, INT32_MAX),
            ("group.consumer.session.timeout.ms", self.consumer_session_timeout_ms, 1, INT32_MAX),
            ("group.consumer.min.session.timeout.ms", self.consumer_session_timeout_min_ms, 1, INT32_MAX),
            ("group.consumer.max.session.timeout.ms", self.consumer_session_timeout_max_ms, 1, INT32_MAX),
            ("group.consumer.heartbeat.interval.ms", self.consumer_heartbeat_interval_ms, 1, INT32_MAX),
            ("group.consumer.min.heartbeat.interval.ms", self.consumer_heartbeat_interval_min_ms, 1, INT32_MAX),
            ("group.consumer.max.heartbeat.interval.ms", self.consumer_heartbeat_interval_max_ms, 1, INT32_MAX),
            ("group.consumer.max.size", self.consumer_members_max, 1, INT32_MAX),
            (
                "group.consumer.regex.refresh.interval.ms",
                self.consumer_regex_refresh_interval_ms,
                REGEX_REFRESH_INTERVAL_MIN_MS,
                INT32_MAX,
            ),
            ("group.initial.rebalance.delay.ms", self.initial_rebalance_delay_ms, 0, INT32_MAX),
            ("group.max.size", self.members_max, 1, INT32_MAX),
            ("offset.metadata.max.bytes", self.offset_metadata_bytes_max, 0, INT32_MAX),
            ("offsets.commit.timeout.ms", self.offsets_commit_timeout_ms, 1, INT32_MAX),
            ("offsets.retention.minutes, in ms,", self.offsets_retention_ms, 1, INT32_MAX * _MINUTE_MS),
            ("offsets.retention.check.interval.ms", self.offsets_retention_check_interval_ms, 1, INT64_MAX),
        )
        if self.session_timeout_min_ms > self.session_timeout_max_ms:
            raise ValueError("group.min.session.timeout.ms is at most group.max.session.timeout.ms")
        self._check_consumer_groups()

    def _check_consumer_groups(self) -> None:
        for name, least, value, most in (
            (
                "session.timeout.ms",
                self.consumer_session_timeout_min_ms,
                self.consumer_session_timeout_ms,
                self.consumer_session_timeout_max_ms,
            ),
            (
                "heartbeat.interval.ms",
                self.consumer_heartbeat_interval_min_ms,
                self.consumer_heartbeat_interval_ms,
                self.consumer_heartbeat_interval_max_ms,
            ),
        ):
            if not least <= value <= most:
                raise ValueError(
                    f"group.consumer.{name} is between group.consumer.min.{name} and group.consumer.max.{name}"
                )
        if self.consumer_heartbeat_interval_ms >= self.consumer_session_timeout_ms:
            raise ValueError("group.consumer.heartbeat.interval.ms is below group.consumer.session.timeout.ms")
        if not self.consumer_assignors or any(name not in ASSIGNOR_NAMES for name in self.consumer_assignors):
            raise ValueError(f"group.consumer.assignors are some of {', '.join(ASSIGNOR_NAMES)}")
        if self.consumer_migration_policy not in MIGRATION_POLICIES:
            raise ValueError(f"group.consumer.migration.policy is one of {', '.join(MIGRATION_POLICIES)}")

    @property
    def upgrades(self) -> bool:
        """Whether classic groups become consumer groups while they have members."""
        return self.consumer_migration_policy in ("upgrade", "bidirectional")

    @property
    def downgrades(self) -> bool:
        return self.consumer_migration_policy in ("downgrade", "bidirectional")
