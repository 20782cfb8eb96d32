"""What a leader knows of one follower. It learns all of it from the follower's fetches.

Invariants
- A fetch from an offset says that everything below is durable on the follower: it flushes before it asks for more.
- `last_caught_up_ms` is the last moment of which the leader can say that the follower had all there was: the time of a
  fetch from the log's end, or the time of the fetch *before* one that got as far as the log then reached (so a follower
  that is always one fetch behind a busy leader is not taken for a slow one).
- Positions belong to one leader epoch; a new epoch starts from unknown.
"""

from broker.replication.watermark import UNKNOWN_OFFSET

UNKNOWN_BROKER_EPOCH = -1
NEVER_MS = -(1 << 62)


class Follower:
    """One follower of a partition led here. Times are the leader's monotonic clock."""

    __slots__ = (
        "asks_again",
        "broker_epoch",
        "end_offset",
        "last_caught_up_ms",
        "last_fetch_leader_end",
        "last_fetch_ms",
        "log_start_offset",
        "replica_id",
    )

    def __init__(self, replica_id: int, now_ms: int, in_sync: bool) -> None:
        self.replica_id = replica_id
        self.end_offset = UNKNOWN_OFFSET  # durable there, exclusive
        self.log_start_offset = UNKNOWN_OFFSET
        self.broker_epoch = UNKNOWN_BROKER_EPOCH  # of the incarnation that fetched last (KIP-903)
        self.last_fetch_ms = NEVER_MS
        self.last_fetch_leader_end = UNKNOWN_OFFSET
        self.asks_again = False  # for what it was probably sent the last time
        # A member of the set that a new leader inherits gets one whole lag time to be heard of.
        self.last_caught_up_ms = now_ms if in_sync else NEVER_MS

    def fetched(
        self, fetch_offset: int, log_start_offset: int, leader_end: int, broker_epoch: int, now_ms: int
    ) -> None:
        """Note a fetch whose epochs were found valid. `leader_end` is the leader's log end at this moment."""
        if broker_epoch != self.broker_epoch and self.broker_epoch != UNKNOWN_BROKER_EPOCH:
            # Another life: what the former one had caught up with says nothing about this one.
            self.last_caught_up_ms = NEVER_MS
            self.last_fetch_leader_end = UNKNOWN_OFFSET
            self.last_fetch_ms = NEVER_MS
        if fetch_offset >= leader_end:
            self.last_caught_up_ms = max(self.last_caught_up_ms, now_ms)
        elif fetch_offset >= self.last_fetch_leader_end and self.last_fetch_leader_end != UNKNOWN_OFFSET:
            self.last_caught_up_ms = max(self.last_caught_up_ms, self.last_fetch_ms)
        self.asks_again = fetch_offset == self.end_offset and fetch_offset < self.last_fetch_leader_end
        self.end_offset = fetch_offset
        self.log_start_offset = log_start_offset
        self.broker_epoch = broker_epoch
        self.last_fetch_ms = now_ms
        self.last_fetch_leader_end = leader_end

    def fetched_again(self, session_fetch_ms: int) -> None:
        """Up to `session_fetch_ms` it kept asking, in a session, from the log's end, where nothing had come meanwhile.

        An incremental session says nothing of a partition at rest; this is told when the rest ends, or somebody asks.
        """
        self.last_caught_up_ms = max(self.last_caught_up_ms, session_fetch_ms)
        self.last_fetch_ms = max(self.last_fetch_ms, session_fetch_ms)

    def joined(self, now_ms: int) -> None:
        """It became a member of the in-sync set: its time to lag counts from now at the earliest."""
        self.last_caught_up_ms = max(self.last_caught_up_ms, now_ms)

    def is_caught_up(self, leader_end: int, now_ms: int, lag_max_ms: int) -> bool:
        """In-sync rule 2: at the end of the log, or there less than `lag_max_ms` ago."""
        return self.end_offset == leader_end or now_ms - self.last_caught_up_ms <= lag_max_ms
