"""The settings of a topic: every name that Kafka 4 has, with its type, default, limits and meaning.

Defaults are Kafka's but for one: `flush.messages` is 1, because nothing is acknowledged here before it is durable
(`log_store.config` says how raising it relaxes that). Settings whose part of the work is still to come (tiered storage)
are checked and kept, so that what a user writes down today holds later.

Where the log needs a value, `log_field` names the field of `log_store.config.LogConfig`; `log_fields` makes them from
texts, so that this module needs no log.
"""

from collections.abc import Mapping
from typing import Final

from broker.metadata.setting import DynamicSetting, Kind, Value, check_length, unknown_setting
from kraftpy.errors import InvalidConfigError
from kraftpy.runtime.limits import INT64_MAX

_WEEK_MS: Final = 7 * 24 * 3_600_000

TOPIC_SETTINGS: Final = (
    DynamicSetting(
        "cleanup.policy",
        Kind.LIST,
        "delete",
        "What becomes of old segments: delete drops them by age and size, compact keeps the newest record of each key.",
        choices=("delete", "compact"),
        broker_name="log.cleanup.policy",
        log_field="cleanup_policy",
    ),
    DynamicSetting(
        "compression.gzip.level",
        Kind.INT,
        "-1",
        "Effort of gzip, 1 to 9, or -1 for its default, where compression.type is gzip.",
        minimum=-1,
        maximum=9,
        broker_name="compression.gzip.level",
        log_field="compression_gzip_level",
    ),
    DynamicSetting(
        "compression.lz4.level",
        Kind.INT,
        "9",
        "Effort of lz4 where compression.type is lz4.",
        minimum=1,
        maximum=17,
        broker_name="compression.lz4.level",
        log_field="compression_lz4_level",
    ),
    DynamicSetting(
        "compression.type",
        Kind.STRING,
        "producer",
        "How batches are kept. producer leaves each as it was sent; any other recompresses what differs. That costs "
        "the leader's only loop 10 to 60 ms for each megabyte that the records of a request have uncompressed, a "
        "second with the highest levels of zstd: better let producers compress. A batch of more than 8 MiB "
        "uncompressed stays as it was sent (uncompressed: is refused above max.message.bytes).",
        choices=("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
        broker_name="compression.type",
        log_field="compression_type",
    ),
    DynamicSetting(
        "compression.zstd.level",
        Kind.INT,
        "3",
        "Effort of zstd where compression.type is zstd.",
        minimum=-131072,
        maximum=22,
        broker_name="compression.zstd.level",
        log_field="compression_zstd_level",
    ),
    DynamicSetting(
        "delete.retention.ms",
        Kind.LONG,
        "86400000",
        "How long a compacted topic keeps the marks of deleted keys. Has no effect on topics that only delete.",
        minimum=0,
        broker_name="log.cleaner.delete.retention.ms",
        log_field="delete_retention_ms",
    ),
    DynamicSetting(
        "file.delete.delay.ms",
        Kind.LONG,
        "60000",
        "How long the file of a deleted segment stays, so that readers can finish.",
        minimum=0,
        broker_name="log.segment.delete.delay.ms",
        log_field="file_delete_delay_ms",
    ),
    DynamicSetting(
        "flush.messages",
        Kind.LONG,
        "1",
        "1: nothing is acknowledged before it is durable. More: appends count at once and are flushed after so many "
        "records; a power failure of all replicas may then lose acknowledged records, as with Kafka's own default.",
        minimum=1,
        broker_name="log.flush.interval.messages",
        log_field="flush_messages",
    ),
    DynamicSetting(
        "flush.ms",
        Kind.LONG,
        str(INT64_MAX),
        "Where flush.messages is above 1: the longest that an append waits for its flush.",
        minimum=0,
        broker_name="log.flush.interval.ms",
        log_field="flush_interval_ms",
    ),
    DynamicSetting(
        "follower.replication.throttled.replicas",
        Kind.LIST,
        "",
        "Replicas whose copying is throttled at the follower while they are out of sync (KIP-73), as partition:broker "
        "pairs, or * for all.",
        pattern=r"\*|[0-9]{1,9}:[0-9]{1,9}",
    ),
    DynamicSetting(
        "index.interval.bytes",
        Kind.INT,
        "4096",
        "Distance of the index's entries in the log. Smaller: larger indexes and shorter scans.",
        minimum=0,
        broker_name="log.index.interval.bytes",
        log_field="index_interval_bytes",
    ),
    DynamicSetting(
        "leader.replication.throttled.replicas",
        Kind.LIST,
        "",
        "Replicas whose copying is throttled at the leader while they are out of sync (KIP-73), as partition:broker "
        "pairs, or * for all.",
        pattern=r"\*|[0-9]{1,9}:[0-9]{1,9}",
    ),
    DynamicSetting(
        "local.retention.bytes",
        Kind.LONG,
        "-2",
        "Accepted and without effect until storage is tiered: bytes kept on the broker; -2 means retention.bytes.",
        minimum=-2,
        broker_name="log.local.retention.bytes",
    ),
    DynamicSetting(
        "local.retention.ms",
        Kind.LONG,
        "-2",
        "Accepted and without effect until storage is tiered: how long records stay on the broker; -2 means "
        "retention.ms.",
        minimum=-2,
        broker_name="log.local.retention.ms",
    ),
    DynamicSetting(
        "max.compaction.lag.ms",
        Kind.LONG,
        str(INT64_MAX),
        "The longest that a record of a compacted topic may wait for compaction.",
        minimum=1,
        broker_name="log.cleaner.max.compaction.lag.ms",
        log_field="max_compaction_lag_ms",
    ),
    DynamicSetting(
        "max.message.bytes",
        Kind.INT,
        "1048588",
        "The largest batch of records that the topic takes, as it is sent (compressed), and also as compression.type "
        "makes it.",
        minimum=0,
        broker_name="message.max.bytes",
        log_field="max_message_bytes",
    ),
    DynamicSetting(
        "message.timestamp.after.max.ms",
        Kind.LONG,
        "3600000",
        "How far a record's timestamp may lie ahead of the broker's clock.",
        minimum=0,
        broker_name="log.message.timestamp.after.max.ms",
        log_field="timestamp_after_max_ms",
    ),
    DynamicSetting(
        "message.timestamp.before.max.ms",
        Kind.LONG,
        str(INT64_MAX),
        "How far a record's timestamp may lie behind the broker's clock.",
        minimum=0,
        broker_name="log.message.timestamp.before.max.ms",
        log_field="timestamp_before_max_ms",
    ),
    DynamicSetting(
        "message.timestamp.type",
        Kind.STRING,
        "CreateTime",
        "Whose clock stamps records: CreateTime the producer's, LogAppendTime the broker's.",
        choices=("CreateTime", "LogAppendTime"),
        broker_name="log.message.timestamp.type",
        log_field="timestamp_type",
    ),
    DynamicSetting(
        "min.cleanable.dirty.ratio",
        Kind.DOUBLE,
        "0.5",
        "The share of a compacted log that must be uncompacted before it is compacted again.",
        minimum=0,
        maximum=1,
        broker_name="log.cleaner.min.cleanable.ratio",
        log_field="min_cleanable_dirty_ratio",
    ),
    DynamicSetting(
        "min.compaction.lag.ms",
        Kind.LONG,
        "0",
        "How long a record of a compacted topic is safe from compaction.",
        minimum=0,
        broker_name="log.cleaner.min.compaction.lag.ms",
        log_field="min_compaction_lag_ms",
    ),
    DynamicSetting(
        "min.insync.replicas",
        Kind.INT,
        "1",
        "With acks=all: how many replicas must have a record before it is acknowledged, the leader included. "
        "More than there are replicas holds as all of them.",
        minimum=1,
        broker_name="min.insync.replicas",
    ),
    DynamicSetting(
        "preallocate",
        Kind.BOOLEAN,
        "false",
        "Accepted and without effect: blocks are always reserved in chunks before they are written.",
        broker_name="log.preallocate",
    ),
    DynamicSetting(
        "remote.log.copy.disable",
        Kind.BOOLEAN,
        "false",
        "Accepted and without effect until storage is tiered: whether copying is stopped.",
    ),
    DynamicSetting(
        "remote.log.delete.on.disable",
        Kind.BOOLEAN,
        "false",
        "Accepted and without effect until storage is tiered: whether switching it off deletes what was copied.",
    ),
    DynamicSetting(
        "remote.storage.enable",
        Kind.BOOLEAN,
        "false",
        "Accepted and without effect until storage is tiered: whether old segments are copied to remote storage.",
    ),
    DynamicSetting(
        "retention.bytes",
        Kind.LONG,
        "-1",
        "Where cleanup.policy has delete: old segments go while a partition is larger than this; -1 is no limit.",
        minimum=-1,
        broker_name="log.retention.bytes",
        log_field="retention_bytes",
    ),
    DynamicSetting(
        "retention.ms",
        Kind.LONG,
        str(_WEEK_MS),
        "Where cleanup.policy has delete: segments whose newest record is older than this go; -1 is never.",
        minimum=-1,
        broker_name="log.retention.ms",
        log_field="retention_ms",
    ),
    DynamicSetting(
        "segment.bytes",
        Kind.INT,
        str(1 << 30),
        "A segment is rolled before it grows beyond this; retention deletes whole segments.",
        minimum=1 << 20,
        broker_name="log.segment.bytes",
        log_field="segment_bytes",
    ),
    DynamicSetting(
        "segment.index.bytes",
        Kind.INT,
        str(10 << 20),
        "The largest that an index file may become; a full one rolls its segment.",
        minimum=24,
        broker_name="log.index.size.max.bytes",
        log_field="segment_index_bytes",
    ),
    DynamicSetting(
        "segment.jitter.ms",
        Kind.LONG,
        "0",
        "Accepted and without effect: segments roll by segment.ms alone.",
        minimum=0,
        broker_name="log.roll.jitter.ms",
    ),
    DynamicSetting(
        "segment.ms",
        Kind.LONG,
        str(_WEEK_MS),
        "A segment is rolled when its first record is older than this, so that retention can delete it.",
        minimum=1,
        broker_name="log.roll.ms",
        log_field="segment_ms",
    ),
    DynamicSetting(
        "unclean.leader.election.enable",
        Kind.BOOLEAN,
        "false",
        "Whether a replica that is not in sync may lead when no other is left. It may lose acknowledged records.",
        broker_name="unclean.leader.election.enable",
    ),
)
"""By name."""

WITHOUT_EFFECT: Final = "Accepted and without effect"
"""How the documentation of a setting begins that nothing reads."""

BY_NAME: Final = {setting.name: setting for setting in TOPIC_SETTINGS}

_BY_BROKER_NAME: Final = {
    **{setting.broker_name: setting.name for setting in TOPIC_SETTINGS if setting.broker_name},
    "log.retention.hours": "retention.ms",
    "log.retention.minutes": "retention.ms",
    "log.roll.hours": "segment.ms",
    "log.roll.jitter.hours": "segment.jitter.ms",
}


def topic_setting(name: str) -> DynamicSetting:
    """Raises `InvalidConfigError` for a name that no topic setting has, with the nearest one."""
    setting = BY_NAME.get(name)
    if setting is None:
        of_brokers = _BY_BROKER_NAME.get(name)
        if of_brokers is not None:
            raise InvalidConfigError(f"{name} is a broker's setting; a topic's is called {of_brokers}")
        raise unknown_setting(name, BY_NAME)
    return setting


def check_topic_config(config: Mapping[str, str]) -> None:
    """Raises `InvalidConfigError` for the first setting (by name) that is unknown or has a value that cannot be, and
    for two that contradict each other."""
    for name in sorted(config):
        check_length(name, config[name])
        topic_setting(name).parse(config[name])
    check_compaction_lags(config)


def check_compaction_lags(config: Mapping[str, str]) -> None:
    """`config` is all that a topic sets, each value by itself valid. Raises `InvalidConfigError`."""
    least, most = _whole_number(config, "min.compaction.lag.ms"), _whole_number(config, "max.compaction.lag.ms")
    if least > most:
        raise InvalidConfigError(f"min.compaction.lag.ms={least} is more than max.compaction.lag.ms={most}")


def _whole_number(config: Mapping[str, str], name: str) -> int:
    setting = BY_NAME[name]
    value = setting.parse(config.get(name, setting.default))
    assert isinstance(value, int)
    return value


def topic_config_warnings(given: Mapping[str, str], policy: str, replication_factor: int) -> tuple[str, ...]:
    """Sentences about settings that are allowed but hardly meant.

    `given` is what the user sets; `policy` the cleanup.policy that will hold.
    """
    warnings = []
    deletes_only = "compact" not in policy
    if deletes_only and "delete.retention.ms" in given:
        warnings.append(
            "delete.retention.ms only says how long a compacted topic keeps the marks of deleted keys; "
            "how long this topic keeps records is retention.ms"
        )
    for name in sorted(given):
        setting = BY_NAME.get(name)
        idle = setting.documentation.partition(": ")[0] if setting is not None else ""
        if setting is not None and idle.startswith(WITHOUT_EFFECT) and given[name] != setting.default:
            warnings.append(f"{name}: {idle[0].lower()}{idle[1:]}")
    wanted = given.get("min.insync.replicas")
    if wanted is not None and int(wanted) > replication_factor:
        warnings.append(
            f"min.insync.replicas={wanted} is more than the topic's {replication_factor} replicas: "
            f"it holds as {replication_factor}, so acks=all is refused whenever one of them is out of sync"
        )
    return tuple(warnings)


def log_fields(config: Mapping[str, str]) -> dict[str, Value]:
    """The fields of `log_store.config.LogConfig` that `config` (topic settings, as text) gives a value to."""
    fields: dict[str, Value] = {}
    for name, text in config.items():
        setting = BY_NAME.get(name)
        if setting is not None and setting.log_field:
            value = setting.parse(text)
            fields[setting.log_field] = ",".join(value) if isinstance(value, tuple) else value
    return fields
