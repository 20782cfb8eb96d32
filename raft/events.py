"""What happens to a replica of the quorum, and what it wants done: the whole conversation with the core.

`RaftCore.step(event) -> Effects` is the only way in. Every event carries `now_ms` (monotonic). The core never reads a
clock, a disk or a socket: the shell (`raft.node`) turns the world into events and effects into deeds.

Replication is pulled (KIP-595): followers and observers fetch from the leader, which learns their positions from the
offsets that they ask for. An entry covers `count` offsets, `[offset, offset + count)`, because one atomic batch holds
several metadata records; every end offset is exclusive.
"""

from dataclasses import dataclass, field
from typing import NewType
from uuid import UUID

NodeId = NewType("NodeId", int)
Epoch = NewType("Epoch", int)
Offset = NewType("Offset", int)
RequestId = NewType("RequestId", int)


@dataclass(frozen=True, slots=True, order=True)
class ReplicaKey:
    """A replica is a node on a disk: with a new disk it is another replica (KIP-853)."""

    node_id: NodeId
    directory_id: UUID


@dataclass(frozen=True, slots=True)
class Voter:
    key: ReplicaKey
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class VoterSet:
    """Control record: the voters from this offset on. Sorted by node id; entry 0 of a founded log."""

    voters: tuple[Voter, ...]


@dataclass(frozen=True, slots=True)
class LeaderChange:
    """Control record with which a leader opens its epoch."""

    leader_id: NodeId
    voters: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One atomic batch of the log. `body` is opaque bytes (the state machine's) or a control record."""

    offset: Offset
    count: int  # >= 1
    epoch: Epoch
    body: bytes | VoterSet | LeaderChange

    @property
    def end_offset(self) -> Offset:
        return Offset(self.offset + self.count)


@dataclass(frozen=True, slots=True, order=True)
class LogPosition:
    """The end of a log, or of a prefix of it: ordered as Raft compares logs (epoch first)."""

    epoch: Epoch
    end_offset: Offset


@dataclass(frozen=True, slots=True, order=True)
class SnapshotId:
    """Covers every committed entry below `end_offset`; `epoch` is that of the last of them (KIP-630)."""

    epoch: Epoch
    end_offset: Offset


# --- messages --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VoteRequest:
    candidate: ReplicaKey
    voter: ReplicaKey | None  # whom the candidate believes to ask; another directory grants nothing
    epoch: Epoch  # of a pre-vote: the candidate's current one, not raised
    last: LogPosition
    pre_vote: bool


@dataclass(frozen=True, slots=True)
class VoteResponse:
    epoch: Epoch
    leader_id: NodeId | None
    granted: bool


@dataclass(frozen=True, slots=True)
class BeginQuorumEpochRequest:
    """A new leader makes itself known to voters that do not fetch from it yet."""

    leader_id: NodeId
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class EndQuorumEpochRequest:
    """A leader that resigns names the voters that should try next, the most caught up first."""

    leader_id: NodeId
    epoch: Epoch
    preferred: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class EpochResponse:
    """Answers Begin- and EndQuorumEpoch."""

    epoch: Epoch
    leader_id: NodeId | None


@dataclass(frozen=True, slots=True)
class FetchRequest:
    replica: ReplicaKey
    epoch: Epoch
    position: LogPosition  # what the replica has *durably*: its end offset and the epoch of its last entry
    high_watermark: Offset  # that it knows: the leader answers at once where its own is higher (KIP-1166)
    round: int  # last `FetchResponse.round` seen in this epoch, else 0: proof for linearizable reads
    max_wait_ms: int


@dataclass(frozen=True, slots=True)
class FetchResponse:
    """At most one of `diverging`, `snapshot`, `entries` says something. `granted` false: wrong leader or epoch."""

    granted: bool
    epoch: Epoch
    leader_id: NodeId | None
    high_watermark: Offset
    round: int
    diverging: LogPosition | None = None  # truncate to this first
    snapshot: SnapshotId | None = None  # fetch this first: the log no longer reaches back so far
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class FetchSnapshotRequest:
    replica: ReplicaKey
    epoch: Epoch
    snapshot: SnapshotId
    position: int  # bytes
    size_max: int  # bytes


@dataclass(frozen=True, slots=True)
class FetchSnapshotResponse:
    granted: bool
    epoch: Epoch
    leader_id: NodeId | None
    snapshot: SnapshotId
    position: int
    size: int  # of the whole snapshot, bytes; -1: this snapshot is gone, fetch again
    chunk: bytes


Request = VoteRequest | BeginQuorumEpochRequest | EndQuorumEpochRequest | FetchRequest | FetchSnapshotRequest
Response = VoteResponse | EpochResponse | FetchResponse | FetchSnapshotResponse


# --- events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The deadline last asked for has been reached (after everything received before was handled)."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class RequestReceived:
    now_ms: int
    request_id: RequestId  # the shell's; answered by `Respond` exactly once
    request: Request


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    now_ms: int
    request_id: RequestId  # the core's, of its `Send`
    sender: NodeId
    response: Response


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """`refused`: nobody listens there or the connection broke; otherwise the time ran out."""

    now_ms: int
    request_id: RequestId
    receiver: NodeId
    refused: bool


@dataclass(frozen=True, slots=True)
class Persisted:
    """The log is durable up to `end_offset`."""

    now_ms: int
    end_offset: Offset


@dataclass(frozen=True, slots=True)
class Proposed:
    """Append `body` (as `count` records) if this replica still leads `epoch` and it comes to stand at `base_offset`
    (where a state machine has replayed it already). Otherwise it is refused and nothing is appended."""

    now_ms: int
    proposal_id: RequestId
    epoch: Epoch
    body: bytes
    count: int
    base_offset: Offset | None = None  # None: anywhere


@dataclass(frozen=True, slots=True)
class ReadRequested:
    """Answer once every entry committed before now is below the answered offset and leadership was proven after now."""

    now_ms: int
    read_id: RequestId


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """The state machine's snapshot is durable; the log below it may go."""

    now_ms: int
    snapshot: SnapshotId


@dataclass(frozen=True, slots=True)
class SnapshotReceived:
    """The snapshot asked for by `Send(FetchSnapshotRequest)` is complete, verified and durable."""

    now_ms: int
    snapshot: SnapshotId
    voters: VoterSet


@dataclass(frozen=True, slots=True)
class TransferRequested:
    """Give leadership to a voter (None: the most caught up) and resign; nothing happens on a replica that follows."""

    now_ms: int
    to: NodeId | None


@dataclass(frozen=True, slots=True)
class VoterChangeRequested:
    """Replace the voter set by one that differs in a single voter (KIP-853); it comes to stand at `base_offset`, or is
    refused, as for `Proposed`."""

    now_ms: int
    proposal_id: RequestId
    epoch: Epoch
    voters: VoterSet
    base_offset: Offset | None = None  # None: anywhere


Event = (
    TimePassed
    | RequestReceived
    | ResponseReceived
    | RequestFailed
    | Persisted
    | Proposed
    | ReadRequested
    | SnapshotTaken
    | SnapshotReceived
    | TransferRequested
    | VoterChangeRequested
)


# --- effects ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PersistVote:
    """Durable before anything later in the same list is done, and before any later `step`."""

    epoch: Epoch
    voted: ReplicaKey | None
    leader_id: NodeId | None


@dataclass(frozen=True, slots=True)
class Truncate:
    """Cut the log to `end_offset`, durably before the next append; never below the high watermark."""

    end_offset: Offset


@dataclass(frozen=True, slots=True)
class Append:
    """Write, start a flush, and report `Persisted` once it is durable. More may be appended meanwhile."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class LoadSnapshot:
    """Replace state machine and log by the received snapshot; the log then starts (and ends) at its end offset."""

    snapshot: SnapshotId


@dataclass(frozen=True, slots=True)
class DropLogBefore:
    """A snapshot covers what is below `start_offset`."""

    start_offset: Offset


@dataclass(frozen=True, slots=True)
class Send:
    to: NodeId
    request_id: RequestId
    request: Request
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Respond:
    request_id: RequestId
    response: Response


@dataclass(frozen=True, slots=True)
class RespondEntries:
    """Respond with `response` plus the entries from `offset` on, read by the shell, below `end_offset`, about
    `bytes_max` in size and at least one."""

    request_id: RequestId
    response: FetchResponse
    offset: Offset
    end_offset: Offset
    bytes_max: int


@dataclass(frozen=True, slots=True)
class RespondSnapshot:
    """Respond with a chunk of a snapshot, read by the shell."""

    request_id: RequestId
    request: FetchSnapshotRequest
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class AnswerProposal:
    """`end_offset` of the committed entry; None: not committed by this leader, its fate unknown or refused."""

    proposal_id: RequestId
    end_offset: Offset | None


@dataclass(frozen=True, slots=True)
class AnswerRead:
    """Serve the read once applied up to `offset`; None: this replica does not lead."""

    read_id: RequestId
    offset: Offset | None


@dataclass(frozen=True, slots=True)
class ApplyUpTo:
    """Everything below `high_watermark` is committed."""

    high_watermark: Offset


@dataclass(frozen=True, slots=True)
class LeaderKnown:
    """The epoch or its leader changed. `leader_id` may be None while there is none."""

    epoch: Epoch
    leader_id: NodeId | None


@dataclass(frozen=True, slots=True)
class BecameLeader:
    """This replica leads `epoch`, and all earlier entries plus its `LeaderChange` are committed: it may propose."""

    epoch: Epoch
    end_offset: Offset  # of the LeaderChange: the state machine must be applied up to here first


@dataclass(frozen=True, slots=True)
class Resigned:
    """This replica no longer leads `epoch`."""

    epoch: Epoch


Effect = (
    PersistVote
    | Truncate
    | Append
    | LoadSnapshot
    | DropLogBefore
    | Send
    | Respond
    | RespondEntries
    | RespondSnapshot
    | AnswerProposal
    | AnswerRead
    | ApplyUpTo
    | LeaderKnown
    | BecameLeader
    | Resigned
)


@dataclass(frozen=True, slots=True)
class Effects:
    """Done in order. `deadline_ms`: when to step with `TimePassed` if nothing happens before."""

    items: tuple[Effect, ...] = field(default=())
    deadline_ms: int | None = None
