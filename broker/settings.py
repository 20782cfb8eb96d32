"""The settings that a node knows, under Kafka's names: which field each one sets, and what becomes of the others.

A setting's default, its meaning and what raising it costs stand in one place, at the field that it sets; `describe`
and docs/configuration.md read them there. Kafka's settings that kraftpy does not have fall into four kinds, because
silence would mislead: those that tune a JVM (no effect, one notice), those that something replaces (a sentence), those
of parts that are still to come (no effect, one notice), and those of security (refused, unless they ask
for none: an operator who sets them relies on them).
"""

import difflib
from dataclasses import dataclass
from typing import Final

from broker.replication.config import LEADER_ONLY, RACK_AWARE
from kraftpy.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting and where its value goes."""

    name: str
    target: str = ""  # component.field of NodeConfig, "node.…" for its own; empty: none, or read by name
    topic: str = ""  # the topic setting of which this is the cluster's default
    scale: int = 1  # multiplies a number given: log.retention.hours sets milliseconds
    values: tuple[str, ...] = ()  # the only ones, where there are few
    default: str = ""  # shown where no field has it
    documentation: str = ""  # likewise


_HOUR_MS: Final = 3_600_000
_MINUTE_MS: Final = 60_000

SETTINGS: Final = (
    # who and where; read by name in broker.config
    Setting("node.id", "node.node_id"),
    Setting("process.roles", "node.roles"),
    Setting("controller.quorum.voters", "node.voters"),
    Setting(
        "controller.listener.names",
        default="GRPC",
        documentation="The name, in listeners, of the one that serves calls: the quorum's, other nodes' and the SDK's.",
    ),
    Setting("listeners", "node.framed"),
    Setting(
        "advertised.listeners",
        documentation="What others are told to use where that differs from listeners: NAME://HOST:PORT, comma apart.",
    ),
    Setting(
        "listener.security.protocol.map",
        documentation="Which protocol each listener name has; PLAINTEXT is the only one yet.",
    ),
    Setting("log.dirs", "node.log_dirs"),
    Setting("num.recovery.threads.per.data.dir", "node.recovery_threads"),
    Setting("metadata.log.dir", documentation="Where the quorum's log lies: always the first of log.dirs."),
    Setting("broker.rack", "node.rack"),
    Setting("host.label", "node.host_label"),
    Setting("insecure.listeners.enable", "node.insecure_listeners"),
    Setting("log.format", "node.log_format", values=("plain", "json")),
    Setting("log.level", "node.log_level", values=("DEBUG", "INFO", "WARNING", "ERROR")),
    # topics
    Setting("num.partitions", "controller.num_partitions"),
    Setting("default.replication.factor", "controller.default_replication_factor"),
    Setting("auto.create.topics.enable", "node.auto_create_topics"),
    Setting("delete.topic.enable", "controller.delete_topic_enable"),
    Setting("min.insync.replicas", topic="min.insync.replicas", default="1"),
    Setting("unclean.leader.election.enable", topic="unclean.leader.election.enable", default="false"),
    Setting("compression.type", "log.compression_type", "compression.type"),
    Setting("compression.gzip.level", "log.compression_gzip_level", "compression.gzip.level"),
    Setting("compression.lz4.level", "log.compression_lz4_level", "compression.lz4.level"),
    Setting("compression.zstd.level", "log.compression_zstd_level", "compression.zstd.level"),
    # the log; of one quantity in several units, the finest that is given counts
    Setting("log.segment.bytes", "log.segment_bytes", "segment.bytes"),
    Setting("log.roll.hours", "log.segment_ms", "segment.ms", _HOUR_MS),
    Setting("log.roll.ms", "log.segment_ms", "segment.ms"),
    Setting("log.index.size.max.bytes", "log.segment_index_bytes", "segment.index.bytes"),
    Setting("log.index.interval.bytes", "log.index_interval_bytes", "index.interval.bytes"),
    Setting("log.retention.hours", "log.retention_ms", "retention.ms", _HOUR_MS),
    Setting("log.retention.minutes", "log.retention_ms", "retention.ms", _MINUTE_MS),
    Setting("log.retention.ms", "log.retention_ms", "retention.ms"),
    Setting("log.retention.bytes", "log.retention_bytes", "retention.bytes"),
    Setting("log.retention.check.interval.ms", "replication.retention_check_interval_ms"),
    Setting("message.max.bytes", "log.max_message_bytes", "max.message.bytes"),
    Setting("log.message.timestamp.type", "log.timestamp_type", "message.timestamp.type"),
    Setting("log.message.timestamp.before.max.ms", "log.timestamp_before_max_ms", "message.timestamp.before.max.ms"),
    Setting("log.message.timestamp.after.max.ms", "log.timestamp_after_max_ms", "message.timestamp.after.max.ms"),
    Setting("log.flush.interval.messages", "log.flush_messages", "flush.messages"),
    Setting("log.flush.interval.ms", "log.flush_interval_ms", "flush.ms"),
    Setting("log.segment.delete.delay.ms", "log.file_delete_delay_ms", "file.delete.delay.ms"),
    Setting("log.cleanup.policy", "log.cleanup_policy", "cleanup.policy"),
    Setting("log.cleaner.enable", "compaction.enable"),
    Setting("log.cleaner.threads", "compaction.threads"),
    Setting("log.cleaner.io.max.bytes.per.second", "compaction.bytes_per_second"),
    Setting("log.cleaner.backoff.ms", "compaction.backoff_ms"),
    Setting("log.cleaner.dedupe.buffer.size", "compaction.map_bytes"),
    Setting("log.cleaner.delete.retention.ms", "log.delete_retention_ms", "delete.retention.ms"),
    Setting("log.cleaner.min.compaction.lag.ms", "log.min_compaction_lag_ms", "min.compaction.lag.ms"),
    Setting("log.cleaner.max.compaction.lag.ms", "log.max_compaction_lag_ms", "max.compaction.lag.ms"),
    Setting("log.cleaner.min.cleanable.ratio", "log.min_cleanable_dirty_ratio", "min.cleanable.dirty.ratio"),
    Setting("log.scrub.enable", "scrub.enable"),
    Setting("log.scrub.interval.ms", "scrub.interval_ms"),
    Setting("log.scrub.io.max.bytes.per.second", "scrub.bytes_per_second"),
    Setting("producer.id.expiration.ms", "log.producer_id_expiration_ms"),
    # replication
    Setting("replica.lag.time.max.ms", "replication.replica_lag_time_max_ms"),
    Setting("replica.fetch.wait.max.ms", "replication.fetch_wait_max_ms"),
    Setting("replica.fetch.min.bytes", "replication.fetch_bytes_min"),
    Setting("replica.fetch.max.bytes", "replication.fetch_partition_bytes_max"),
    Setting("replica.fetch.response.max.bytes", "replication.fetch_response_bytes_max"),
    Setting("replica.fetch.backoff.ms", "replication.fetch_backoff_ms"),
    Setting("replica.selector.class", "replication.replica_selector", values=("", LEADER_ONLY, RACK_AWARE)),
    Setting("replica.socket.timeout.ms", "replication.fetch_request_timeout_ms"),
    Setting("replica.high.watermark.checkpoint.interval.ms", "replication.high_watermark_checkpoint_interval_ms"),
    Setting("max.incremental.fetch.session.cache.slots", "replication.fetch_sessions_max"),
    Setting("num.replica.alter.log.dirs.threads", "replication.alter_log_dirs_threads"),
    Setting("replica.alter.log.dirs.io.max.bytes.per.second", "replication.alter_log_dirs_bytes_per_second"),
    Setting("inter.broker.listener.name", "replication.listener_name"),
    Setting("transaction.partition.verification.enable", "replication.transaction_partition_verification_enable"),
    # the quorum
    Setting("controller.quorum.fetch.timeout.ms", "raft.fetch_timeout_ms"),
    Setting("controller.quorum.election.timeout.ms", "raft.election_timeout_ms"),
    Setting("controller.quorum.election.backoff.max.ms", "raft.election_backoff_ms_max"),
    Setting("controller.quorum.retry.backoff.ms", "raft.retry_backoff_ms"),
    # the controller
    Setting("broker.session.timeout.ms", "controller.broker_session_timeout_ms"),
    Setting("broker.heartbeat.interval.ms", "controller.broker_heartbeat_interval_ms"),
    Setting("initial.broker.registration.timeout.ms", "controller.initial_broker_registration_timeout_ms"),
    Setting("auto.leader.rebalance.enable", "controller.auto_leader_rebalance_enable"),
    Setting("leader.imbalance.check.interval.seconds", "controller.leader_imbalance_check_interval_seconds"),
    Setting("leader.imbalance.per.broker.percentage", "controller.leader_imbalance_per_broker_percentage"),
    # the coordinators' topics
    Setting("offsets.topic.num.partitions", "state_topics.offsets_partitions"),
    Setting("offsets.topic.replication.factor", "state_topics.offsets_replication_factor"),
    Setting("offsets.topic.segment.bytes", "state_topics.offsets_segment_bytes"),
    Setting("transaction.state.log.num.partitions", "state_topics.transactions_partitions"),
    Setting("transaction.state.log.replication.factor", "state_topics.transactions_replication_factor"),
    Setting("transaction.state.log.min.isr", "state_topics.transactions_min_isr"),
    Setting("transaction.state.log.segment.bytes", "state_topics.transactions_segment_bytes"),
    # groups
    Setting("group.min.session.timeout.ms", "groups.session_timeout_min_ms"),
    Setting("group.max.session.timeout.ms", "groups.session_timeout_max_ms"),
    Setting("group.initial.rebalance.delay.ms", "groups.initial_rebalance_delay_ms"),
    Setting("group.max.size", "groups.members_max"),
    Setting("group.consumer.session.timeout.ms", "groups.consumer_session_timeout_ms"),
    Setting("group.consumer.min.session.timeout.ms", "groups.consumer_session_timeout_min_ms"),
    Setting("group.consumer.max.session.timeout.ms", "groups.consumer_session_timeout_max_ms"),
    Setting("group.consumer.heartbeat.interval.ms", "groups.consumer_heartbeat_interval_ms"),
    Setting("group.consumer.min.heartbeat.interval.ms", "groups.consumer_heartbeat_interval_min_ms"),
    Setting("group.consumer.max.heartbeat.interval.ms", "groups.consumer_heartbeat_interval_max_ms"),
    Setting("group.consumer.max.size", "groups.consumer_members_max"),
    Setting("group.consumer.assignors", "groups.consumer_assignors"),
    Setting(
        "group.consumer.migration.policy",
        "groups.consumer_migration_policy",
        values=("disabled", "downgrade", "upgrade", "bidirectional"),
    ),
    Setting("group.consumer.regex.refresh.interval.ms", "groups.consumer_regex_refresh_interval_ms"),
    Setting("offset.metadata.max.bytes", "groups.offset_metadata_bytes_max"),
    Setting("offsets.commit.timeout.ms", "groups.offsets_commit_timeout_ms"),
    Setting("offsets.retention.minutes", "groups.offsets_retention_ms", scale=_MINUTE_MS),
    Setting("offsets.retention.check.interval.ms", "groups.offsets_retention_check_interval_ms"),
    # transactions
    Setting("transaction.max.timeout.ms", "transactions.timeout_max_ms"),
    Setting("transactional.id.expiration.ms", "transactions.id_expiration_ms"),
    Setting(
        "transaction.remove.expired.transaction.cleanup.interval.ms", "transactions.id_expiration_check_interval_ms"
    ),
    # connections of the framed listeners
    Setting("socket.request.max.bytes", "network.frame_bytes_max"),
    Setting("socket.send.buffer.bytes", "network.send_buffer_bytes"),
    Setting("socket.listen.backlog.size", "network.backlog"),
    Setting("max.connections", "network.connections_max"),
    Setting("max.connections.per.ip", "network.connections_per_address_max"),
    Setting("connections.max.idle.ms", "network.idle_ms"),
    # stopping
    Setting("controlled.shutdown.enable", "node.controlled_shutdown"),
    Setting("controlled.shutdown.timeout.ms", "node.controlled_shutdown_timeout_ms"),
)

BY_NAME: Final = {setting.name: setting for setting in SETTINGS}

ALIASES: Final = {"broker.id": "node.id", "log.dir": "log.dirs"}

TUNES_A_JVM: Final = frozenset(
    """
    num.network.threads num.io.threads background.threads num.replica.fetchers
    log.cleaner.io.buffer.size log.cleaner.io.buffer.load.factor
    queued.max.requests queued.max.request.bytes
    metric.reporters metrics.num.samples metrics.sample.window.ms metrics.recording.level auto.include.jmx.reporter
    kafka.metrics.reporters kafka.metrics.polling.interval.secs replica.socket.receive.buffer.bytes
    broker.id.generation.enable reserved.broker.max.id log.preallocate fetch.purgatory.purge.interval.requests
    producer.purgatory.purge.interval.requests inter.broker.protocol.version log.message.format.version
    socket.receive.buffer.bytes log.flush.scheduler.interval.ms log.flush.offset.checkpoint.interval.ms
    log.flush.start.offset.checkpoint.interval.ms controlled.shutdown.max.retries controlled.shutdown.retry.backoff.ms
    offsets.load.buffer.size offsets.commit.required.acks offsets.topic.compression.codec
    group.coordinator.threads group.coordinator.append.linger.ms group.coordinator.rebalance.protocols
    transaction.state.log.load.buffer.size transaction.abort.timed.out.transaction.cleanup.interval.ms
    """.split()
)

TO_COME: Final = (  # prefixes
    ("group.share.", "share groups"),
    ("group.streams.", "the groups of Kafka Streams"),
    ("quota.", "quotas"),
    ("client.quota.", "quotas"),
    ("share.", "share groups"),
    ("remote.log.", "tiered storage"),
)

SECURITY: Final = ("ssl.", "sasl.", "authorizer.", "super.users", "security.", "principal.", "delegation.token.")

ASKS_FOR_NO_SECURITY: Final = {"security.inter.broker.protocol": "PLAINTEXT"}  # Kafka's defaults that files spell out

REPLACED: Final = {
    "zookeeper.connect": "there is no ZooKeeper: controller.quorum.voters (--peers) lists the nodes that coordinate",
    "host.name": "listeners=PLAINTEXT://HOST:PORT says where to listen",
    "port": "listeners=PLAINTEXT://HOST:PORT says where to listen",
    "advertised.host.name": "advertised.listeners says what clients are told",
    "advertised.port": "advertised.listeners says what clients are told",
    "controller.quorum.bootstrap.servers": "controller.quorum.voters (--peers) lists the voters",
}


def sort_out(values: dict[str, str]) -> tuple[dict[str, str], list[str], list[str]]:
    """Canonical names and what to say of the rest: (known settings, notices, warnings about unknown names).

    Raises `ConfigurationError` for a setting of security, which cannot be honoured yet.
    """
    known: dict[str, str] = {}
    notices: list[str] = []
    unknown: list[str] = []
    idle: dict[str, list[str]] = {}
    for name in sorted(values, key=lambda name: (name in ALIASES, name)):
        canonical = ALIASES.get(name, name)
        if canonical in BY_NAME:
            known.setdefault(canonical, values[name])  # the name itself before its alias
        elif sentence := _replacement(name):
            notices.append(f"{name} has no effect: {sentence}")
        elif reason := _idle_reason(name):
            idle.setdefault(reason, []).append(name)
        elif name.startswith(SECURITY) and values[name].strip().upper() not in ("", ASKS_FOR_NO_SECURITY.get(name)):
            raise ConfigurationError(
                f"{name} cannot be honoured: kraftpy has neither authentication nor authorization yet. Remove it only "
                f"if everybody who reaches this node may read, write and administer everything."
            )
        elif not name.startswith(SECURITY):
            unknown.append(f"unknown setting {name}{suggestion(name)}")
    notices += [f"{reason}: {', '.join(names)}" for reason, names in idle.items()]
    return known, notices, unknown


def suggestion(name: str) -> str:
    """`; did you mean …?` with the nearest known name, or nothing."""
    nearest = difflib.get_close_matches(name, BY_NAME, n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _replacement(name: str) -> str | None:
    if name.startswith("zookeeper."):
        return REPLACED["zookeeper.connect"]
    return REPLACED.get(name)


def _idle_reason(name: str) -> str | None:
    if name in TUNES_A_JVM:
        return "settings that tune a JVM, its threads or old formats have no effect here"
    part = next((part for prefix, part in TO_COME if name.startswith(prefix)), None)
    return f"settings of {part} have no effect yet" if part else None
