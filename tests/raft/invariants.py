"""The quorum's invariants 1 to 6, judged by somebody who sees every replica, its disk and every answer.

Log matching is kept inductively: every (offset, epoch) ever appended anywhere has one content and one predecessor, so
two logs that share a position share everything before it. That costs the same however long the logs are.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from raft.core import RaftCore
from raft.events import (
    Entry,
    Epoch,
    FetchRequest,
    NodeId,
    Offset,
    PersistVote,
    ReplicaKey,
    SnapshotId,
    VoteRequest,
    VoteResponse,
    VoterSet,
)
from raft.log_shape import BEGINNING
from tests.raft.memory_log import MemoryLog


class Violation(AssertionError):
    """An invariant does not hold. The message begins with its number."""


@dataclass(slots=True)
class Witness:
    """What was seen so far, of all replicas and all their lives."""

    leaders: dict[Epoch, tuple[ReplicaKey, int]] = field(default_factory=dict)  # with the number of the life
    contents: dict[tuple[Offset, Epoch], tuple[Entry, Epoch | None]] = field(default_factory=dict)
    committed: dict[Offset, Entry] = field(default_factory=dict)
    committed_end_offset: Offset = BEGINNING
    committed_by_epoch: dict[Epoch, Offset] = field(default_factory=dict)  # the high watermarks of leaders
    high_watermark: Offset = BEGINNING  # the greatest of them
    votes: dict[ReplicaKey, PersistVote] = field(default_factory=dict)

    def appended(self, log: MemoryLog, entries: tuple[Entry, ...], before: Epoch | None) -> None:
        for entry in entries:
            known, predecessor = self.contents.setdefault((entry.offset, entry.epoch), (entry, before))
            if known != entry:
                raise Violation(f"2 log matching: {known} and {entry} at one offset in one epoch")
            if None not in (before, predecessor) and predecessor != before:
                raise Violation(f"2 log matching: {entry} follows epoch {before} here and {predecessor} there")
            if predecessor is None:
                self.contents[(entry.offset, entry.epoch)] = (entry, before)
            before = entry.epoch

    def became_leader(self, key: ReplicaKey, life: int, epoch: Epoch, log: MemoryLog) -> None:
        known = self.leaders.setdefault(epoch, (key, life))
        if known != (key, life):
            raise Violation(f"1 election safety: epoch {epoch} is led by {known} and by {(key, life)}")
        earlier = [offset for other, offset in self.committed_by_epoch.items() if other < epoch]
        self.holds_committed(log, max(earlier, default=Offset(0)))

    def holds_committed(self, log: MemoryLog, end_offset: Offset) -> None:
        """By log matching it is enough to look at the last entry, and at the first that the log still has."""
        if log.end_offset < end_offset:
            raise Violation(f"3 leader completeness: the log ends at {log.end_offset}, committed is {end_offset}")
        if end_offset > log.start_offset:
            last = max(offset for offset in self.committed if offset < end_offset)
            if log.entries[log.index_of(last)] != self.committed[last]:
                raise Violation(f"3 leader completeness: {self.committed[last]} is committed and missing")

    def applies_up_to(self, node_id: NodeId, high_watermark: Offset) -> None:
        if high_watermark > self.high_watermark:
            raise Violation(f"4 state machine safety: {node_id} applies {high_watermark} of {self.high_watermark}")

    def applied(self, entry: Entry) -> None:
        known = self.committed.setdefault(entry.offset, entry)
        if known != entry:
            raise Violation(f"4 state machine safety: {known} and {entry} are applied at one offset")
        self.committed_end_offset = max(self.committed_end_offset, entry.end_offset)

    def voted(self, key: ReplicaKey, vote: PersistVote) -> None:
        known = self.votes.get(key)
        if known is not None:
            if vote.epoch < known.epoch:
                raise Violation(f"5 the epoch of {key} goes back from {known.epoch} to {vote.epoch}")
            if vote.epoch == known.epoch and known.voted not in (None, vote.voted):
                raise Violation(f"5 {key} votes twice in epoch {vote.epoch}")
            if vote.epoch == known.epoch and known.leader_id not in (None, vote.leader_id):
                raise Violation(f"5 {key} knows two leaders of epoch {vote.epoch}")
        self.votes[key] = vote

    def answered_vote(
        self, key: ReplicaKey, request: VoteRequest, response: VoteResponse, stored: PersistVote | None
    ) -> None:
        """A vote that is given must be on the disk by then."""
        given = response.granted and not request.pre_vote
        if given and (stored is None or (stored.epoch, stored.voted) != (request.epoch, request.candidate)):
            raise Violation(f"5 {key} votes twice, or might: it answers {request.candidate} and stores {stored}")

    def reported(self, key: ReplicaKey, request: FetchRequest, disk: MemoryLog) -> None:
        if request.position.end_offset > disk.durable_end_offset:
            raise Violation(f"6 durability: {key} reports {request.position}, flushed is {disk.durable_end_offset}")

    def snapshot_covers(self, snapshot: SnapshotId) -> None:
        if snapshot.end_offset > min(self.high_watermark, self.committed_end_offset):
            raise Violation(f"5 {snapshot} covers what is not committed")
        last = self.committed[max(offset for offset in self.committed if offset < snapshot.end_offset)]
        if (last.epoch, last.end_offset) != (snapshot.epoch, snapshot.end_offset):
            raise Violation(f"5 {snapshot} ends inside {last}")

    def committed_up_to(
        self, epoch: Epoch, high_watermark: Offset, voters: VoterSet, log: MemoryLog, disks: dict[ReplicaKey, MemoryLog]
    ) -> None:
        """Asked when a leader moves its high watermark, by the voter set that it then counts."""
        holding = 0
        mark_epoch = log.epoch_before(high_watermark)
        for voter in voters.voters:
            disk = disks.get(voter.key)
            if disk is not None and disk.durable_end_offset >= high_watermark:
                there = disk.epoch_before(high_watermark)
                holding += there is None or mark_epoch is None or there == mark_epoch
        if holding < len(voters.voters) // 2 + 1:
            raise Violation(f"6 durability: {high_watermark} is on {holding} of {len(voters.voters)} voters' disks")
        self.committed_by_epoch[epoch] = max(self.committed_by_epoch.get(epoch, Offset(0)), high_watermark)
        self.high_watermark = max(self.high_watermark, high_watermark)

    def answered(self, end_offset: Offset) -> None:
        if end_offset > self.high_watermark:
            raise Violation(f"6 durability: {end_offset} is answered before a majority is known to have it")

    def check_acknowledged(self, acknowledged: dict[bytes | VoterSet, Offset]) -> None:
        """At the end: everything that was acknowledged stands where it was said to end."""
        bodies = {entry.end_offset: entry.body for entry in self.committed.values()}
        for body, end_offset in acknowledged.items():
            if bodies.get(end_offset) != body:
                raise Violation(f"3 leader completeness: {body!r} was acknowledged up to {end_offset} and is not there")


class Marks(NamedTuple):
    """What never goes back on a node, in one life."""

    high_watermark: Offset
    epoch: Epoch
    start_offset: Offset


def marks_of(core: RaftCore) -> Marks:
    return Marks(core.high_watermark, core.epoch, core.log.start_offset)


def check_forward(node_id: NodeId, before: Marks, after: Marks) -> None:
    if any(new < old for old, new in zip(before, after, strict=True)):
        raise Violation(f"5 something goes back on {node_id}: {before}, {after}")


def check_load(node_id: NodeId, leads: Epoch | None, snapshot: SnapshotId) -> None:
    if leads is not None:
        raise Violation(f"5 {node_id} leads epoch {leads} and loads {snapshot}")


def check_start(log: MemoryLog, node_id: NodeId, ever_taken: list[SnapshotId]) -> None:
    if log.start_offset != 0 and all(each.end_offset != log.start_offset for each in ever_taken):
        raise Violation(f"5 the log of node {node_id} starts at {log.start_offset}, where no snapshot ends")


def check_shape(node_id: NodeId, core: RaftCore, disk: MemoryLog) -> None:
    """What a core believes of its log is so."""
    log = core.log
    if (log.start_offset, log.end_offset) != (disk.start_offset, disk.end_offset):
        raise Violation(f"the core takes the log of {node_id} for another than it is")
    if log.durable_offset > disk.durable_end_offset:
        raise Violation(f"6 the core of {node_id} believes too much to be durable")
    if core.high_watermark > log.end_offset:
        raise Violation(f"5 the high watermark of {node_id} is beyond its log")


def check_voters(node_id: NodeId, core: RaftCore, disk: MemoryLog) -> None:
    expected = disk.voters_at(disk.end_offset)
    if core.voters != expected:
        raise Violation(f"the core of {node_id} counts {core.voters}, its log says {expected}")
