"""The bytes in which members of a classic group tell each other what they want and get: Kafka's ConsumerProtocol. Pure.

    subscription  version int16 · topics · user data · owned partitions (v1) · generation (v2) · rack (v3)
    assignment    version int16 · partitions · user data

The coordinator passes them on unread. We write version 3, as kafka-clients 4.x does, byte by byte; a reader takes from
a newer version what it knows, and of an older one what is there.
"""

from collections.abc import Iterable, Sequence
from struct import Struct
from struct import error as StructError

from kraftpy.client.assignors.model import NO_GENERATION, Subscription, by_place, code_units
from kraftpy.client.values import TopicPartition
from kraftpy.errors import CorruptRecordError
from kraftpy.runtime.ports import Buffer

VERSION = 3
COUNT_MAX = 1_000_000  # topics or partitions in one message; more is damage

_INT16 = Struct(">h")
_INT32 = Struct(">i")


def write_subscription(subscription: Subscription) -> bytes:
    """A member's metadata in JoinGroup."""
    topics = sorted(subscription.topics, key=code_units)
    return b"".join(
        [
            _INT16.pack(VERSION),
            _INT32.pack(len(topics)),
            *[_string(topic) for topic in topics],
            _bytes(subscription.user_data),
            write_places(sorted(subscription.owned, key=by_place)),
            _INT32.pack(subscription.generation),
            _INT16.pack(-1) if subscription.rack is None else _string(subscription.rack),
        ]
    )


def read_subscription(data: Buffer, instance_id: str | None = None) -> Subscription:
    """Raises `CorruptRecordError`."""
    reader = _Reader(bytes(data))
    version = reader.int16()
    topics = tuple(reader.string() for _ in range(reader.count()))
    user_data = reader.nullable_bytes()
    owned = reader.places() if version >= 1 else []
    generation = reader.int32() if version >= 2 else NO_GENERATION
    rack = reader.nullable_string() if version >= 3 else None
    return Subscription(topics, tuple(owned), generation, rack, instance_id, user_data)


def write_assignment(places: Sequence[TopicPartition], user_data: bytes | None = None) -> bytes:
    """A member's part in SyncGroup."""
    return _INT16.pack(VERSION) + write_places(places) + _bytes(user_data)


def read_assignment(data: Buffer) -> list[TopicPartition]:
    """No bytes: nothing is assigned. Raises `CorruptRecordError`."""
    if not data:
        return []
    reader = _Reader(bytes(data))
    reader.int16()
    return reader.places()


def write_places(places: Iterable[TopicPartition]) -> bytes:
    """Topics in the order in which they come, each with its partitions."""
    by_topic: dict[str, list[int]] = {}
    for topic, partition in places:
        by_topic.setdefault(topic, []).append(partition)
    parts = [_INT32.pack(len(by_topic))]
    for topic, partitions in by_topic.items():
        parts += [_string(topic), _INT32.pack(len(partitions)), *[_INT32.pack(partition) for partition in partitions]]
    return b"".join(parts)


def read_places(data: bytes, position: int) -> tuple[list[TopicPartition], int]:
    """The partitions at `position`, and where they end. Raises `CorruptRecordError`."""
    reader = _Reader(data, position)
    return reader.places(), reader.position


def _string(text: str) -> bytes:
    data = text.encode()
    return _INT16.pack(len(data)) + data


def _bytes(data: bytes | None) -> bytes:
    return _INT32.pack(-1) if data is None else _INT32.pack(len(data)) + data


class _Reader:
    """Reads from left to right, and refuses to read past the end."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.position = position
        self._data = data

    def int16(self) -> int:
        return self._number(_INT16)

    def int32(self) -> int:
        return self._number(_INT32)

    def count(self) -> int:
        count = self.int32()
        if count > COUNT_MAX:
            raise CorruptRecordError(f"{count} entries in a member's metadata")
        return max(count, 0)

    def string(self) -> str:
        found = self.nullable_string()
        if found is None:
            raise CorruptRecordError("a name is missing in a member's metadata")
        return found

    def nullable_string(self) -> str | None:
        length = self.int16()
        try:
            return None if length < 0 else self._take(length).decode()
        except UnicodeDecodeError as error:
            raise CorruptRecordError(f"a name in a member's metadata is not UTF-8: {error}") from None

    def nullable_bytes(self) -> bytes | None:
        length = self.int32()
        return None if length < 0 else self._take(length)

    def places(self) -> list[TopicPartition]:
        found: list[TopicPartition] = []
        for _ in range(self.count()):
            topic = self.string()
            found += [TopicPartition(topic, self.int32()) for _ in range(self.count())]
        return found

    def _number(self, form: Struct) -> int:
        try:
            (number,) = form.unpack_from(self._data, self.position)
        except StructError:
            raise CorruptRecordError("a member's metadata ends too early") from None
        self.position += form.size
        return int(number)

    def _take(self, length: int) -> bytes:
        end = self.position + length
        if end > len(self._data):
            raise CorruptRecordError("a member's metadata ends too early")
        taken = self._data[self.position : end]
        self.position = end
        return taken
