"""What the Kafka listener's handlers ask of the broker."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from broker.metadata.image import MetadataImage
from broker.replication.directory_status import DirectoryStatus
from broker.replication.fetch_types import FetchAnswer, FetchQuery, FoundOffset, OffsetsQuery
from broker.replication.partition import Partition
from broker.replication.producing import Batch, Produced
from broker.replication.verification import Transaction
from kraftpy.errors import KraftpyError
from log_store.producer_state import ProducerEntry


class Reads(Protocol):
    """What fetching and listing offsets need. `broker.replication.replicas.Replicas` is one."""

    async def fetch(self, query: FetchQuery) -> FetchAnswer:
        """Read, and wait for more where the query says so. Refusals are in the answer."""

    async def list_offsets(self, query: OffsetsQuery) -> list[FoundOffset]:
        """One answer for each target, in order."""


class Replicas(Reads, Protocol):
    """The partitions on this broker. `broker.replication.replicas.Replicas` is one."""

    async def produce(
        self, batches: Sequence[Batch], acks: int, timeout_ms: int, transaction: Transaction | None = None
    ) -> list[Produced]:
        """Append in the order of the calls, and answer when `acks` is satisfied. `transaction`: the batches are its."""

    async def wait_leaders_known(self) -> None:
        """Return at once, or a moment later where a leader was just lost sight of and nobody has taken its place."""

    def describe_producers(self, topic: str, partition: int) -> list[ProducerEntry]:
        """The producers that a replica here remembers, each once. Raises `KraftpyError`."""

    async def delete_records(self, topic: str, partition: int, before_offset: int, timeout_ms: int) -> int:
        """Drop what is below `before_offset` (-1: the high watermark); the new start. Raises `KraftpyError`."""

    def partition(self, topic: str, partition: int) -> Partition:
        """The replica here. Raises `UnknownTopicOrPartitionError`; `NotLeaderOrFollowerError`: it is elsewhere."""

    async def describe_directories(self, topics: Collection[str] = ()) -> list[DirectoryStatus]:
        """How the log directories stand, with the replicas of `topics` (none: of all)."""

    def move_replica(self, topic: str, partition: int, path: str) -> None:
        """Begin to move a replica to another directory; to where it is: cancel that. Raises `KraftpyError`."""


class ClusterView(Protocol):
    """The metadata as this node has applied it."""

    @property
    def image(self) -> MetadataImage: ...

    @property
    def has_joined(self) -> bool:
        """Whether the image reaches up to the beginning of this life of the node: only then others should see it."""

    @property
    def cluster_id(self) -> str: ...

    @property
    def controller_id(self) -> int | None: ...

    @property
    def missed(self) -> tuple[int, ...]:
        """Brokers that fell out of service a moment ago without taking leave, in ascending order."""


class Creation(Protocol):
    """Topics on demand. `broker.topic_creation.TopicCreation` is one."""

    async def try_briefly(self, names: Sequence[str]) -> Mapping[str, KraftpyError]:
        """Have them created where that is enabled; why what is not there is not there, by name."""
