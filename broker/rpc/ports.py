"""What the gRPC services ask of the node that they are a door of."""

from collections.abc import Collection, Sequence
from typing import Protocol, TypeVar

from broker.controller.commands import Command
from broker.metadata.image import MetadataImage
from broker.replication.directory_status import DirectoryStatus
from broker.replication.fetch_types import FetchAnswer, FetchQuery, FoundOffset, OffsetsQuery
from broker.replication.health import ReplicaProgress
from broker.replication.partition import Partition
from broker.replication.producing import Batch, Produced
from broker.replication.verification import Transaction
from raft.events import NodeId
from raft.status import QuorumStatus

R = TypeVar("R")


class ImageSource(Protocol):
    """The metadata as this node has applied it."""

    @property
    def image(self) -> MetadataImage:
        """The newest image; before the node has joined it may be empty, or of long ago."""

    @property
    def has_joined(self) -> bool:
        """Whether the image reaches up to the beginning of this life of the node: only then others should see it."""

    @property
    def cluster_id(self) -> str:
        """Empty before the cluster is founded."""

    @property
    def controller_id(self) -> int | None:
        """Who is believed to lead the quorum; None where nobody is known."""


class ControllerLink(Protocol):
    """The active controller, wherever it is."""

    async def run(self, method: str, payload: bytes, timeout_ms: int) -> bytes:
        """Run Admin's `method` ("CreateTopics") with its serialized request; its serialized response, once this node
        has applied the metadata that the response tells of.

        Raises `KraftpyError`: `NotControllerError` where none is known, `RequestTimedOutError`, and refusals.
        """


class Replicas(Protocol):
    """The partitions on this broker. `broker.replication.replicas.Replicas` is one."""

    async def produce(
        self, batches: Sequence[Batch], acks: int, timeout_ms: int, transaction: Transaction | None = None
    ) -> list[Produced]:
        """Append everything before the first wait, and answer when `acks` is satisfied.

        `transaction`: the one that the transactional batches belong to; where it begins, its coordinator comes first.
        """

    async def fetch(self, query: FetchQuery) -> FetchAnswer:
        """Read, and wait for more where the query says so. Refusals are in the answer."""

    async def list_offsets(self, query: OffsetsQuery) -> list[FoundOffset]:
        """One answer for each target, in order."""

    async def delete_records(self, topic: str, partition: int, before_offset: int, timeout_ms: int) -> int:
        """Drop what is below `before_offset` (-1: the high watermark); the new start. Raises `KraftpyError`."""

    def progress(self, topic: str, partition: int) -> list[ReplicaProgress]:
        """How far the replicas are that are being added to a partition led here. Raises `KraftpyError`."""

    async def describe_directories(self, topics: Collection[str] = ()) -> list[DirectoryStatus]:
        """How the log directories stand, with the replicas of `topics` (none: of all)."""

    def partition(self, topic: str, partition: int) -> Partition:
        """The replica here. Raises `KraftpyError`."""

    def move_replica(self, topic: str, partition: int, path: str) -> None:
        """Begin to move a replica to another directory; to where it is: cancel that. Raises `KraftpyError`."""


class Commands(Protocol):
    """The controller of this node. `broker.controller.shell.Controller` is one."""

    async def submit(self, command: Command[R]) -> R:
        """The answer, once what it says is committed. Raises `NotControllerError`, and the command's refusals."""


class Quorum(Protocol):
    """This node's replica of the quorum. `raft.node.RaftNode` is one."""

    def status(self) -> QuorumStatus: ...

    async def transfer_leadership(self, to: NodeId | None = None) -> None:
        """Give leadership away, if this replica has it; returns once it has stepped down, or has given up trying."""
