"""The settings of one replica of the quorum, each with its reason.

The sum that matters: after the leader falls silent (SIGSTOP, pulled cable) its followers wait `fetch_timeout_ms` after
the last answer they had, then a pre-vote and an election take two round trips and two flushes. Where the leader's
process is gone, connections are refused and the wait is `election_jitter_ms` at most.
"""

from dataclasses import dataclass, fields

from kraftpy.runtime.limits import INT32_MAX, check_limits

_SETTINGS = {
    "fetch_timeout_ms": "controller.quorum.fetch.timeout.ms",
    "election_timeout_ms": "controller.quorum.election.timeout.ms",
    "election_backoff_ms_max": "controller.quorum.election.backoff.max.ms",
    "retry_backoff_ms": "controller.quorum.retry.backoff.ms",
}
"""What operators call the fields that they can set."""


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """Checked once, when made: `ValueError` names the setting, or the field of none, that makes no sense."""

    fetch_timeout_ms: int = 2_000
    """How long a follower hears nothing from its leader before it doubts it; a leader that hears nothing from a
    majority of voters resigns after half as long again. An idle leader answers twice a second, so an answer
    may be three times as late again before anything happens: on a machine whose processors are all busy one takes a
    second and a half now and then. Raising it makes failover from a silent leader slower by as much."""

    fetch_max_wait_ms: int = 500
    """How long the leader holds a fetch that finds nothing new. New entries and a new high watermark are answered at
    once, so this costs no latency; lowering it costs idle CPU: one call per replica and wait."""

    election_timeout_ms: int = 1_000
    """How long one round of a vote or pre-vote may take, and how long a voter that gave its vote away waits for the
    winner; up to as much again is added by chance. Raising it slows only elections in which answers are lost."""

    election_jitter_ms: int = 50
    """Voters that notice a lost leader in one moment start within this time of each other, ordered by id and epoch, so
    that one has its answers before the next begins. Raising it slows every failover by half as much."""

    election_backoff_ms_max: int = 1_000
    """A vote that fails is tried again after 50 ms, doubling up to this, less a random half of it. Raising it keeps a
    minority quieter, and lets a quorum that comes back wait longer."""

    retry_backoff_ms: int = 50
    """The first wait before a failed fetch is sent again, doubling up to half a second."""

    begin_epoch_interval_ms: int = 300
    """How often a leader makes itself known to a voter that does not fetch. Raising it lets such a voter, which missed
    the first call, find its leader later."""

    keep_alive_ms: int = 500
    """A follower that waits for its own disk asks with the old position this often, so that a slow flush is not taken
    for a lost leader or a lost follower. Each costs one answer of up to `fetch_bytes_max`."""

    fetch_bytes_max: int = 1 << 20
    """About how many bytes of entries one fetch is answered with. Raising it costs memory per replica that lags."""

    snapshot_chunk_bytes_max: int = 1 << 18
    """How many bytes of a snapshot travel in one answer. Raising it holds the loop and the connection longer."""

    proposals_max: int = 10_000
    """How many proposals may wait for their commit; more are refused at once."""

    reads_max: int = 10_000
    """How many linearizable reads may wait for their proof; more are refused at once."""

    observers_max: int = 1_000
    """How many observers the leader remembers and parks fetches for; beyond that the longest silent is forgotten."""

    observer_forget_ms: int = 300_000
    """An observer that was silent for so long is no longer reported."""

    mailbox_max: int = 10_000
    """How many requests, proposals and reads may wait for the core; more are refused at once."""

    stall_grace_ms: int = 20
    """How long messages may come in, after the loop was held up, before a deadline that passed meanwhile is judged."""

    apply_bytes_max: int = 1 << 16
    """About how many bytes of entries are applied before the loop goes on with other things."""

    snapshot_interval_bytes: int = 20 << 20
    """A snapshot is taken when so many bytes were applied since the last one, as Kafka's
    `metadata.log.max.record.bytes.between.snapshots` says. Raising it makes starts and catching up slower; the log
    keeps up to twice as much."""

    @property
    def resign_after_ms(self) -> int:
        """How long a leader hears nothing from a majority of voters before it resigns (KAFKA-15489): one and a half
        times what voters wait, as with Kafka (`CHECK_QUORUM_TIMEOUT_FACTOR`). They elect another one without its help,
        and a leader that resigns for a delay of its own costs an election for nothing."""
        return self.fetch_timeout_ms * 3 // 2

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self)):
            check_limits((_SETTINGS.get(name, name), getattr(self, name), 1, INT32_MAX))
        if self.fetch_max_wait_ms * 2 > self.fetch_timeout_ms:
            raise ValueError(
                f"controller.quorum.fetch.timeout.ms ({self.fetch_timeout_ms}) must be at least twice "
                f"fetch_max_wait_ms ({self.fetch_max_wait_ms}): an idle leader answers no more often than that"
            )
        if self.keep_alive_ms * 2 > self.fetch_timeout_ms:
            raise ValueError(
                f"controller.quorum.fetch.timeout.ms ({self.fetch_timeout_ms}) must be at least twice "
                f"keep_alive_ms ({self.keep_alive_ms}): a follower with a slow disk would be taken for lost"
            )
