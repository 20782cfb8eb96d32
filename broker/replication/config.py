"""The settings of replication, under Kafka's names (dots for underscores, `bytes_max` for `max.bytes`)."""

from dataclasses import dataclass
from typing import Final

from kraftpy.runtime.limits import INT32_MAX, INT64_MAX, check_limits

LEADER_ONLY: Final = "org.apache.kafka.common.replica.LeaderSelector"
RACK_AWARE: Final = "org.apache.kafka.common.replica.RackAwareReplicaSelector"


@dataclass(frozen=True, slots=True)
class ReplicationConfig:
    """Checked once, when it is made; a wrong value is a `ValueError` that names the setting."""

    replica_lag_time_max_ms: int = 10_000
    """A follower that has not been caught up for this long leaves the in-sync set. Ten seconds is what users are
    taught to expect. It bounds only the rare follower that lives, sends heartbeats, and does not copy: one that died or
    was paused is fenced by the controller, which takes it out of every in-sync set, long before. Raising it lets
    acks=all wait longer for such a follower; lowering it makes sets flap under load."""

    fetch_wait_max_ms: int = 500
    """How long a leader may hold a follower's fetch when there is nothing to say. Must stay well below
    `replica_lag_time_max_ms`: an idle follower proves that it is caught up once in this time."""

    fetch_bytes_min: int = 1
    """A follower's fetch is answered when so many bytes are there. More saves requests and costs latency."""

    fetch_partition_bytes_max: int = 1024 * 1024
    """Bytes of one partition in one answer to a follower. More costs memory: the answer is held whole."""

    fetch_response_bytes_max: int = 10 * 1024 * 1024
    """Bytes of one answer to a follower, over all partitions (its first batch is sent whatever its size)."""

    fetch_backoff_ms: int = 50
    """First pause after a failed fetch; doubled up to a second, or up to this where it is more."""

    fetch_backoff_max_ms: int = 1_000
    """Longest pause between attempts to reach a leader; raising it delays the return of a healed link."""

    fetch_request_timeout_ms: int = 30_000
    """Silence on a follower's connection, beyond the wait it asked for, until it is given up (Kafka's
    replica.socket.timeout.ms). Partitions that moved elsewhere do not wait for it."""

    connect_timeout_ms: int = 2_000
    """Until a connection to a leader must stand."""

    high_watermark_news_delay_ms: int = 20
    """How long a leader keeps a high watermark that moved to itself in the hope of data to send it with. KIP-1166
    answers at once, which would double the fetches of a slow trickle; 0 does that."""

    high_watermark_checkpoint_interval_ms: int = 5_000
    """Between writes of `replication-offset-checkpoint`. A restarted follower shows no more than was written."""

    retention_check_interval_ms: int = 300_000
    """Between looks for segments that are past their retention (log.retention.check.interval.ms)."""

    alter_partition_retry_ms: int = 100
    """Pause before an in-sync set is proposed again to a controller that could not be reached."""

    alter_log_dirs_threads: int = 2
    """Replicas that move between directories of this broker at a time (num.replica.alter.log.dirs.threads). More share
    the disks, and the loop, with everybody else."""

    alter_log_dirs_bytes_per_second: int = INT64_MAX
    """How fast each of them is copied (replica.alter.log.dirs.io.max.bytes.per.second)."""

    fetch_sessions_max: int = 1_000
    """Incremental fetch sessions kept for readers (max.incremental.fetch.session.cache.slots). One costs about
    0.5 KB a partition. A reader that finds no room sends its whole list with every fetch."""

    parked_requests_max: int = 50_000
    """Produce and fetch requests that wait at one time. A fetch beyond it is answered at once, with what is there; a
    produce beyond it is refused before anything is appended. One costs about 1 KB."""

    replica_selector: str = ""
    """Who serves consumers (replica.selector.class): empty, the leaders alone; with Kafka's RackAwareReplicaSelector a
    consumer that tells its rack (client.rack) is sent to an in-sync replica there, a few milliseconds behind."""

    listener_name: str = ""
    """The listener that followers fetch from (inter.broker.listener.name); empty: the first that is not GRPC."""

    transaction_partition_verification_enable: bool = True
    """Whether a leader asks the coordinator before it begins a transaction for a producer that adds its partitions
    itself (KIP-890). Without it a late batch may begin one that nobody ends, and hold committed readers back."""

    def __post_init__(self) -> None:
        if self.alter_log_dirs_threads < 1:
            raise ValueError(
                f"num.replica.alter.log.dirs.threads must be at least 1, not {self.alter_log_dirs_threads}: "
                "no replica could move"
            )
        if self.alter_log_dirs_bytes_per_second < 1:
            raise ValueError(
                "replica.alter.log.dirs.io.max.bytes.per.second must be at least 1, not "
                f"{self.alter_log_dirs_bytes_per_second}: leave it out for no limit"
            )
        check_limits(
            ("replica.lag.time.max.ms", self.replica_lag_time_max_ms, 1, INT64_MAX),
            ("replica.fetch.wait.max.ms", self.fetch_wait_max_ms, 1, INT32_MAX),
            ("replica.fetch.min.bytes", self.fetch_bytes_min, 1, INT32_MAX),
            ("replica.fetch.max.bytes", self.fetch_partition_bytes_max, 1, INT32_MAX),
            ("replica.fetch.response.max.bytes", self.fetch_response_bytes_max, 1, INT32_MAX),
            ("replica.fetch.backoff.ms", self.fetch_backoff_ms, 1, INT32_MAX),
            ("fetch_backoff_max_ms", self.fetch_backoff_max_ms, 1, INT32_MAX),
            ("replica.socket.timeout.ms", self.fetch_request_timeout_ms, 1, INT32_MAX),
            ("connect_timeout_ms", self.connect_timeout_ms, 1, INT32_MAX),
            ("high_watermark_news_delay_ms", self.high_watermark_news_delay_ms, 0, INT32_MAX),
            (
                "replica.high.watermark.checkpoint.interval.ms",
                self.high_watermark_checkpoint_interval_ms,
                1,
                INT64_MAX,
            ),
            ("log.retention.check.interval.ms", self.retention_check_interval_ms, 1, INT64_MAX),
            ("alter_partition_retry_ms", self.alter_partition_retry_ms, 1, INT32_MAX),
            ("num.replica.alter.log.dirs.threads", self.alter_log_dirs_threads, 1, INT32_MAX),
            ("replica.alter.log.dirs.io.max.bytes.per.second", self.alter_log_dirs_bytes_per_second, 1, INT64_MAX),
            ("max.incremental.fetch.session.cache.slots", self.fetch_sessions_max, 0, INT32_MAX),
            ("parked_requests_max", self.parked_requests_max, 1, INT32_MAX),
        )
        if self.fetch_wait_max_ms * 2 > self.replica_lag_time_max_ms:
            raise ValueError("replica.fetch.wait.max.ms must be at most half of replica.lag.time.max.ms")
        if self.fetch_backoff_max_ms < self.fetch_backoff_ms:
            raise ValueError("fetch_backoff_max_ms must be at least replica.fetch.backoff.ms")

    @property
    def isr_check_interval_ms(self) -> int:
        """Between looks for followers that lag, so that each leaves at most this much after its time, whatever that is.

        Looks that are further apart than `replica_lag_time_max_ms` would keep a follower in the set that lags for
        longer than this again and again, between two looks.
        """
        return max(self.replica_lag_time_max_ms // 4, 1)
