"""What clients hand out and take: small immutable values, named as Kafka names them.

Timestamps are milliseconds since 1970, as they stand in the records; offsets count from 0, and a record's offset never
changes. `end_offset` is exclusive: the offset that the next record will get.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kraftpy.errors import KraftpyError

Headers = Sequence[tuple[str, bytes | None]]
"""A record's headers in order; names may repeat."""


class TopicPartition(NamedTuple):
    """One partition of a topic. Partitions count from 0."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class RecordMetadata(NamedTuple):
    """Where a record went. `offset` is -1 where nobody can say: with acks=0, or when only a retry was answered."""

    topic: str
    partition: int
    offset: int
    timestamp: int


class ProducerRecord(NamedTuple):
    """A record on its way to the cluster, as interceptors see and may replace it: not serialized yet."""

    topic: str
    value: Any
    key: Any
    headers: Headers
    partition: int | None
    timestamp: int | None


class ConsumerRecord(NamedTuple):
    """A record that was read; `key` and `value` as the deserializers made them (None: there is none).

    `leader_epoch`: of the leader that wrote it; a commit keeps it, so that no older leader is believed later (KIP-320).
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: Any
    value: Any
    headers: tuple[tuple[str, bytes | None], ...]
    leader_epoch: int = -1


class OffsetAndTimestamp(NamedTuple):
    """The first record at or after a time that was asked for."""

    offset: int
    timestamp: int


class OffsetAndMetadata(NamedTuple):
    """An offset that is to be committed, or was: of the next record to read; with a word of the committer's.

    `leader_epoch`: of the last record before it, -1 where it is not known.
    """

    offset: int
    metadata: str = ""
    leader_epoch: int = -1


class GroupMetadata(NamedTuple):
    """Who commits for a group: what a transaction needs to know of a consumer."""

    group_id: str
    member_id: str
    generation: int
    instance_id: str | None


OnCommit = Callable[[Mapping[TopicPartition, OffsetAndMetadata], KraftpyError | None], None]
"""Called once an asynchronous commit, from poll(), commit() or close(): with the offsets, and the error or None."""

OnDelivery = Callable[[RecordMetadata | None, KraftpyError | None], None]
"""Called once a record, in the order of its partition: with the metadata, or with the error."""


def names_of(names: str | Iterable[str]) -> list[str]:
    """Names as a user gives them: a plain text is one name, not its letters."""
    return [names] if isinstance(names, str) else list(names)
