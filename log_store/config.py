"""The settings of one log, with Kafka's names (dots turned to underscores) and Kafka's defaults.

One default differs: `flush_messages` is 1, so nothing counts before it is durable. Raising it gives Kafka's own
promise: appended counts, and a power failure of all replicas at once may lose it.
"""

from dataclasses import dataclass, field

from kraftpy.errors import InvalidConfigError
from kraftpy.record.compression import Codec
from kraftpy.record.header import Compression
from kraftpy.runtime.limits import INT32_MAX, INT64_MAX, check_limits

CREATE_TIME = "CreateTime"
LOG_APPEND_TIME = "LogAppendTime"

PRODUCER = "producer"
_COMPRESSIONS = {
    "uncompressed": Compression.NONE,
    "gzip": Compression.GZIP,
    "snappy": Compression.SNAPPY,
    "lz4": Compression.LZ4,
    "zstd": Compression.ZSTD,
}
"""By the words of compression.type."""


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Checked once, when built: `InvalidConfigError` names the setting."""

    segment_bytes: int = 1 << 30
    """A segment is rolled before it would grow beyond this. Larger: fewer files, coarser retention, longer recovery."""

    segment_ms: int = 7 * 24 * 3_600_000
    """A segment is rolled when its first record is older than this, so that retention can delete it."""

    segment_index_bytes: int = 10 << 20
    """Limit of an index file; a full one rolls the segment."""

    index_interval_bytes: int = 4096
    """Distance of index entries. Smaller: larger indexes, shorter scans."""

    retention_ms: int = 7 * 24 * 3_600_000
    """Segments whose newest record is older are deleted; -1: never."""

    retention_bytes: int = -1
    """Oldest segments are deleted while the log stays at least this large; -1: no limit."""

    max_message_bytes: int = 1024 * 1024 + 12
    """Largest batch that a producer may append, as sent (compressed), and also as `compression.type` makes it."""

    compression_type: str = PRODUCER
    """`producer`: batches stay as they were sent. `uncompressed`, `gzip`, `snappy`, `lz4`, `zstd`: the leader
    recompresses what differs, on its loop: 10 to 60 ms for each megabyte that the records of a request have
    uncompressed, a second with the highest levels of zstd. A batch of more than 8 MiB uncompressed stays as it was
    sent (`uncompressed`: is refused above `max_message_bytes`)."""

    compression_gzip_level: int = -1
    """Effort of gzip where `compression.type` is gzip: 1 to 9; -1: its own default."""

    compression_lz4_level: int = 9
    """Effort of lz4 where `compression.type` is lz4: 1 to 17."""

    compression_zstd_level: int = 3
    """Effort of zstd where `compression.type` is zstd: up to 22; below 0 it is faster still."""

    timestamp_type: str = CREATE_TIME
    """`CreateTime`: the producer's clock. `LogAppendTime`: this node's, at the price of a second CRC a batch."""

    timestamp_before_max_ms: int = INT64_MAX
    """How far a producer's timestamps may lie behind this node's clock (`message.timestamp.before.max.ms`)."""

    timestamp_after_max_ms: int = 3_600_000
    """How far they may lie ahead (`message.timestamp.after.max.ms`)."""

    flush_messages: int = 1
    """1: what counts as written moves only with a finished flush. More: it follows appends, and a flush is asked for
    after this many messages."""

    flush_interval_ms: int = INT64_MAX
    """Where appends count at once: the longest that one waits for a flush. Ignored while `flush_messages` is 1."""

    file_delete_delay_ms: int = 60_000
    """How long a deleted segment's file stays, renamed to `.deleted`."""

    cleanup_policy: str = "delete"
    """`delete`, `compact`, or both with a comma. Compacted logs refuse records without a key."""

    delete_retention_ms: int = 86_400_000
    """How long a compacted log keeps tombstones and transaction markers after compaction first met them: the time that
    a reader who began before has to see them."""

    min_compaction_lag_ms: int = 0
    """Records younger than this are not compacted away."""

    max_compaction_lag_ms: int = INT64_MAX
    """Records older than this are compacted whatever the ratio says, and the active segment is rolled for it."""

    min_cleanable_dirty_ratio: float = 0.5
    """Share of the log that must be uncompacted before it is compacted again. Smaller: less space, more copying."""

    producer_id_expiration_ms: int = 86_400_000
    """A producer that has been silent for so long is forgotten, and its retries are no longer recognised."""

    producer_ids_max: int = 100_000
    """Producers remembered a partition; above it the longest silent one without an open transaction is forgotten.
    About 1 KB each."""

    recompression: Codec | None = field(init=False, repr=False, compare=False, default=None)
    """What `compression_type` and the levels say, ready for the way of every append; None: nothing to do."""

    def __post_init__(self) -> None:
        try:
            check_limits(
                ("segment.bytes", self.segment_bytes, 14, INT32_MAX),
                ("segment.ms", self.segment_ms, 1, INT64_MAX),
                ("segment.index.bytes", self.segment_index_bytes, 24, INT32_MAX),
                ("index.interval.bytes", self.index_interval_bytes, 0, INT32_MAX),
                ("retention.ms", self.retention_ms, -1, INT64_MAX),
                ("retention.bytes", self.retention_bytes, -1, INT64_MAX),
                ("max.message.bytes", self.max_message_bytes, 0, INT32_MAX),
                ("message.timestamp.before.max.ms", self.timestamp_before_max_ms, 0, INT64_MAX),
                ("message.timestamp.after.max.ms", self.timestamp_after_max_ms, 0, INT64_MAX),
                ("flush.messages", self.flush_messages, 1, INT64_MAX),
                ("flush.ms", self.flush_interval_ms, 0, INT64_MAX),
                ("file.delete.delay.ms", self.file_delete_delay_ms, 0, INT64_MAX),
                ("producer.id.expiration.ms", self.producer_id_expiration_ms, 1, INT64_MAX),
                ("producer.ids.max", self.producer_ids_max, 1, INT32_MAX),
                ("delete.retention.ms", self.delete_retention_ms, 0, INT64_MAX),
                ("min.compaction.lag.ms", self.min_compaction_lag_ms, 0, INT64_MAX),
                ("max.compaction.lag.ms", self.max_compaction_lag_ms, 1, INT64_MAX),
                ("min.cleanable.dirty.ratio", self.min_cleanable_dirty_ratio, 0, 1),
                ("compression.gzip.level", self.compression_gzip_level, -1, 9),
                ("compression.lz4.level", self.compression_lz4_level, 1, 17),
                ("compression.zstd.level", self.compression_zstd_level, -131072, 22),
            )
        except ValueError as error:
            raise InvalidConfigError(str(error)) from None
        if self.timestamp_type not in (CREATE_TIME, LOG_APPEND_TIME):
            raise InvalidConfigError(f"message.timestamp.type is {CREATE_TIME} or {LOG_APPEND_TIME}")
        if not self.cleanup_policies or self.cleanup_policies - {"delete", "compact"}:
            raise InvalidConfigError("cleanup.policy is delete, compact, or both with a comma between")
        object.__setattr__(self, "recompression", self._recompression())

    def _recompression(self) -> Codec | None:
        if self.compression_type == PRODUCER:
            return None
        compression = _COMPRESSIONS.get(self.compression_type)
        if compression is None:
            raise InvalidConfigError(f"compression.type is {PRODUCER}, {', '.join(_COMPRESSIONS)}")
        levels = {
            Compression.GZIP: self.compression_gzip_level,
            Compression.LZ4: self.compression_lz4_level,
            Compression.ZSTD: self.compression_zstd_level,
        }
        return Codec(compression, levels.get(compression))

    @property
    def cleanup_policies(self) -> frozenset[str]:
        return frozenset(filter(None, map(str.strip, self.cleanup_policy.split(","))))

    @property
    def compacted(self) -> bool:
        return "compact" in self.cleanup_policy

    @property
    def deletes(self) -> bool:
        return "delete" in self.cleanup_policy

    @property
    def roll_ms(self) -> int:
        """The age at which a segment is rolled: a compacted log must not keep records from compaction for longer."""
        return min(self.segment_ms, self.max_compaction_lag_ms) if self.compacted else self.segment_ms

    @property
    def relaxed(self) -> bool:
        """Whether appended counts as flushed."""
        return self.flush_messages > 1
