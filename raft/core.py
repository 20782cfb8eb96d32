"""The core of one replica: `step(event) -> Effects`, and everything that stays while its role changes.

Invariants, each checked by the simulated clusters of tests/raft after every event:

- a vote, an epoch and a known leader are persisted before anything that rests on them leaves (`PersistVote` first);
- `epoch` and `high_watermark` never go back; in one epoch at most one vote is given and at most one leader known;
- a replica that led an epoch in an earlier life never leads it again: it starts as Resigned;
- what is below `high_watermark` is never truncated.

It is not a log, a clock or a network: see `raft.node` for the shell, and `raft.events` for the conversation.

Sources: KIP-595 (pull replication), KIP-630 (snapshots), KIP-853 (voter sets), KIP-996 (pre-vote), Ongaro's thesis.
"""

from typing import Final, Protocol, assert_never

from raft.config import RaftConfig
from raft.election import Candidate, Prospective
from raft.errors import ConflictingLeaders, TruncationBelowHighWatermark
from raft.events import (
    ApplyUpTo,
    BeginQuorumEpochRequest,
    DropLogBefore,
    Effect,
    Effects,
    EndQuorumEpochRequest,
    Epoch,
    EpochResponse,
    Event,
    FetchRequest,
    FetchSnapshotRequest,
    LeaderKnown,
    LoadSnapshot,
    NodeId,
    Offset,
    Persisted,
    PersistVote,
    Proposed,
    ReadRequested,
    ReplicaKey,
    Request,
    RequestFailed,
    RequestId,
    RequestReceived,
    Respond,
    ResponseReceived,
    Send,
    SnapshotId,
    SnapshotReceived,
    SnapshotTaken,
    TimePassed,
    TransferRequested,
    Truncate,
    Voter,
    VoterChangeRequested,
    VoteRequest,
    VoteResponse,
    VoterSet,
)
from raft.follower import Follower
from raft.leader import Leader
from raft.log_shape import LogShape, StoredLog
from raft.observer import Observer
from raft.role import Role
from raft.status import ReplicaStatus
from raft.waiting import Resigned, Unattached

TRANSITIONS: Final[dict[type[Role], tuple[type[Role], ...]]] = {
    Unattached: (Unattached, Prospective, Follower, Observer),
    Resigned: (Unattached, Prospective, Follower, Observer),
    Prospective: (Candidate, Follower, Unattached, Observer),
    Candidate: (Leader, Follower, Unattached, Observer),
    Leader: (Resigned, Follower, Unattached, Observer),
    Follower: (Prospective, Follower, Unattached, Observer),
    Observer: (Observer, Follower, Unattached),
}
"""From each role to those that may come next. Without a leader, time leads a voter from Unattached over Prospective and
Candidate to Leader; whoever loses goes back to waiting, and a higher epoch or a known leader ends any of them. Only a
Leader becomes Resigned. Who stands for election (`RaftCore.stands`) is no Observer, and the other way round (a Leader
excepted, until the set without it is committed)."""


class Chance(Protocol):
    """Where random delays come from: a `random.Random`, seeded in simulation."""

    def randrange(self, stop: int, /) -> int: ...


class RaftCore:
    """One replica of the quorum.

    `log` and `vote` are what the disk holds (`vote` None: never saved); `bootstrap` are nodes to ask while the log
    names no voters. Nothing happens before the first `step`, which should be `TimePassed`.
    """

    def __init__(
        self,
        config: RaftConfig,
        key: ReplicaKey,
        log: StoredLog,
        vote: PersistVote | None,
        chance: Chance,
        now_ms: int,
        bootstrap: tuple[NodeId, ...] = (),
    ) -> None:
        self.config = config
        self.key = key
        self.log = LogShape(log)
        self.chance = chance
        self.now_ms = now_ms
        self.high_watermark = log.snapshot.end_offset if log.snapshot else log.start_offset
        self.epoch = max(vote.epoch if vote else Epoch(0), self.log.last.epoch)
        self.voted: ReplicaKey | None = None  # given in `epoch`
        self.leader_id: NodeId | None = None  # of `epoch`: a fact, once known
        self.leader_is_gone = False  # it said itself that it leads `epoch` no longer
        self.election_failures = 0
        self._bootstrap = bootstrap
        self._outbox: list[Effect] = []
        self._last_request_id = 0
        self._announced: tuple[Epoch, NodeId | None] | None = None
        if vote is not None and vote.epoch == self.epoch:
            self.voted, self.leader_id = vote.voted, vote.leader_id
        self._saved = vote
        self._started = False
        self.role: Role = self._first_role()

    def _first_role(self) -> Role:
        if not self.stands:
            return Observer(self, self.leader_id if self.leader_id != self.key.node_id else None)
        if self.leader_id == self.key.node_id:
            self.leader_is_gone = True
            return Resigned(self, self.now_ms + self.order_delay_ms())
        if self.leader_id is not None:
            return Follower(self, self.leader_id, self.now_ms + self.config.fetch_timeout_ms, doubted=False)
        return Unattached(self, self.now_ms + self.order_delay_ms())

    # --- the way in

    def step(self, event: Event) -> Effects:
        """Handle one event; the only way in, and the only place from which state changes."""
        self.now_ms = max(self.now_ms, event.now_ms)
        if not self._started:
            self._started = True
            self.role.enter()
        self._handle(event)
        self._reconsider_membership()
        self._announce()
        effects = Effects(tuple(self._outbox), self.role.deadline_ms())
        self._outbox.clear()
        return effects

    def _handle(self, event: Event) -> None:
        match event:
            case TimePassed():
                self.role.time_passed()
            case RequestReceived():
                self._request_received(event)
            case ResponseReceived():
                self._response_received(event)
            case RequestFailed():
                self.role.failed(event.request_id, event.receiver, event.refused)
            case Persisted():
                self.log.persisted(event.end_offset)
                self.role.persisted()
            case Proposed():
                self.role.proposed(event)
            case ReadRequested():
                self.role.read_requested(event)
            case SnapshotTaken():
                self._snapshot_taken(event.snapshot)
            case SnapshotReceived():
                self.role.snapshot_received(event)
            case TransferRequested():
                self.role.transfer_requested(event.to)
            case VoterChangeRequested():
                self.role.voter_change_requested(event)
            case _:
                assert_never(event)

    # --- requests and responses

    def _request_received(self, event: RequestReceived) -> None:
        request_id, request = event.request_id, event.request
        match request:
            case VoteRequest():
                self.emit(Respond(request_id, self._vote(request)))
            case BeginQuorumEpochRequest():
                self._leader_begins(request)
                self.emit(Respond(request_id, EpochResponse(self.epoch, self.named_leader)))
            case EndQuorumEpochRequest():
                self._leader_ends(request)
                self.emit(Respond(request_id, EpochResponse(self.epoch, self.named_leader)))
            case FetchRequest():
                self._learn(request.epoch, None)
                self.role.fetch(request_id, request)
            case FetchSnapshotRequest():
                self._learn(request.epoch, None)
                self.role.fetch_snapshot(request_id, request)
            case _:
                assert_never(request)

    def _response_received(self, event: ResponseReceived) -> None:
        role = self.role
        self._learn(event.response.epoch, event.response.leader_id)
        if self.role is role:
            role.responded(event.request_id, event.sender, event.response)

    def _learn(self, epoch: Epoch, leader_id: NodeId | None) -> None:
        """Follow whatever is newer. A node that names us as leader of what we do not lead means our former disk."""
        if leader_id == self.key.node_id:
            leader_id = None
        if epoch > self.epoch:
            self._enter_epoch(epoch, leader_id)
        elif epoch == self.epoch and leader_id is not None and not self.leader_is_gone:
            self._check_one_leader(leader_id)
            if self.leader_id is None or (isinstance(self.role, Observer) and self.role.leader_id is None):
                self._enter_epoch(epoch, leader_id)

    def _enter_epoch(self, epoch: Epoch, leader_id: NodeId | None) -> None:
        if leader_id is None:
            self.to_unattached(epoch, self.election_time_ms())
        else:
            self._set_epoch(epoch, leader_id)
            self.to_follower()

    def _check_one_leader(self, leader_id: NodeId) -> None:
        if self.leader_id is not None and self.leader_id != leader_id:
            raise ConflictingLeaders(self.epoch, self.leader_id, leader_id)

    def _vote(self, request: VoteRequest) -> VoteResponse:
        """Vote or pre-vote. Whoever is asked under another directory's name has voted with a disk that is gone, so it
        gives nothing (KIP-853). Our own voter set is not asked: the candidate's may be newer."""
        if request.voter != self.key:
            return VoteResponse(self.epoch, self.named_leader, False)
        raised = request.epoch > self.epoch
        self._learn(request.epoch, None)
        up_to_date = request.last >= self.log.last
        if request.pre_vote:
            granted = request.epoch == self.epoch and up_to_date and not self.role.denies_pre_vote(request)
        else:
            granted = (
                request.epoch == self.epoch
                and up_to_date
                and self.leader_id is None
                and (self.voted is None or self.voted == request.candidate)
            )
        if granted and not request.pre_vote:
            self.voted = request.candidate
            self._save_vote()
            if isinstance(self.role, Prospective):
                self.to_unattached(self.epoch, self.election_time_ms())
        if granted:
            self.role.vote_wished(request.pre_vote)
        elif raised and not up_to_date:
            self.to_unattached(self.epoch, self.order_delay_ms())  # its log is too short: we might win
        return VoteResponse(self.epoch, self.named_leader, granted)

    def _leader_begins(self, request: BeginQuorumEpochRequest) -> None:
        self._learn(request.epoch, request.leader_id)
        if request.epoch == self.epoch and request.leader_id == self.leader_id and not self.leader_is_gone:
            self.role.leader_begins()

    def _leader_ends(self, request: EndQuorumEpochRequest) -> None:
        self._learn(request.epoch, request.leader_id)
        if request.epoch == self.epoch and request.leader_id == self.leader_id and self.leader_id != self.key.node_id:
            preferred = request.preferred
            self.leader_has_ended(preferred.index(self.key.node_id) if self.key.node_id in preferred else None)

    def leader_has_ended(self, successor_rank: int | None) -> None:
        """The leader of this epoch resigned, by its own word. That it named successors may be heard second, after an
        answer that it leads no longer."""
        if not self.leader_is_gone or successor_rank is not None:
            self.leader_is_gone = True
            self.role.leader_ended(successor_rank)

    # --- transitions

    def to_unattached(self, epoch: Epoch, delay_ms: int) -> None:
        """Wait without a leader: a voter at most `delay_ms` before it asks for a pre-vote."""
        self._set_epoch(epoch, None)
        if self.stands:
            self._become(Unattached(self, self.now_ms + delay_ms))
        else:
            self._become(Observer(self, None))

    def to_follower(self) -> None:
        """Fetch from the leader of the epoch, which has a full fetch time-out to answer."""
        assert self.leader_id is not None and self.leader_id != self.key.node_id
        if self.stands:
            election_at_ms = self.now_ms + self.config.fetch_timeout_ms + self.order_delay_ms()
            self._become(Follower(self, self.leader_id, election_at_ms, doubted=False))
        else:
            self._become(Observer(self, self.leader_id))

    def to_prospective(self) -> None:
        self._become(Prospective(self))

    def pre_vote_lost(self) -> None:
        """Go back to the leader that was doubted, if there is one, or to waiting."""
        self.stand_back(self.backoff_ms())

    def stand_back(self, delay_ms: int) -> None:
        """Try again for a pre-vote after `delay_ms`, unless a leader is heard before."""
        if self.leader_id is None or self.leader_is_gone:
            self.to_unattached(self.epoch, delay_ms)
        else:
            self._become(Follower(self, self.leader_id, self.now_ms + delay_ms, doubted=True))

    def to_candidate(self) -> None:
        self._set_epoch(Epoch(self.epoch + 1), None)
        self.voted = self.key
        self._save_vote()
        self._become(Candidate(self))

    def to_leader(self) -> None:
        assert self.voted == self.key and self.leader_id is None, (self.voted, self.leader_id)
        self._set_epoch(self.epoch, self.key.node_id)
        self.election_failures = 0
        self._become(Leader(self))

    def to_resigned(self) -> None:
        """Lead this epoch no longer, by our own decision."""
        self.leader_is_gone = True
        if self.stands:
            self._become(Resigned(self, self.now_ms + self.election_time_ms()))
        else:
            self._become(Observer(self, None))

    def _become(self, role: Role) -> None:
        former, self.role = self.role, role
        assert type(role) in TRANSITIONS[type(former)], (former.name, role.name)
        former.leave()
        role.enter()

    def _set_epoch(self, epoch: Epoch, leader_id: NodeId | None) -> None:
        assert epoch >= self.epoch
        if epoch > self.epoch:
            self.epoch, self.voted, self.leader_id, self.leader_is_gone = epoch, None, None, False
        if leader_id is not None:
            self._check_one_leader(leader_id)
            self.leader_id = leader_id
        self._save_vote()

    def _save_vote(self) -> None:
        vote = PersistVote(self.epoch, self.voted, self.leader_id)
        if vote != self._saved:
            self._saved = vote
            if self._outbox and isinstance(self._outbox[-1], PersistVote):
                self._outbox.pop()  # nothing was done in between that rests on it: one flush for both
            self.emit(vote)

    def _announce(self) -> None:
        known = (self.epoch, self.named_leader)
        if known != self._announced:
            self._announced = known
            self.emit(LeaderKnown(*known))

    def _reconsider_membership(self) -> None:
        """The voter set in force may have come or gone with an entry."""
        if isinstance(self.role, Leader) or self.stands != isinstance(self.role, Observer):
            return
        led_by_other = self.leader_id is not None and not self.leader_is_gone and self.leader_id != self.key.node_id
        if led_by_other and self.role.named_leader() is not None:
            self.to_follower()
        else:
            self.to_unattached(self.epoch, self.election_time_ms())

    # --- the log

    def truncate(self, end_offset: Offset) -> None:
        if end_offset < self.high_watermark:
            raise TruncationBelowHighWatermark(end_offset, self.high_watermark)
        self.log.truncate(end_offset)
        self.emit(Truncate(end_offset))

    def advance_high_watermark(self, high_watermark: Offset) -> bool:
        if high_watermark <= self.high_watermark:
            return False
        assert high_watermark <= self.log.end_offset
        self.high_watermark = high_watermark
        self.emit(ApplyUpTo(high_watermark))
        return True

    def load_snapshot(self, snapshot: SnapshotId, voters: VoterSet) -> None:
        assert snapshot.end_offset > self.high_watermark
        self.log.reset_to(snapshot, voters)
        self.high_watermark = snapshot.end_offset
        self.emit(LoadSnapshot(snapshot))

    def _snapshot_taken(self, snapshot: SnapshotId) -> None:
        """Keep the log back to the snapshot before this one, so that a replica which lags by a little does not have to
        fetch a whole snapshot."""
        former = self.log.snapshot
        if former is not None and snapshot.end_offset <= former.end_offset:
            return  # a newer one was loaded meanwhile
        assert snapshot.end_offset <= self.high_watermark, (snapshot, self.high_watermark)
        self.log.snapshot = snapshot
        if former is not None and self.log.start_offset < former.end_offset <= self.log.durable_offset:
            self.log.drop_before(former.end_offset)
            self.emit(DropLogBefore(former.end_offset))

    # --- for the shell

    @property
    def gives_leadership_away(self) -> bool:
        return isinstance(self.role, Leader) and self.role.gives_leadership_away

    def replicas(self) -> tuple[ReplicaStatus, ...]:
        """What a leader knows of every replica, itself first; nothing on any other."""
        return self.role.replicas() if isinstance(self.role, Leader) else ()

    # --- for the roles

    @property
    def voters(self) -> VoterSet | None:
        return self.log.voters

    @property
    def stands(self) -> bool:
        """Whether this replica takes part in elections: it votes, or did until a voter set that may yet be cut.

        Removed by a set that is not known to be committed, it may be the only one that has that set: the others then
        need its vote, and it cannot give it to a shorter log. So it stands, without counting itself (Ongaro's thesis,
        §4.2.2), until it knows that the set is committed.
        """
        if self.is_voter:
            return True
        return any(voter.key == self.key for voters in self.log.voters_since(self.high_watermark) for voter in voters)

    @property
    def is_voter(self) -> bool:
        """Whether this replica counts: it is in the voter set in force, committed or not."""
        voters = self.log.voters
        return voters is not None and any(voter.key == self.key for voter in voters.voters)

    @property
    def named_leader(self) -> NodeId | None:
        return None if self.leader_is_gone else self.role.named_leader()

    def other_voters(self) -> tuple[Voter, ...]:
        voters = self.log.voters
        return tuple(voter for voter in voters.voters if voter.key != self.key) if voters else ()

    def whom_to_know(self) -> tuple[NodeId, ...]:
        """Nodes that may name the leader: the voters first, then those whom the operator lists besides."""
        voters = self.log.voters
        known = tuple(voter.key.node_id for voter in voters.voters) if voters else ()
        return tuple(node_id for node_id in (*known, *self.strangers()) if node_id != self.key.node_id)

    def strangers(self) -> tuple[NodeId, ...]:
        """Nodes that the operator lists and our voter set does not: they may vote by now, and our set be an old one."""
        known = [voter.key.node_id for voter in self.log.voters.voters] if self.log.voters else []
        return tuple(each for each in self._bootstrap if each not in known and each != self.key.node_id)

    def emit(self, effect: Effect) -> None:
        self._outbox.append(effect)

    def send(self, to: NodeId, request: Request, timeout_ms: int) -> RequestId:
        self._last_request_id += 1
        request_id = RequestId(self._last_request_id)
        self.emit(Send(to, request_id, request, timeout_ms))
        return request_id

    # --- delays

    def election_time_ms(self) -> int:
        return self.config.election_timeout_ms + self.chance.randrange(self.config.election_timeout_ms)

    def order(self) -> tuple[NodeId, ...]:
        """The order in which voters try to follow the leader of this epoch: it turns with the epoch, so that none is
        always last. A leader that was lost does not stand in it, except in its own view."""
        voters = self.log.voters.voters if self.log.voters else ()
        node_ids = [voter.key.node_id for voter in voters]
        node_ids = [node_id for node_id in node_ids if node_id == self.key.node_id or node_id != self.leader_id]
        turn = self.epoch % max(1, len(node_ids))
        return (*node_ids[turn:], *node_ids[:turn])

    def order_delay_ms(self) -> int:
        """The wait of this voter by its place in the order."""
        order = self.order()
        if self.key.node_id not in order or len(order) == 1:
            return 0
        slot_ms = max(1, self.config.election_jitter_ms // len(order))
        return order.index(self.key.node_id) * slot_ms + self.chance.randrange(max(1, slot_ms // 2))

    def courtesy_ms(self) -> int:
        """How long a voter holds back for another one that tries first."""
        return 3 * self.config.election_jitter_ms + self.chance.randrange(self.config.election_jitter_ms)

    def successor_delay_ms(self, rank: int) -> int:
        return rank * self.courtesy_ms()

    def backoff_ms(self) -> int:
        """After a lost vote: grows with each, and differs between those that lost together."""
        whole_ms = min(
            self.config.election_jitter_ms << min(self.election_failures, 16), self.config.election_backoff_ms_max
        )
        self.election_failures += 1
        return whole_ms - self.chance.randrange(whole_ms // 2 + 1)
