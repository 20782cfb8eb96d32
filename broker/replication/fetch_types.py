"""A fetch in plain values: what a reader asks, and what it is told.

The Kafka door and the followers translate between these and Fetch on the wire (`broker.kafka.fetch_codec`), every
version to the same shapes, and neither end of replication sees a byte of the protocol. A follower is a reader with a
replica id, as in Kafka.

Partitions are told apart by (topic id, index) where the version knows topic ids (13 and later), by (name, index) before
that. Whoever decodes fills in what it has; `NO_TOPIC_ID` and "" stand for what it has not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from kraftpy.errors import KraftpyError
from kraftpy.runtime.ports import Buffer, FileSlice

NO_TOPIC_ID = UUID(int=0)
CONSUMER = -1
"""The replica id of a reader that is none."""

NO_SESSION = 0
FINAL_EPOCH = -1
"""Session epoch of a fetch that wants no session, and ends the one that it names."""
INITIAL_EPOCH = 0
"""Session epoch of a fetch that asks for a new session."""

WATERMARK_UNKNOWN = 2**63 - 1
"""The high watermark of a reader that does not tell one: it never waits for news of it (KIP-1166)."""


@dataclass(frozen=True, slots=True)
class FetchTarget:
    """One partition to read. Offsets of a follower: everything below `fetch_offset` is durable there."""

    partition: int
    fetch_offset: int
    bytes_max: int
    topic: str = ""
    topic_id: UUID = NO_TOPIC_ID
    current_leader_epoch: int = -1  # the leader's, as the reader believes; -1: not checked
    last_fetched_epoch: int = -1  # of the record before fetch_offset; -1: divergence is not checked
    log_start_offset: int = -1  # the follower's
    high_watermark: int = WATERMARK_UNKNOWN  # the follower's


class PartitionName(NamedTuple):
    """A partition that a session shall forget."""

    topic: str
    topic_id: UUID
    partition: int


@dataclass(frozen=True, slots=True)
class FetchQuery:
    """One fetch. With a session (KIP-227) only the partitions that changed are listed."""

    targets: Sequence[FetchTarget]
    wait_max_ms: int
    bytes_min: int
    bytes_max: int
    replica_id: int = CONSUMER
    replica_epoch: int = -1  # broker epoch of a follower (KIP-903)
    read_committed: bool = False
    session_id: int = NO_SESSION
    session_epoch: int = FINAL_EPOCH
    forgotten: Sequence[PartitionName] = ()
    rack: str = ""

    @property
    def is_follower(self) -> bool:
        return self.replica_id >= 0


class DivergingEpoch(NamedTuple):
    """The reader's log parts from the leader's: where its last epoch, or the next lower known one, ends here."""

    epoch: int
    end_offset: int


class LeaderHint(NamedTuple):
    """Who leads, told with an error that says that it is not the one who was asked (KIP-951)."""

    leader_id: int
    leader_epoch: int


class AbortedTransaction(NamedTuple):
    producer_id: int
    first_offset: int


@dataclass(frozen=True, slots=True)
class FetchedPartition:
    """What one partition has to say. Offsets are -1 where an error leaves them unknown."""

    partition: int
    topic: str = ""
    topic_id: UUID = NO_TOPIC_ID
    error: KraftpyError | None = None
    high_watermark: int = -1
    last_stable_offset: int = -1
    log_start_offset: int = -1
    diverging: DivergingEpoch | None = None
    leader: LeaderHint | None = None
    aborted: Sequence[AbortedTransaction] | None = None
    records: Sequence[Buffer | FileSlice] = ()  # whole batches
    size_bytes: int = 0  # of `records`


@dataclass(frozen=True, slots=True)
class FetchAnswer:
    """The answer to a fetch; in a session only partitions with something to say. `error` concerns the whole fetch."""

    partitions: Sequence[FetchedPartition] = field(default_factory=tuple)
    session_id: int = NO_SESSION
    error: KraftpyError | None = None
