"""A door of a cluster as the benchmark uses it: topics, a sender and a reader.

There are two, `grpc_door` and `kafka_door`. They raise and hand over `kraftpy.errors` only, whatever client is behind
them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from cli.bench.names import DoorName
from kraftpy.client.values import ConsumerRecord, Headers, TopicPartition
from kraftpy.errors import KraftpyError

Told = Callable[[int, int, KraftpyError | None], None]
"""What became of a record: its tag, its partition (-1 where it has none) and its error or None.

Called once a record, on a thread of the door's.
"""

Position = Mapping[TopicPartition, int]
"""An offset for each partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderSettings:
    """How records are sent. None: as the door's client does by itself."""

    acks: str = "all"  # all, 1, 0
    compression: str = "none"
    batch_size: int | None = None  # bytes
    linger_ms: int | None = None
    others: Mapping[str, str] = field(default_factory=dict)  # by Kafka's names, as given with -X


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderSettings:
    """How records are read."""

    group: str | None = None
    others: Mapping[str, str] = field(default_factory=dict)


class Sender(Protocol):
    """A producer whose records all go to one topic."""

    def send(self, tag: int, value: bytes, key: bytes | None, headers: Headers | None, partition: int | None) -> None:
        """Hand over a record; waits where the client has no room. What becomes of it is told, with its `tag`.

        Raises what makes sending it impossible, as `RecordTooLargeError`; then it is not told.
        """

    def flush(self, timeout: float) -> None:
        """Wait until the fate of all records is told, or `timeout` seconds are over."""

    def close(self) -> None:
        """End, without waiting: what is under way is given up, and told or never told."""


class Reader(Protocol):
    """A consumer. It belongs to one thread at a time."""

    def ends(self, topic: str, partitions: int) -> dict[TopicPartition, int]:
        """The offset that each partition's next record will get."""

    def assign(self, start: Position) -> None:
        """Read these partitions from there."""

    def assign_from_beginning(self, topic: str, partitions: int) -> None:
        """Read all of a topic."""

    def subscribe(self, topic: str) -> None:
        """Read a topic as a member of the group."""

    def position(self, place: TopicPartition) -> int:
        """The offset up to which a partition has been read, what is no record included."""

    def poll(self, timeout: float) -> Sequence[Any]:
        """The next records as the client has them, as soon as there are any; none after `timeout` seconds at most."""

    def size_bytes(self, records: Sequence[Any]) -> int:
        """Of their values together."""

    def seen(self, records: Sequence[Any]) -> Iterable[ConsumerRecord]:
        """The same records as ours are."""

    def commit(self) -> None:
        """In a group: commit what has been polled, and wait."""

    def close(self) -> None: ...


class Door(Protocol):
    """A way into a cluster."""

    name: DoorName

    def brokers(self) -> int:
        """How many are in service. Raises `NoBrokersAvailableError`."""

    def partitions_of(self, topic: str) -> int | None:
        """None where there is no such topic."""

    def create_topic(self, topic: str, partitions: int, replication_factor: int, config: Mapping[str, str]) -> None: ...

    def delete_topic(self, topic: str) -> None: ...

    def sender(self, topic: str, settings: SenderSettings, told: Told) -> Sender: ...

    def reader(self, settings: ReaderSettings) -> Reader: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
