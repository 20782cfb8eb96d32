"""The settings of maintenance on one node: of compaction, in Kafka's words without `log.cleaner`, and of the scrub."""

from dataclasses import dataclass
from sys import float_info

from kraftpy.runtime.limits import INT64_MAX, check_limits

THREADS_MAX = 32
MAP_BYTES_MIN = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CompactionConfig:
    """Checked once, when it is made; a wrong value is a `ValueError` that names the setting."""

    enable: bool = True
    """Whether this node compacts (log.cleaner.enable). Off: compacted topics grow for ever."""

    threads: int = 1
    """Logs that are compacted at a time, each by a process of its own at the lowest priority (log.cleaner.threads).
    More use more cores and more of the disk; they share the memory of log.cleaner.dedupe.buffer.size."""

    backoff_ms: int = 15_000
    """Pause between looks for something to compact (log.cleaner.backoff.ms). A look costs about 10 µs a log."""

    map_bytes: int = 128 * 1024 * 1024
    """Memory for keys, about 250 bytes each, of all that is compacted at a time (log.cleaner.dedupe.buffer.size). Where
    the dirty part of a log has more keys than fit, it takes several rounds, each of which reads the log from its
    start."""

    bytes_per_second: float = float_info.max
    """How fast compaction reads and writes, both counted, on average (log.cleaner.io.max.bytes.per.second). Less leaves
    more of the disk to others, and lets compacted topics grow larger meanwhile."""

    def __post_init__(self) -> None:
        check_limits(
            ("log.cleaner.threads", self.threads, 1, THREADS_MAX),
            ("log.cleaner.backoff.ms", self.backoff_ms, 1, INT64_MAX),
            ("log.cleaner.dedupe.buffer.size", self.map_bytes, MAP_BYTES_MIN, INT64_MAX),
        )
        if not self.bytes_per_second >= 1:
            raise ValueError(
                f"log.cleaner.io.max.bytes.per.second must be at least 1, not {self.bytes_per_second}: "
                "log.cleaner.enable=false stops compaction"
            )


@dataclass(frozen=True, slots=True)
class ScrubConfig:
    """Reading closed segments again, to find what the disk has changed. Checked when it is made."""

    enable: bool = True
    """Whether closed segments are read again in the background (log.scrub.enable). Off: damage is found where somebody
    reads it, and by `kraftpy verify`."""

    interval_ms: int = 7 * 24 * 3_600_000
    """How often each closed segment is read again (log.scrub.interval.ms). Less finds damage earlier, while other
    replicas are still whole, and reads more."""

    bytes_per_second: float = 10.0 * 1024 * 1024
    """How fast (log.scrub.io.max.bytes.per.second), all directories together. The default reads 6 TiB in a week; a node
    that holds more needs more, or takes longer for a round than the interval."""

    def __post_init__(self) -> None:
        check_limits(("log.scrub.interval.ms", self.interval_ms, 1, INT64_MAX))
        if not self.bytes_per_second >= 1:
            raise ValueError(
                f"log.scrub.io.max.bytes.per.second must be at least 1, not {self.bytes_per_second}: "
                "log.scrub.enable=false stops the scrub"
            )
