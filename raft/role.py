"""What every role answers, and what it does where it has nothing of its own to say.

A role is what a replica is at the moment; the core is what stays. A role changes the world only through the methods of
its core, reads the time from `core.now_ms`, and is never used again once the core has become something else.
"""

from typing import TYPE_CHECKING, ClassVar

from raft.events import (
    AnswerProposal,
    AnswerRead,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    NodeId,
    Offset,
    Proposed,
    ReadRequested,
    RequestId,
    Respond,
    Response,
    SnapshotReceived,
    VoterChangeRequested,
    VoteRequest,
)

if TYPE_CHECKING:
    from raft.core import RaftCore


class Role:
    name: ClassVar[str] = ""

    def __init__(self, core: "RaftCore") -> None:
        self.core = core

    def enter(self) -> None:
        """Called once, when the core has become this."""

    def leave(self) -> None:
        """Called once, when the core has become something else, with the new epoch already in force."""

    def deadline_ms(self) -> int | None:
        return None

    def time_passed(self) -> None: ...

    def named_leader(self) -> NodeId | None:
        """The leader of the epoch, to be told to others: nobody, where there is doubt."""
        return None

    def has_live_leader(self) -> bool:
        """Whether the epoch has a leader that this replica hears."""
        return False

    def denies_pre_vote(self, request: VoteRequest) -> bool:
        """Whether a candidate with a good log is told to wait."""
        return self.has_live_leader()

    def vote_wished(self, pre_vote: bool) -> None:
        """A vote or pre-vote was granted: leave the candidate some time."""

    def responded(self, request_id: RequestId, sender: NodeId, response: Response) -> None: ...

    def failed(self, request_id: RequestId, receiver: NodeId, refused: bool) -> None: ...

    def persisted(self) -> None: ...

    def leader_ended(self, successor_rank: int | None) -> None:
        """The leader of this epoch resigned; this replica is its choice number `successor_rank`, if any."""

    def leader_begins(self) -> None:
        """The leader that this replica knows already asks why it does not fetch."""

    def fetch(self, request_id: RequestId, request: FetchRequest) -> None:
        core = self.core
        core.emit(Respond(request_id, FetchResponse(False, core.epoch, core.named_leader, core.high_watermark, 0)))

    def fetch_snapshot(self, request_id: RequestId, request: FetchSnapshotRequest) -> None:
        core = self.core
        refusal = FetchSnapshotResponse(False, core.epoch, core.named_leader, request.snapshot, 0, -1, b"")
        core.emit(Respond(request_id, refusal))

    def proposed(self, event: Proposed) -> None:
        self.core.emit(AnswerProposal(event.proposal_id, None))

    def voter_change_requested(self, event: VoterChangeRequested) -> None:
        self.core.emit(AnswerProposal(event.proposal_id, None))

    def read_requested(self, event: ReadRequested) -> None:
        self.core.emit(AnswerRead(event.read_id, None))

    def snapshot_received(self, event: SnapshotReceived) -> None: ...

    def transfer_requested(self, to: NodeId | None) -> None: ...


def majority_of(voter_count: int) -> int:
    return voter_count // 2 + 1


def agreed_offset(durable_end_offsets: list[Offset]) -> Offset:
    """The greatest offset that a majority of voters has reached.

    Of [7, 9, 4] two have reached 7; of [7, 9, 4, 4] three have reached 4.
    """
    ascending = sorted(durable_end_offsets)
    return ascending[len(ascending) - majority_of(len(ascending))]
