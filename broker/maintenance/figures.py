"""What compaction has done, in the numbers that Kafka's exporter gives (kafka.log:type=LogCleaner, LogCleanerManager).

Kafka's "last" is each cleaner thread's last run; here it is the node's last round.
"""

from broker.metrics import Metric
from log_store.compaction.job import Cleaned

NEVER_MS = -1


class Figures:
    """Filled by the compactor."""

    __slots__ = (
        "bytes_read",
        "bytes_written",
        "last_map_share",
        "last_recopy_ratio",
        "last_round_ms",
        "looked_at_ms",
        "max_dirty_ratio",
        "rounds",
    )

    def __init__(self) -> None:
        self.rounds = 0
        self.bytes_read = 0
        self.bytes_written = 0
        self.last_round_ms = 0
        self.last_recopy_ratio = 0.0
        self.last_map_share = 0.0
        self.max_dirty_ratio = 0.0  # of the dirtiest log, at the last look
        self.looked_at_ms = NEVER_MS

    def note_look(self, max_dirty_ratio: float, now_ms: int) -> None:
        """Every log was looked at."""
        self.max_dirty_ratio = max_dirty_ratio
        self.looked_at_ms = now_ms

    def note_round(self, cleaned: Cleaned, took_ms: int) -> None:
        """A log was compacted."""
        self.rounds += 1
        self.bytes_read += cleaned.bytes_read
        self.bytes_written += cleaned.bytes_written
        self.last_round_ms = took_ms
        self.last_recopy_ratio = cleaned.bytes_written / cleaned.bytes_read if cleaned.bytes_read else 0.0
        self.last_map_share = cleaned.map_share

    def metrics(self, now_ms: int) -> list[Metric]:
        cleaner, manager = "kafka_log_logcleaner_", "kafka_log_logcleanermanager_"
        since_ms = NEVER_MS if self.looked_at_ms == NEVER_MS else now_ms - self.looked_at_ms
        return [
            Metric(f"{cleaner}cleaner_recopy_percent", 100 * self.last_recopy_ratio),
            Metric(f"{cleaner}max_clean_time_secs", self.last_round_ms / 1000),
            Metric(f"{cleaner}max_buffer_utilization_percent", 100 * self.last_map_share),
            Metric(f"{manager}max_dirty_percent", 100 * self.max_dirty_ratio),
            Metric(f"{manager}time_since_last_run_ms", since_ms),
            Metric("kraftpy_log_cleaner_rounds_total", self.rounds),
            Metric("kraftpy_log_cleaner_read_bytes_total", self.bytes_read),
            Metric("kraftpy_log_cleaner_written_bytes_total", self.bytes_written),
        ]
