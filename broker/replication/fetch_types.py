"""What a fetch asks a broker's replicas, and what they answer.

Both doors and the followers' fetchers speak in these values: the Kafka listener (`broker.kafka.fetch`) turns requests
into a `FetchQuery` and packs the `FetchAnswer`; a follower reads what another broker answered by
`broker.kafka.fetch_codec`. No wire format and no error code appears here.

Incremental sessions (KIP-227) are kept by the replicas, because only they know which partitions moved: the door hands
`session_id` and `session_epoch` through, both ways, and lists what the request listed.

Invariants: without a session an answer has one `FetchedPartition` for each target of its query, in the query's order;
within one it has those that have something to say. A partition with an error, or with a diverging epoch, has no
records.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from kraftpy.errors import KraftpyError
from kraftpy.runtime.ports import Buffer, FileSlice

NO_OFFSET = -1
NO_EPOCH = -1
CONSUMER = -1
"""The replica id of a reader that is no replica."""

TURN_PARTITIONS = 10_000
"""A fetch of more lets others have their turns of the loop between its steps: it is read, its reader is brought up to
date, partitions are found and looked at, the answer is written. Each takes 1 to 4 µs a partition."""

NO_SESSION = 0
NO_SESSION_EPOCH = -1
"""The session epoch of a fetch that wants no session; a session that it names ends."""
NEW_SESSION_EPOCH = 0
"""The session epoch of a fetch that asks for a new session; one that it names ends."""


class IsolationLevel(IntEnum):
    READ_UNCOMMITTED = 0
    READ_COMMITTED = 1


class FetchTarget(NamedTuple):
    """One partition and the position from which it is to be read."""

    topic_id: UUID | None
    """None where the request named the topic and the broker knows no id for the name."""
    topic: str
    """Empty where the request gave an id that the broker does not know."""
    partition: int
    current_leader_epoch: int
    """What the reader believes; -1: it does not say."""
    offset: int
    last_fetched_epoch: int
    """The epoch of the reader's last record, for the check of divergence (KIP-595); -1: it does not say."""
    log_start_offset: int
    """The start of a follower's log; -1 from a consumer."""
    max_bytes: int
    high_watermark: int = -1
    """The high watermark that a follower knows (KIP-1166); -1: it does not say, then no answer waits for it."""
    directory_id: UUID | None = None
    """The log directory of the follower's replica."""


class ForgottenPartition(NamedTuple):
    """A partition that a session shall leave out from now on. Named as a target is."""

    topic_id: UUID | None
    topic: str
    partition: int


class FetchQuery(NamedTuple):
    """A read of several partitions that may wait for records."""

    replica_id: int
    """The follower's broker id; `CONSUMER` (-1) for a consumer."""
    replica_epoch: int
    """The follower's broker epoch (KIP-903); -1 from a consumer."""
    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    isolation_level: IsolationLevel
    partitions: list[FetchTarget]
    """In a session: those that are new, or asked differently than before."""
    session_id: int = NO_SESSION
    session_epoch: int = NO_SESSION_EPOCH
    """0 opens a session, -1 does without; else the number of this fetch in its session (KIP-227)."""
    forgotten: Sequence[ForgottenPartition] = ()
    client_id: str = ""
    rack: str = ""
    """The consumer's, where it tells."""
    any_replica: bool = False
    """Whether a follower may answer (KIP-392): consumers that can be sent to one can also be sent back."""


class AbortedTransaction(NamedTuple):
    """A transaction whose records a committed reader must skip, from `first_offset` to its marker."""

    producer_id: int
    first_offset: int


class Diverging(NamedTuple):
    """The leader's largest epoch not above the follower's, and where it ends: the follower truncates to there."""

    epoch: int
    end_offset: int


class CurrentLeader(NamedTuple):
    """Who leads now, told with NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH (KIP-951)."""

    id: int
    epoch: int


class FetchedPartition(NamedTuple):
    """The answer for one target."""

    target: FetchTarget
    error: type[KraftpyError] | None
    high_watermark: int = -1
    last_stable_offset: int = -1
    log_start_offset: int = -1
    slices: Sequence[FileSlice] = ()
    """Whole batches, the first holding `target.offset`; read them without copying where possible."""
    records: Buffer = b""
    """The same batches as they arrived: what a fetcher is given in place of `slices`."""
    size_bytes: int = 0
    """The sum of the slices' lengths, or the length of `records`."""
    diverging: Diverging | None = None
    leader: CurrentLeader | None = None
    aborted: Sequence[AbortedTransaction] = ()
    preferred_read_replica: int = -1
    may_have_gaps: bool = False
    """Told to followers only: the leader's log is or was compacted, so offsets that are missing are no damage."""


class FetchAnswer(NamedTuple):
    partitions: list[FetchedPartition]
    session_id: int = NO_SESSION
    """The session that was opened or goes on; 0: none."""
    error: type[KraftpyError] | None = None
    """Of the whole fetch: FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH."""

    @property
    def size_bytes(self) -> int:
        """Of all records."""
        return sum(partition.size_bytes for partition in self.partitions)


# --- offsets ---------------------------------------------------------------------------------------------------------


class OffsetSpec(IntEnum):
    """What ListOffsets can ask for other than a timestamp in milliseconds (which is >= 0)."""

    LATEST = -1
    EARLIEST = -2
    MAX_TIMESTAMP = -3
    """The record with the largest timestamp (KIP-734)."""
    EARLIEST_LOCAL = -4
    """The start of what is not in tiered storage (KIP-405); the log's start here, where nothing is tiered."""
    LATEST_TIERED = -5
    """The end of what is in tiered storage (KIP-1005); -1 here."""
    EARLIEST_PENDING_UPLOAD = -6
    """The start of what is not in tiered storage yet (KIP-1023); -1 here."""


@dataclass(frozen=True, slots=True)
class OffsetTarget:
    """One partition of a ListOffsets query. `timestamp_ms` is a timestamp >= 0 or an `OffsetSpec`."""

    topic: str
    partition: int
    current_leader_epoch: int
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class OffsetsQuery:
    replica_id: int
    isolation_level: IsolationLevel
    partitions: list[OffsetTarget]
    timeout_ms: int = 0


@dataclass(frozen=True, slots=True)
class FoundOffset:
    """The answer for one target; `offset`, `timestamp_ms` and `leader_epoch` are -1 where there is no such record."""

    target: OffsetTarget
    error: type[KraftpyError] | None
    offset: int = -1
    timestamp_ms: int = -1
    leader_epoch: int = -1
