"""The settings of compaction on one node, under Kafka's names without `log.cleaner`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CompactionConfig:
    """Checked once, when it is made; a wrong value is a `ValueError` that names the setting."""

    enable: bool = True
    """Whether this node compacts (log.cleaner.enable). Off: compacted topics grow for ever."""

    backoff_ms: int = 15_000
    """Pause between looks for something to compact (log.cleaner.backoff.ms). A look costs about 10 µs a log."""

    map_bytes: int = 128 * 1024 * 1024
    """Memory of the maintenance process for keys, about 250 bytes each (log.cleaner.dedupe.buffer.size). Where the
    dirty part of a log has more keys than fit, it takes several rounds, each of which reads the log from its start."""

    def __post_init__(self) -> None:
        if self.backoff_ms < 1:
            raise ValueError(f"log.cleaner.backoff.ms must be at least 1, not {self.backoff_ms}")
        if self.map_bytes < 1024 * 1024:
            raise ValueError(f"log.cleaner.dedupe.buffer.size must be at least 1 MiB, not {self.map_bytes}")
