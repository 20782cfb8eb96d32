"""The controller's settings, under Kafka's names (dots for underscores)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kraftpy.runtime.limits import INT16_MAX, INT32_MAX, INT64_MAX, check_limits


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """Checked once, when it is made; a wrong value is a `ValueError` that names the setting."""

    broker_session_timeout_ms: int = 3_000
    """A broker that has been silent for so long is fenced: its leaderships move, it leaves every in-sync set
    (broker.session.timeout.ms). Kafka's 9,000 would make a paused node stop its partitions for nine seconds; a record
    must wait at most five. Six heartbeats fit in, so that it takes a real pause and not a lost packet. A process that
    died is noticed by its refused connections long before. Raising it delays failover from silence only."""

    broker_heartbeat_interval_ms: int = 500
    """How often brokers report (broker.heartbeat.interval.ms; Kafka: 2,000). It bounds how long a started broker waits
    to be unfenced, and each step of a controlled shutdown; who is late by another is looked for. One costs about 0.5 ms
    of both sides' time."""

    initial_broker_registration_timeout_ms: int = 60_000
    """How long a starting broker waits until its id is free, where the controller counts its former life, or another
    process, as alive (initial.broker.registration.timeout.ms). New controllers, late heartbeats and pauses lengthen a
    session, so it is much longer than one; a second node that was given the same id by mistake ends after it."""

    probe_interval_ms: int = 500
    """Least distance of two probes of one broker: whatever many brokers report, this bounds what it causes."""

    stall_ms: int = 500
    """A tick that comes this much too late means that this node was paused or overloaded. It then cannot tell who was
    silent, and gives every broker the time back, unless that happens again and again."""

    auto_leader_rebalance_enable: bool = True
    """Whether leaderships go back to preferred leaders by themselves (auto.leader.rebalance.enable)."""

    leader_imbalance_check_interval_seconds: int = 300
    """Between looks at the spread of leaders (leader.imbalance.check.interval.seconds). Each move costs clients a
    retry; less often leaves load uneven for longer after a restart."""

    leader_imbalance_per_broker_percentage: int = 10
    """A broker gets its leaderships back when more than this share of those that it is preferred for are elsewhere
    (leader.imbalance.per.broker.percentage)."""

    leader_moves_max: int = 1_000
    """Leaderships that one rebalance moves; the rest follow a second later. More make more clients retry at once."""

    num_partitions: int = 1
    """Partitions of a topic whose creator did not say (num.partitions)."""

    default_replication_factor: int = 1
    """Replicas of a topic whose creator did not say (default.replication.factor)."""

    delete_topic_enable: bool = True
    """Whether topics can be deleted (delete.topic.enable)."""

    partitions_per_request_max: int = 10_000
    """Partitions that one request may create: they are one atomic entry of the quorum's log, about 60 bytes each."""

    items_per_request_max: int = 10_000
    """Topics, resources or partitions that one request may name."""

    records_per_entry_max: int = 5_000
    """Where changes need not be atomic (failover), so many records make one entry. More make fewer, larger flushes."""

    topic_defaults: Mapping[str, str] = field(default_factory=dict)
    """Topic settings whose defaults this node's own file replaces. Should be equal on all voters."""

    def __post_init__(self) -> None:
        check_limits(
            ("broker.session.timeout.ms", self.broker_session_timeout_ms, 1, INT32_MAX),
            ("broker.heartbeat.interval.ms", self.broker_heartbeat_interval_ms, 1, INT32_MAX),
            ("initial.broker.registration.timeout.ms", self.initial_broker_registration_timeout_ms, 1, INT32_MAX),
            ("probe_interval_ms", self.probe_interval_ms, 1, INT32_MAX),
            ("stall_ms", self.stall_ms, 1, INT32_MAX),
            ("leader.imbalance.check.interval.seconds", self.leader_imbalance_check_interval_seconds, 1, INT64_MAX),
            ("leader.imbalance.per.broker.percentage", self.leader_imbalance_per_broker_percentage, 0, INT32_MAX),
            ("leader_moves_max", self.leader_moves_max, 1, INT32_MAX),
            ("num.partitions", self.num_partitions, 1, INT32_MAX),
            ("default.replication.factor", self.default_replication_factor, 1, INT16_MAX),
            ("partitions_per_request_max", self.partitions_per_request_max, 1, INT32_MAX),
            ("items_per_request_max", self.items_per_request_max, 1, INT32_MAX),
            ("records_per_entry_max", self.records_per_entry_max, 1, INT32_MAX),
        )
        if self.broker_heartbeat_interval_ms * 2 > self.broker_session_timeout_ms:
            raise ValueError("broker.session.timeout.ms must hold at least two broker.heartbeat.interval.ms")
