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
class NodeSetting:
    """One setting that a node is given at its start, and where its value goes."""

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
    NodeSetting("node.id", "node.node_id"),
    NodeSetting("process.roles", "node.roles"),
    NodeSetting("controller.quorum.voters", "node.voters"),
    NodeSetting(
        "controller.listener.names",
        default="GRPC",
        documentation="The name, in listeners, of the one that serves calls: the quorum's, other nodes' and the SDK's.",
    ),
    NodeSetting("listeners", "node.framed"),
    NodeSetting(
        "advertised.listeners",
        documentation="What others are told to use where that differs from listeners: NAME://HOST:PORT, comma apart.",
    ),
    NodeSetting(
        "listener.security.protocol.map",
        documentation="Which protocol each listener name has; PLAINTEXT is the only one yet.",
    ),
    NodeSetting("log.dirs", "node.log_dirs"),
    NodeSetting("num.recovery.threads.per.data.dir", "node.recovery_threads"),
    NodeSetting("metadata.log.dir", documentation="Where the quorum's log lies: always the first of log.dirs."),
    NodeSetting("broker.rack", "node.rack"),
    NodeSetting("host.label", "node.host_label"),
    NodeSetting("insecure.listeners.enable", "node.insecure_listeners"),
    NodeSetting("log.format", "node.log_format", values=("plain", "json")),
    NodeSetting("log.level", "node.log_level", values=("DEBUG", "INFO", "WARNING", "ERROR")),
    # topics
    NodeSetting("num.partitions", "controller.num_partitions"),
    NodeSetting("default.replication.factor", "controller.default_replication_factor"),
    NodeSetting("auto.create.topics.enable", "node.auto_create_topics"),
    NodeSetting("delete.topic.enable", "controller.delete_topic_enable"),
    NodeSetting("min.insync.replicas", topic="min.insync.replicas", default="1"),
    NodeSetting("unclean.leader.election.enable", topic="unclean.leader.election.enable", default="false"),
    NodeSetting("compression.type", "log.compression_type", "compression.type"),
    NodeSetting("compression.gzip.level", "log.compression_gzip_level", "compression.gzip.level"),
    NodeSetting("compression.lz4.level", "log.compression_lz4_level", "compression.lz4.level"),
    NodeSetting("compression.zstd.level", "log.compression_zstd_level", "compression.zstd.level"),
    # the log; of one quantity in several units, the finest that is given counts
    NodeSetting("log.segment.bytes", "log.segment_bytes", "segment.bytes"),
    NodeSetting("log.roll.hours", "log.segment_ms", "segment.ms", _HOUR_MS),
    NodeSetting("log.roll.ms", "log.segment_ms", "segment.ms"),
    NodeSetting("log.index.size.max.bytes", "log.segment_index_bytes", "segment.index.bytes"),
    NodeSetting("log.index.interval.bytes", "log.index_interval_bytes", "index.interval.bytes"),
    NodeSetting("log.retention.hours", "log.retention_ms", "retention.ms", _HOUR_MS),
    NodeSetting("log.retention.minutes", "log.retention_ms", "retention.ms", _MINUTE_MS),
    NodeSetting("log.retention.ms", "log.retention_ms", "retention.ms"),
    NodeSetting("log.retention.bytes", "log.retention_bytes", "retention.bytes"),
    NodeSetting("log.retention.check.interval.ms", "replication.retention_check_interval_ms"),
    NodeSetting("message.max.bytes", "log.max_message_bytes", "max.message.bytes"),
    NodeSetting("log.message.timestamp.type", "log.timestamp_type", "message.timestamp.type"),
    NodeSetting(
        "log.message.timestamp.before.max.ms", "log.timestamp_before_max_ms", "message.timestamp.before.max.ms"
    ),
    NodeSetting("log.message.timestamp.after.max.ms", "log.timestamp_after_max_ms", "message.timestamp.after.max.ms"),
    NodeSetting("log.flush.interval.messages", "log.flush_messages", "flush.messages"),
    NodeSetting("log.flush.interval.ms", "log.flush_interval_ms", "flush.ms"),
    NodeSetting("log.segment.delete.delay.ms", "log.file_delete_delay_ms", "file.delete.delay.ms"),
    NodeSetting("log.cleanup.policy", "log.cleanup_policy", "cleanup.policy"),
    NodeSetting("log.cleaner.enable", "compaction.enable"),
    NodeSetting("log.cleaner.threads", "compaction.threads"),
    NodeSetting("log.cleaner.io.max.bytes.per.second", "compaction.bytes_per_second"),
    NodeSetting("log.cleaner.backoff.ms", "compaction.backoff_ms"),
    NodeSetting("log.cleaner.dedupe.buffer.size", "compaction.map_bytes"),
    NodeSetting("log.cleaner.delete.retention.ms", "log.delete_retention_ms", "delete.retention.ms"),
    NodeSetting("log.cleaner.min.compaction.lag.ms", "log.min_compaction_lag_ms", "min.compaction.lag.ms"),
    NodeSetting("log.cleaner.max.compaction.lag.ms", "log.max_compaction_lag_ms", "max.compaction.lag.ms"),
    NodeSetting("log.cleaner.min.cleanable.ratio", "log.min_cleanable_dirty_ratio", "min.cleanable.dirty.ratio"),
    NodeSetting("log.scrub.enable", "scrub.enable"),
    NodeSetting("log.scrub.interval.ms", "scrub.interval_ms"),
    NodeSetting("log.scrub.io.max.bytes.per.second", "scrub.bytes_per_second"),
    NodeSetting("producer.id.expiration.ms", "log.producer_id_expiration_ms"),
    # replication
    NodeSetting("replica.lag.time.max.ms", "replication.replica_lag_time_max_ms"),
    NodeSetting("replica.fetch.wait.max.ms", "replication.fetch_wait_max_ms"),
    NodeSetting("replica.fetch.min.bytes", "replication.fetch_bytes_min"),
    NodeSetting("replica.fetch.max.bytes", "replication.fetch_partition_bytes_max"),
    NodeSetting("replica.fetch.response.max.bytes", "replication.fetch_response_bytes_max"),
    NodeSetting("replica.fetch.backoff.ms", "replication.fetch_backoff_ms"),
    NodeSetting("replica.selector.class", "replication.replica_selector", values=("", LEADER_ONLY, RACK_AWARE)),
    NodeSetting("replica.socket.timeout.ms", "replication.fetch_request_timeout_ms"),
    NodeSetting("replica.high.watermark.checkpoint.interval.ms", "replication.high_watermark_checkpoint_interval_ms"),
    NodeSetting("max.incremental.fetch.session.cache.slots", "replication.fetch_sessions_max"),
    NodeSetting("num.replica.alter.log.dirs.threads", "replication.alter_log_dirs_threads"),
    NodeSetting("replica.alter.log.dirs.io.max.bytes.per.second", "replication.alter_log_dirs_bytes_per_second"),
    NodeSetting("inter.broker.listener.name", "replication.listener_name"),
    NodeSetting("transaction.partition.verification.enable", "replication.transaction_partition_verification_enable"),
    # the quorum
    NodeSetting("controller.quorum.fetch.timeout.ms", "raft.fetch_timeout_ms"),
    NodeSetting("controller.quorum.election.timeout.ms", "raft.election_timeout_ms"),
    NodeSetting("controller.quorum.election.backoff.max.ms", "raft.election_backoff_ms_max"),
    NodeSetting("controller.quorum.retry.backoff.ms", "raft.retry_backoff_ms"),
    # the controller
    NodeSetting("broker.session.timeout.ms", "controller.broker_session_timeout_ms"),
    NodeSetting("broker.heartbeat.interval.ms", "controller.broker_heartbeat_interval_ms"),
    NodeSetting("initial.broker.registration.timeout.ms", "controller.initial_broker_registration_timeout_ms"),
    NodeSetting("auto.leader.rebalance.enable", "controller.auto_leader_rebalance_enable"),
    NodeSetting("leader.imbalance.check.interval.seconds", "controller.leader_imbalance_check_interval_seconds"),
    NodeSetting("leader.imbalance.per.broker.percentage", "controller.leader_imbalance_per_broker_percentage"),
    # the coordinators' topics
    NodeSetting("offsets.topic.num.partitions", "state_topics.offsets_partitions"),
    NodeSetting("offsets.topic.replication.factor", "state_topics.offsets_replication_factor"),
    NodeSetting("offsets.topic.segment.bytes", "state_topics.offsets_segment_bytes"),
    NodeSetting("transaction.state.log.num.partitions", "state_topics.transactions_partitions"),
    NodeSetting("transaction.state.log.replication.factor", "state_topics.transactions_replication_factor"),
    NodeSetting("transaction.state.log.min.isr", "state_topics.transactions_min_isr"),
    NodeSetting("transaction.state.log.segment.bytes", "state_topics.transactions_segment_bytes"),
    # groups
    NodeSetting("group.min.session.timeout.ms", "groups.session_timeout_min_ms"),
    NodeSetting("group.max.session.timeout.ms", "groups.session_timeout_max_ms"),
    NodeSetting("group.initial.rebalance.delay.ms", "groups.initial_rebalance_delay_ms"),
    NodeSetting("group.max.size", "groups.members_max"),
    NodeSetting("group.consumer.session.timeout.ms", "groups.consumer_session_timeout_ms"),
    NodeSetting("group.consumer.min.session.timeout.ms", "groups.consumer_session_timeout_min_ms"),
    NodeSetting("group.consumer.max.session.timeout.ms", "groups.consumer_session_timeout_max_ms"),
    NodeSetting("group.consumer.heartbeat.interval.ms", "groups.consumer_heartbeat_interval_ms"),
    NodeSetting("group.consumer.min.heartbeat.interval.ms", "groups.consumer_heartbeat_interval_min_ms"),
    NodeSetting("group.consumer.max.heartbeat.interval.ms", "groups.consumer_heartbeat_interval_max_ms"),
    NodeSetting("group.consumer.max.size", "groups.consumer_members_max"),
    NodeSetting("group.consumer.assignors", "groups.consumer_assignors"),
    NodeSetting(
        "group.consumer.migration.policy",
        "groups.consumer_migration_policy",
        values=("disabled", "downgrade", "upgrade", "bidirectional"),
    ),
    NodeSetting("group.consumer.regex.refresh.interval.ms", "groups.consumer_regex_refresh_interval_ms"),
    NodeSetting("offset.metadata.max.bytes", "groups.offset_metadata_bytes_max"),
    NodeSetting("offsets.commit.timeout.ms", "groups.offsets_commit_timeout_ms"),
    NodeSetting("offsets.retention.minutes", "groups.offsets_retention_ms", scale=_MINUTE_MS),
    NodeSetting("offsets.retention.check.interval.ms", "groups.offsets_retention_check_interval_ms"),
    # transactions
    NodeSetting("transaction.max.timeout.ms", "transactions.timeout_max_ms"),
    NodeSetting("transactional.id.expiration.ms", "transactions.id_expiration_ms"),
    NodeSetting(
        "transaction.remove.expired.transaction.cleanup.interval.ms", "transactions.id_expiration_check_interval_ms"
    ),
    # connections of the framed listeners
    NodeSetting("socket.request.max.bytes", "network.frame_bytes_max"),
    NodeSetting("socket.send.buffer.bytes", "network.send_buffer_bytes"),
    NodeSetting("socket.listen.backlog.size", "network.backlog"),
    NodeSetting("max.connections", "network.connections_max"),
    NodeSetting("max.connections.per.ip", "network.connections_per_address_max"),
    NodeSetting("connections.max.idle.ms", "network.idle_ms"),
    # stopping
    NodeSetting("controlled.shutdown.enable", "node.controlled_shutdown"),
    NodeSetting("controlled.shutdown.timeout.ms", "node.controlled_shutdown_timeout_ms"),
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
