"""Leader: appends, answers fetches, and commits what a majority of voters holds durably.

Invariants:

- the high watermark moves only to an offset that a majority of the voter set in force has durably, and only past the
  `LeaderChange` with which this epoch opened (Raft §5.4.2); the leader's own log counts from `Persisted` on, like any;
- a fetch that cannot be answered with news is parked, one per replica, and answered as soon as there is any: entries,
  a higher high watermark (KIP-1166), or a new read round;
- a leader that did not hear a majority of voters for `resign_after_ms` resigns (KAFKA-15489), a single voter never;
- a read is answered once a majority has fetched with the round that began after it was asked.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from raft.events import (
    AnswerProposal,
    AnswerRead,
    Append,
    BecameLeader,
    BeginQuorumEpochRequest,
    EndQuorumEpochRequest,
    Entry,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    LeaderChange,
    LogPosition,
    NodeId,
    Offset,
    Proposed,
    ReadRequested,
    ReplicaKey,
    RequestId,
    Resigned,
    Respond,
    RespondEntries,
    RespondSnapshot,
    Response,
    SnapshotId,
    VoterChangeRequested,
    VoterSet,
)
from raft.log_shape import BEGINNING, UNKNOWN_EPOCH
from raft.role import Role, agreed_offset, majority_of
from raft.status import ReplicaStatus

if TYPE_CHECKING:
    from raft.core import RaftCore


@dataclass(slots=True)
class Parked:
    """A fetch that waits for news. Its replica has the whole log: `position.end_offset` is the log's end."""

    request_id: RequestId
    request: FetchRequest
    until_ms: int


@dataclass(slots=True)
class Progress:
    """What the leader knows of one replica, in this epoch."""

    key: ReplicaKey
    last_fetch_ms: int  # <= now. When it last asked, and what our answer was late by; at first when this leader began
    end_offset: Offset = BEGINNING  # durable, never goes back
    round: int = 0
    heard: bool = False
    caught_up_ms: int | None = None  # when it last asked from the log's end
    parked: Parked | None = None


@dataclass(slots=True)
class Reads:
    """Linearizable reads: those of the open round, and those that wait for the next."""

    round: int = 0
    open: list[RequestId] = field(default_factory=list)
    waiting: list[RequestId] = field(default_factory=list)


class Leader(Role):
    name: ClassVar[str] = "leader"

    def __init__(self, core: "RaftCore") -> None:
        super().__init__(core)
        self.epoch = core.epoch
        self.voters: dict[ReplicaKey, Progress] = {}  # without this replica
        self.observers: dict[ReplicaKey, Progress] = {}  # the one heard last at the end
        self.epoch_end_offset = Offset(0)  # of the LeaderChange
        self.established = False  # the LeaderChange is committed
        self._proposals: list[tuple[Offset, RequestId]] = []  # ascending
        self._reads = Reads()
        self._calls: dict[RequestId, ReplicaKey] = {}  # BeginQuorumEpoch under way
        self._begin_at_ms = core.now_ms
        self._successor: NodeId | None = None
        self._transfer_until_ms: int | None = None

    def named_leader(self) -> NodeId | None:
        return self.core.key.node_id

    def has_live_leader(self) -> bool:
        return True

    # --- beginning and end

    def enter(self) -> None:
        voters = self.core.voters
        assert voters is not None
        self._follow_voter_set()
        opening = LeaderChange(self.core.key.node_id, tuple(voter.key.node_id for voter in voters.voters))
        self.epoch_end_offset = self._append(opening, 1)
        self._call_voters()

    def leave(self) -> None:
        """Everybody who waits is answered; the new epoch, if that is the reason, is in force already."""
        core = self.core
        for _, proposal_id in self._proposals:
            core.emit(AnswerProposal(proposal_id, None))
        for read_id in self._reads.open + self._reads.waiting:
            core.emit(AnswerRead(read_id, None))
        for progress in self._replicas():
            if progress.parked is not None:
                denied = FetchResponse(False, core.epoch, core.named_leader, core.high_watermark, 0)
                core.emit(Respond(progress.parked.request_id, denied))
        core.emit(Resigned(self.epoch))

    def resign(self) -> None:
        """Step down by our own decision and name the voters that should try next."""
        core = self.core
        by_progress = sorted(self.voters.values(), key=lambda each: (-each.end_offset, each.key.node_id))
        preferred = [each.key.node_id for each in by_progress]
        if self._successor in preferred:
            preferred.remove(self._successor)
            preferred.insert(0, self._successor)
        request = EndQuorumEpochRequest(core.key.node_id, core.epoch, tuple(preferred))
        core.to_resigned()
        for node_id in preferred:
            core.send(node_id, request, core.config.election_timeout_ms)

    # --- time

    def deadline_ms(self) -> int | None:
        deadlines = [progress.parked.until_ms for progress in self._replicas() if progress.parked is not None]
        if self._must_hear_voters():
            deadlines.append(self._majority_heard_ms() + self.core.config.resign_after_ms)
        if any(not self._fetches(progress) for progress in self.voters.values()):
            deadlines.append(self._begin_at_ms)
        if self._transfer_until_ms is not None:
            deadlines.append(self._transfer_until_ms)
        for progress in self.voters.values():
            if self._fetches(progress):
                deadlines.append(progress.last_fetch_ms + self.core.config.fetch_timeout_ms)
        return min(deadlines, default=None)

    def time_passed(self) -> None:
        core, now_ms = self.core, self.core.now_ms
        for progress in self._replicas():
            if progress.parked is not None and now_ms >= progress.parked.until_ms:
                self._answer_parked(progress)
        if self._must_hear_voters() and now_ms >= self._majority_heard_ms() + core.config.resign_after_ms:
            self.resign()
            return
        if self._transfer_until_ms is not None and now_ms >= self._transfer_until_ms:
            self.resign()
            return
        if now_ms >= self._begin_at_ms:
            self._call_voters()

    def _must_hear_voters(self) -> bool:
        return bool(self.voters)

    def _majority_heard_ms(self) -> int:
        """The last moment at which a majority of voters, this one included, had been heard since."""
        heard_ms = [progress.last_fetch_ms for progress in self.voters.values()]
        if self.core.is_voter:
            heard_ms.append(self.core.now_ms)
        return sorted(heard_ms)[len(heard_ms) - majority_of(len(heard_ms))]

    def _fetches(self, progress: Progress) -> bool:
        return progress.heard and self.core.now_ms < progress.last_fetch_ms + self.core.config.fetch_timeout_ms

    def _call_voters(self) -> None:
        """Make this leader known to the voters that do not fetch from it."""
        core = self.core
        self._begin_at_ms = core.now_ms + core.config.begin_epoch_interval_ms
        for key, progress in self.voters.items():
            if not self._fetches(progress) and key not in self._calls.values():
                request = BeginQuorumEpochRequest(core.key.node_id, core.epoch)
                self._calls[core.send(key.node_id, request, core.config.election_timeout_ms)] = key

    def responded(self, request_id: RequestId, sender: NodeId, response: Response) -> None:
        self._calls.pop(request_id, None)

    def failed(self, request_id: RequestId, receiver: NodeId, refused: bool) -> None:
        self._calls.pop(request_id, None)

    # --- fetches

    def fetch(self, request_id: RequestId, request: FetchRequest) -> None:
        core = self.core
        if request.epoch != core.epoch or request.position.end_offset < 0:
            super().fetch(request_id, request)
            return
        progress = self._heard(request.replica)
        self._unpark(progress)
        progress.round = max(progress.round, request.round)
        answer = self._what_is_wrong(request.position)
        if answer is not None:
            diverging, snapshot = answer
            core.emit(Respond(request_id, self._response(diverging, snapshot)))
            self._settle()
            return
        progress.end_offset = max(progress.end_offset, request.position.end_offset)
        if request.position.end_offset == core.log.end_offset:
            progress.caught_up_ms = core.now_ms
        wait_ms = min(request.max_wait_ms, core.config.fetch_max_wait_ms)
        progress.parked = Parked(request_id, request, core.now_ms + max(0, wait_ms))
        self._settle()
        if core.role is self and progress.parked is not None and self._has_news(progress.parked):
            self._answer_parked(progress)

    def _heard(self, key: ReplicaKey) -> Progress:
        """Voters by their exact key; a known id on another disk is an observer like any (KIP-853)."""
        progress = self.voters.get(key)
        if progress is None:
            progress = self.observers.pop(key, None) or Progress(key, self.core.now_ms)
            self.observers[key] = progress
            self._forget_observers()
        progress.last_fetch_ms = self.core.now_ms
        progress.heard = True
        return progress

    def _forget_observers(self) -> None:
        config = self.core.config
        while self.observers:
            key = next(iter(self.observers))
            progress = self.observers[key]
            silent = self.core.now_ms - progress.last_fetch_ms > config.observer_forget_ms
            if not silent and len(self.observers) <= config.observers_max:
                return
            self._unpark(progress)
            del self.observers[key]

    def _what_is_wrong(self, position: LogPosition) -> tuple[LogPosition | None, SnapshotId | None] | None:
        """Where a replica's log parts from ours (KIP-101), or the snapshot that it needs; None where it continues."""
        log = self.core.log
        agreed = log.end_of_epoch(position.epoch)
        parts_before_start = (
            position.end_offset < log.start_offset
            or (position.end_offset == log.start_offset and position != log.before)
            or (agreed == log.before and (position.epoch < log.before.epoch or log.before.epoch == UNKNOWN_EPOCH))
        )
        if parts_before_start and log.snapshot is not None:
            return None, log.snapshot
        if agreed.epoch != position.epoch or agreed.end_offset < position.end_offset:
            return agreed, None
        return None

    def _has_news(self, parked: Parked) -> bool:
        core, request = self.core, parked.request
        return (
            request.position.end_offset < core.log.end_offset
            or request.high_watermark < core.high_watermark
            or request.round < self._reads.round
            or core.now_ms >= parked.until_ms
        )

    def _answer_news(self) -> None:
        for progress in self._replicas():
            if progress.parked is not None and self._has_news(progress.parked):
                self._answer_parked(progress)

    def _answer_parked(self, progress: Progress) -> None:
        parked, progress.parked = progress.parked, None
        assert parked is not None
        # Who waits for an answer cannot ask: what the answer is late by is our silence, not the replica's; but one that
        # has asked anew was heard by that.
        late_ms = max(0, self.core.now_ms - parked.until_ms)
        progress.last_fetch_ms = min(self.core.now_ms, progress.last_fetch_ms + late_ms)
        offset, end_offset = parked.request.position.end_offset, self.core.log.end_offset
        response = self._response(None, None)
        if offset < end_offset:
            bytes_max = self.core.config.fetch_bytes_max
            self.core.emit(RespondEntries(parked.request_id, response, offset, end_offset, bytes_max))
        else:
            self.core.emit(Respond(parked.request_id, response))

    def _unpark(self, progress: Progress) -> None:
        """A replica that asks again no longer waits for its former answer; it is given one all the same."""
        if progress.parked is not None:
            self._answer_parked(progress)

    def _response(self, diverging: LogPosition | None, snapshot: SnapshotId | None) -> FetchResponse:
        core = self.core
        node_id = core.key.node_id
        return FetchResponse(True, core.epoch, node_id, core.high_watermark, self._reads.round, diverging, snapshot)

    def fetch_snapshot(self, request_id: RequestId, request: FetchSnapshotRequest) -> None:
        if request.epoch != self.core.epoch:
            super().fetch_snapshot(request_id, request)
            return
        self._heard(request.replica)
        if request.size_max < 1 or request.position < 0:
            gone = FetchSnapshotResponse(True, self.core.epoch, self.core.key.node_id, request.snapshot, 0, -1, b"")
            self.core.emit(Respond(request_id, gone))
            return
        self.core.emit(RespondSnapshot(request_id, request, self.core.epoch))

    # --- the log

    def _append(self, body: bytes | VoterSet | LeaderChange, count: int) -> Offset:
        core = self.core
        entry = Entry(core.log.end_offset, count, core.epoch, body)
        core.log.append(entry)
        core.emit(Append((entry,)))
        self._answer_news()
        return entry.end_offset

    def proposed(self, event: Proposed) -> None:
        core = self.core
        refused = event.epoch != core.epoch or not self.established or self._transfer_until_ms is not None
        misplaced = event.base_offset is not None and event.base_offset != core.log.end_offset
        if refused or misplaced or len(self._proposals) >= core.config.proposals_max or event.count < 1:
            super().proposed(event)
            return
        self._proposals.append((self._append(event.body, event.count), event.proposal_id))

    def persisted(self) -> None:
        self._settle()

    def _settle(self) -> None:
        """Draw the consequences of what a replica, or our own disk, has reached."""
        core = self.core
        if core.advance_high_watermark(self._agreed_offset()):
            self._committed()
        if core.role is self:
            self._settle_reads()
        if core.role is self:
            self._settle_transfer()

    def _agreed_offset(self) -> Offset:
        """What may be committed: nothing before a majority holds this epoch's own first entry."""
        reached = [progress.end_offset for progress in self.voters.values()]
        if self.core.is_voter:
            reached.append(self.core.log.durable_offset)
        agreed = agreed_offset(reached)
        return agreed if agreed >= self.epoch_end_offset else Offset(0)

    def _committed(self) -> None:
        core = self.core
        if not self.established:
            self.established = True
            core.emit(BecameLeader(core.epoch, self.epoch_end_offset))
        done = 0
        while done < len(self._proposals) and self._proposals[done][0] <= core.high_watermark:
            core.emit(AnswerProposal(self._proposals[done][1], self._proposals[done][0]))
            done += 1
        del self._proposals[:done]
        self._answer_news()
        if not core.is_voter and core.log.voters_end_offset <= core.high_watermark:
            self.resign()  # the set without this replica is committed: its work is done

    # --- reads

    def read_requested(self, event: ReadRequested) -> None:
        reads = self._reads
        if len(reads.open) + len(reads.waiting) >= self.core.config.reads_max:
            super().read_requested(event)
            return
        reads.waiting.append(event.read_id)
        self._settle_reads()

    def _settle_reads(self) -> None:
        """Close the round if it is proven, and open the next for those who came meanwhile: one is under way at most."""
        reads = self._reads
        while self.established:
            if reads.open:
                if not self._round_is_proven():
                    return
                for read_id in reads.open:
                    self.core.emit(AnswerRead(read_id, self.core.high_watermark))
                reads.open.clear()
            if not reads.waiting:
                return
            reads.open, reads.waiting = reads.waiting, []
            reads.round += 1
            self._answer_news()

    def _round_is_proven(self) -> bool:
        proofs = sum(progress.round >= self._reads.round for progress in self.voters.values()) + self.core.is_voter
        return proofs >= majority_of(len(self.voters) + self.core.is_voter)

    # --- giving leadership away, changing the voters

    def transfer_requested(self, to: NodeId | None) -> None:
        """Wait until the successor has everything, at most an election's time, and take no proposals meanwhile."""
        if not self.voters:
            return  # nobody to give it to
        named = any(key.node_id == to for key in self.voters)
        self._successor = to if named else None
        self._transfer_until_ms = self.core.now_ms + self.core.config.election_timeout_ms
        self._settle_transfer()

    def _settle_transfer(self) -> None:
        if self._transfer_until_ms is None:
            return
        end_offset = self.core.log.end_offset
        ready = [
            key.node_id for key, each in self.voters.items() if each.end_offset == end_offset and self._fetches(each)
        ]
        chosen = self._successor in ready if self._successor is not None else bool(ready)
        if chosen and self.core.high_watermark == end_offset:
            self.resign()

    def voter_change_requested(self, event: VoterChangeRequested) -> None:
        core = self.core
        assert core.voters is not None
        allowed = (
            event.epoch == core.epoch
            and self.established
            and self._transfer_until_ms is None
            and event.base_offset in (None, core.log.end_offset)
            and core.log.voters_end_offset <= core.high_watermark
            and is_single_change(core.voters, event.voters)
            and all(self._may_join(voter.key) for voter in event.voters.voters)
        )
        if not allowed:
            super().voter_change_requested(event)
            return
        end_offset = self._append(event.voters, 1)
        self._proposals.append((end_offset, event.proposal_id))
        self._follow_voter_set()
        self._settle()

    def _may_join(self, key: ReplicaKey) -> bool:
        """A new voter must be heard and hold what is committed, so that the majority it joins can go on at once."""
        if key == self.core.key or key in self.voters:
            return True
        observer = self.observers.get(key)
        return observer is not None and self._fetches(observer) and observer.end_offset >= self.epoch_end_offset

    def _follow_voter_set(self) -> None:
        others = self.core.other_voters()
        known = self.voters | self.observers
        now_ms = self.core.now_ms
        self.voters = {
            each.key: known.pop(each.key) if each.key in known else Progress(each.key, now_ms) for each in others
        }
        self.observers = {key: progress for key, progress in known.items() if progress.heard}

    @property
    def gives_leadership_away(self) -> bool:
        return self._transfer_until_ms is not None

    def replicas(self) -> tuple[ReplicaStatus, ...]:
        core, now_ms = self.core, self.core.now_ms
        own = ReplicaStatus(core.key, core.is_voter, core.log.durable_offset, 0, 0)
        return (own, *(_status(each, each.key in self.voters, now_ms) for each in self._replicas()))

    def _replicas(self) -> list[Progress]:
        return [*self.voters.values(), *self.observers.values()]


def _status(progress: Progress, is_voter: bool, now_ms: int) -> ReplicaStatus:
    caught_up_age_ms = None if progress.caught_up_ms is None else now_ms - progress.caught_up_ms
    heard_age_ms = now_ms - progress.last_fetch_ms if progress.heard else None
    return ReplicaStatus(progress.key, is_voter, progress.end_offset, heard_age_ms, caught_up_age_ms)


def is_single_change(old: VoterSet, new: VoterSet) -> bool:
    """Whether the sets differ by one replica added, removed, or moved to another address (KIP-853); ids stay unique,
    sorted, and somebody is left."""
    node_ids = [voter.key.node_id for voter in new.voters]
    if not node_ids or any(a >= b for a, b in pairwise(node_ids)):
        return False
    old_keys = [voter.key for voter in old.voters]
    new_keys = [voter.key for voter in new.voters]
    changed_keys = [key for key in old_keys if key not in new_keys] + [key for key in new_keys if key not in old_keys]
    moved = [voter for voter in new.voters if voter.key in old_keys and voter not in old.voters]
    return len(changed_keys) + len(moved) == 1
