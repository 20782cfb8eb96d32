"""Prospective and Candidate: asking the voters, first whether an election could be won (KIP-996), then for votes.

A pre-vote changes no epoch and binds nobody, so a voter that was cut off can ask as often as it likes without
disturbing a leader that the others hear. Votes are counted by replica key, id and directory, of the voter set in force.
"""

from typing import TYPE_CHECKING, ClassVar

from raft.events import FetchRequest, NodeId, ReplicaKey, RequestId, Response, VoteRequest, VoteResponse
from raft.role import Role, majority_of

if TYPE_CHECKING:
    from raft.core import RaftCore


class Election(Role):
    pre_vote: ClassVar[bool]

    def __init__(self, core: "RaftCore") -> None:
        super().__init__(core)
        assert core.voters is not None
        self._asked: dict[RequestId, ReplicaKey] = {}
        self._granted: list[ReplicaKey] = [core.key] if core.is_voter else []
        self._against = 0
        self._voter_count = len(core.voters.voters)
        self._ends_at_ms = core.now_ms + core.election_time_ms()

    def enter(self) -> None:
        core = self.core
        for voter in core.other_voters():
            request = VoteRequest(core.key, voter.key, core.epoch, core.log.last, self.pre_vote)
            request_id = core.send(voter.key.node_id, request, core.config.election_timeout_ms)
            self._asked[request_id] = voter.key
        self._judge()

    def deadline_ms(self) -> int | None:
        return self._ends_at_ms

    def time_passed(self) -> None:
        if self.core.now_ms >= self._ends_at_ms:
            self.lost()

    def responded(self, request_id: RequestId, sender: NodeId, response: Response) -> None:
        voter = self._asked.pop(request_id, None)
        if voter is None or not isinstance(response, VoteResponse):
            return
        if response.granted and response.epoch == self.core.epoch:
            self._granted.append(voter)
        else:
            self._against += 1
        self._judge()

    def failed(self, request_id: RequestId, receiver: NodeId, refused: bool) -> None:
        if self._asked.pop(request_id, None) is not None:
            self._against += 1
            self._judge()

    def _judge(self) -> None:
        majority = majority_of(self._voter_count)
        if len(self._granted) >= majority:
            self.won()
        elif self._voter_count - self._against < majority:
            self.lost()

    def won(self) -> None:
        raise AssertionError("an election knows what it is for")

    def lost(self) -> None:
        raise AssertionError("an election knows what it is for")


class Prospective(Election):
    """May still hear of the leader that it doubts; goes back to it when the others do not share the doubt."""

    name: ClassVar[str] = "prospective"
    pre_vote: ClassVar[bool] = True

    def enter(self) -> None:
        """Ask one of those besides who are listed by the operator, too: they may know a leader whom the voters of our
        log, removed and gone since, cannot name. Whatever they answer, the core learns epoch and leader from it."""
        core, strangers = self.core, self.core.strangers()
        if strangers:
            to = strangers[core.chance.randrange(len(strangers))]
            request = FetchRequest(core.key, core.epoch, core.log.durable, core.high_watermark, 0, 0)
            core.send(to, request, core.config.election_timeout_ms)
        super().enter()

    def denies_pre_vote(self, request: VoteRequest) -> bool:
        """Two that try at once would split the votes, so with equal logs the first in the order goes on and the other
        stands back. One that was denied itself has nothing to go on with."""
        core = self.core
        if self._against or request.last != core.log.last:
            return False
        order = core.order()
        candidate = request.candidate.node_id
        if core.key.node_id not in order:
            return False
        return candidate in order and order.index(core.key.node_id) < order.index(candidate)

    def vote_wished(self, pre_vote: bool) -> None:
        if pre_vote:
            self.core.stand_back(self.core.courtesy_ms())

    def won(self) -> None:
        self.core.to_candidate()

    def lost(self) -> None:
        self.core.pre_vote_lost()

    def leader_begins(self) -> None:
        self.core.to_follower()


class Candidate(Election):
    name: ClassVar[str] = "candidate"
    pre_vote: ClassVar[bool] = False

    def won(self) -> None:
        self.core.to_leader()

    def lost(self) -> None:
        self.core.to_unattached(self.core.epoch, self.core.backoff_ms())
