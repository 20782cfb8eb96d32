"""What the shell of the quorum needs of the world: a log, a place for votes, a way to the others, a state machine.

The broker adapts its log store, its disk and its transport to these; tests bring dumb ones. Nothing here is a core's.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from raft.events import Entry, Epoch, NodeId, Offset, PersistVote, Request, Response, SnapshotId, VoterSet


class Peer(NamedTuple):
    """Where a replica of the quorum listens."""

    node_id: NodeId
    host: str
    port: int


class SnapshotCorrupted(Exception):
    """A received snapshot is not what its sender has: it is thrown away and asked for again."""


class SnapshotWriter(Protocol):
    """A snapshot on its way to the disk; it does not exist before `finish` has returned."""

    def write(self, chunk: bytes) -> None: ...

    async def finish(self) -> VoterSet:
        """Verify and make durable; the voters that the snapshot names. Raises `SnapshotCorrupted`, `OSError`."""

    def abort(self) -> None:
        """Forget it. Also after a failed `finish`."""


class ReplicatedLog(Protocol):
    """The quorum's log on disk. Every `OSError`, and a corrupt entry met on reading, stops the replica."""

    @property
    def start_offset(self) -> Offset: ...

    @property
    def end_offset(self) -> Offset: ...

    def epochs(self) -> Sequence[tuple[Epoch, Offset]]:
        """Each epoch that has entries, with its first offset (not below `start_offset`); ascending."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Write, without waiting for the disk. The entries continue the log."""

    async def flush(self) -> Offset:
        """Make everything durable that was appended before the call; the end of what is durable. One at a time: the
        shell neither truncates nor resets meanwhile, but it does append."""

    def read(self, offset: Offset, end_offset: Offset, bytes_max: int) -> list[Entry]:
        """The entries of `[offset, end_offset)`, at least one, and no more than about `bytes_max`."""

    def note_committed(self, end_offset: Offset) -> None:
        """All that is below, as far as it is durable, must never be missing: to be remembered, soon."""

    def truncate(self, end_offset: Offset) -> None:
        """Cut, durably before the next append."""

    def drop_before(self, start_offset: Offset) -> None:
        """What lies below may go (also later, and also in part)."""

    def reset_to(self, snapshot: SnapshotId) -> None:
        """Throw the log away and begin at the snapshot's end. A crash in the middle leaves the old log or the new."""

    def latest_snapshot(self) -> SnapshotId | None: ...

    def snapshot_voters(self, snapshot: SnapshotId) -> VoterSet: ...

    def snapshot_size(self, snapshot: SnapshotId) -> int | None:
        """Bytes; None where it is gone. The one before the latest should stay while somebody may be fetching it."""

    def read_snapshot(self, snapshot: SnapshotId, position: int, size_max: int) -> bytes: ...

    async def damage_of(self, snapshot: SnapshotId) -> str | None:
        """Why a snapshot that is here is not what was written; None: it is."""

    def begin_snapshot(self, snapshot: SnapshotId, voters: VoterSet | None) -> SnapshotWriter:
        """`voters` stand in a snapshot of our own; None: the bytes come from another replica and name them."""


class VoteStore(Protocol):
    async def load(self, log_epoch: Epoch = Epoch(0)) -> PersistVote | None:
        """None before the first vote. `log_epoch` is the last of our log: a vote that is older, or missing where there
        is one, was lost, for it is durable before anything of its epoch is appended. Raises what says so."""

    async def save(self, vote: PersistVote) -> None:
        """Durable when it returns, and old or new after a crash (KAFKA-16541)."""


class QuorumTransport(Protocol):
    async def request(self, to: Peer, request: Request, timeout_ms: int) -> Response:
        """Raises `kraftpy.runtime.ports.TransportError`, also where another replica than `to.node_id` listens there;
        `Unreachable` is taken as evidence that the peer is gone."""


class StateMachine(Protocol):
    """What the log is for. All calls come from one task, in the order of the log, and never during a core's step."""

    def apply(self, entries: Sequence[Entry]) -> None:
        """Committed entries, control records among them, without gaps from the last ones or the snapshot loaded."""

    def snapshot(self) -> Iterator[bytes]:
        """The state as of everything applied so far. The chunks are drawn while the loop goes on and the state moves
        on: so it takes an immutable image."""

    async def load_snapshot(self, snapshot: SnapshotId, chunks: Iterator[bytes]) -> None:
        """Replace the state. `chunks` are cut anywhere; together they are what `snapshot` gave."""

    def leader_changed(self, epoch: Epoch, leader_id: NodeId | None) -> None: ...

    def became_leader(self, epoch: Epoch) -> None:
        """This replica may propose in `epoch`; everything earlier is applied."""

    def resigned(self, epoch: Epoch) -> None: ...
