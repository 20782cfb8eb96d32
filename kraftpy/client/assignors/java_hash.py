"""The order in which Java's `HashMap` and `HashSet` walk through their keys. Pure.

Where several members have an equal right to keep one partition more, kafka-clients decides by that order, which is as
good as any and, since Java specifies `String.hashCode`, the same on every machine. A group whose leader may be written
in either language stays calm only if both decide alike.

A table of 2^n buckets is walked bucket by bucket, a bucket in the order of insertion. It doubles when more than three
quarters are full and never shrinks. (Java turns buckets of eight keys and more into trees; that such a bucket
comes into being by chance is as likely as one in ten million.)
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from kraftpy.client.values import TopicPartition

T = TypeVar("T")

FIRST_BUCKETS = 16


def string_hash(text: str) -> int:
    """`String.hashCode`, as 32 bits without a sign."""
    units = text.encode("utf-16-be", "surrogatepass")
    value = 0
    for index in range(0, len(units), 2):
        value = (31 * value + (units[index] << 8 | units[index + 1])) & 0xFFFFFFFF
    return value


def place_hash(place: TopicPartition) -> int:
    """Kafka's `TopicPartition.hashCode`."""
    return (31 * (31 + place.partition) + string_hash(place.topic)) & 0xFFFFFFFF


class HashOrder(Generic[T]):
    """A set of keys that is walked as a Java hash set is."""

    def __init__(self, hash_of: Callable[[T], int]) -> None:
        self._hash_of = hash_of
        self._spread: dict[T, int] = {}  # by key, in the order of insertion
        self._buckets = FIRST_BUCKETS

    def add(self, key: T) -> None:
        if key in self._spread:
            return
        value = self._hash_of(key)
        self._spread[key] = value ^ (value >> 16)
        if len(self._spread) > self._buckets * 3 // 4:
            self._buckets *= 2

    def remove(self, key: T) -> None:
        del self._spread[key]

    def __len__(self) -> int:
        return len(self._spread)

    def keys(self) -> list[T]:
        mask = self._buckets - 1
        return sorted(self._spread, key=lambda key: self._spread[key] & mask)

    def first(self) -> T:
        mask = self._buckets - 1
        return min(self._spread, key=lambda key: self._spread[key] & mask)


def in_hash_order(texts: Iterable[str]) -> list[str]:
    """Strings as a `HashMap` holds them, into which they were put in the order given."""
    table: HashOrder[str] = HashOrder(string_hash)
    for text in texts:
        table.add(text)
    return table.keys()
