"""What a consumer of Kafka's protocol says when it joins, as far as a coordinator looks into it: its topics, and the
partitions that it has.

The data is opaque otherwise; it comes from a client and may be anything.
"""

from collections.abc import Iterable
from struct import error as StructError
from struct import pack, unpack_from
from typing import NamedTuple

CONSUMER_PROTOCOL = "consumer"
"""The protocol type whose members say what they read."""


PartitionsByName = tuple[tuple[str, tuple[int, ...]], ...]


class Subscription(NamedTuple):
    topics: tuple[str, ...]
    owned: PartitionsByName
    """What it has while it joins: nothing, if its assignor is an eager one."""


def subscribed_topics(metadata: bytes) -> tuple[str, ...] | None:
    """The topics of a subscription (ConsumerProtocolSubscription, any version); None where it cannot be read."""
    said = read_subscription(metadata)
    return None if said is None else said.topics


def read_subscription(metadata: bytes) -> Subscription | None:
    """ConsumerProtocolSubscription, any version; None where it cannot be read.

    A version (int16), topics, user data (int32 length), and from version 1 on what it has. An array is a count (int32),
    a text a length (int16) and UTF-8.
    """
    try:
        reader = _Reader(metadata)
        version = reader.number(">h")
        if version < 0:
            return None
        topics = tuple(reader.text() for _ in range(reader.count()))
        if version < 1:
            return Subscription(topics, ())
        reader.skip(max(0, reader.number(">i")))
        return Subscription(topics, reader.partitions())
    except (StructError, ValueError):
        return None


def read_assignment(assignment: bytes) -> PartitionsByName | None:
    """What a leader handed out (ConsumerProtocolAssignment, any version); None where it cannot be read."""
    if not assignment:
        return ()
    try:
        reader = _Reader(assignment)
        return None if reader.number(">h") < 0 else reader.partitions()
    except (StructError, ValueError):
        return None


def encoded_assignment(partitions: Iterable[tuple[str, tuple[int, ...]]]) -> bytes:
    """As version 0, which every consumer reads."""
    topics = [
        pack(">h", len(name.encode())) + name.encode() + pack(f">i{len(each)}i", len(each), *each)
        for name, each in partitions
    ]
    return pack(">hi", 0, len(topics)) + b"".join(topics) + pack(">i", -1)


class _Reader:
    """Raises `StructError` or `ValueError` for what cannot be read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def number(self, layout: str) -> int:
        (value,) = unpack_from(layout, self._data, self._position)
        self._position += 2 if layout == ">h" else 4
        return int(value)

    def count(self) -> int:
        count = self.number(">i")
        if not 0 <= count <= len(self._data) // 2:
            raise ValueError(f"an array of {count}")
        return count

    def skip(self, size: int) -> bytes:
        taken = self._data[self._position : self._position + size]
        if size < 0 or len(taken) != size:
            raise ValueError(f"{size} bytes")
        self._position += size
        return taken

    def text(self) -> str:
        return self.skip(self.number(">h")).decode()

    def partitions(self) -> PartitionsByName:
        return tuple((self.text(), tuple(self.number(">i") for _ in range(self.count()))) for _ in range(self.count()))
