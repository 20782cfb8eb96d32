"""Choosing a record's partition where the user did not.

Records of one key go to one partition: murmur2 of the key, as Kafka's clients compute it, so that all of them agree.
Records without a key go to one partition for a while and then to another (sticky): large batches, an even spread
(KIP-480, KIP-794). Unlike Kafka's, the sticky choice also moves on after `linger_ms`: its batch is leaving by then, and
a partition gets the same share however slow its broker is.

A partitioner sees partition counts, not leaders: a partition without a leader keeps its share, since choosing another
would move keys.
"""

from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import Any, Protocol

from kraftpy.errors import ConfigurationError, KraftpyError

OwnPartitioner = Callable[[str, bytes | None, bytes | None, int], int]
"""(topic, key, value, partition_count) -> partition"""


class Partitioner(Protocol):
    """Chooses partitions. Called under the producer's lock, in the order of the sends."""

    def choose(self, topic: str, key: bytes | None, value: bytes | None, partition_count: int, now_ms: int) -> int:
        """A partition, 0 <= it < partition_count."""


@lru_cache(maxsize=8_192)  # keys repeat; one of 16 bytes costs 2 µs to hash and 0.1 µs to look up
def murmur2(data: bytes) -> int:
    """Kafka's variant of MurmurHash2 (32 bits, seed 0x9747b28c), unsigned."""
    length = len(data)
    hash_ = 0x9747B28C ^ length
    whole = length & ~3
    for position in range(0, whole, 4):
        word = int.from_bytes(data[position : position + 4], "little") * 0x5BD1E995 & 0xFFFFFFFF
        word = (word ^ (word >> 24)) * 0x5BD1E995 & 0xFFFFFFFF
        hash_ = (hash_ * 0x5BD1E995 & 0xFFFFFFFF) ^ word
    if length > whole:
        hash_ = (hash_ ^ int.from_bytes(data[whole:], "little")) * 0x5BD1E995 & 0xFFFFFFFF
    hash_ = (hash_ ^ (hash_ >> 13)) * 0x5BD1E995 & 0xFFFFFFFF
    return hash_ ^ (hash_ >> 15)


def partition_for_key(key: bytes, partition_count: int) -> int:
    """The partition of `key`, as every Kafka client finds it."""
    return (murmur2(key) & 0x7FFFFFFF) % partition_count


class StickyPartitioner:
    """Hashes keys; spreads records without one in runs of `batch_size` bytes or `linger_ms`, whichever ends first."""

    def __init__(self, batch_size: int, linger_ms: int, random: Random) -> None:
        self._batch_size = batch_size
        self._linger_ms = linger_ms
        self._random = random
        self._runs: dict[str, _Run] = {}

    def choose(self, topic: str, key: bytes | None, value: bytes | None, partition_count: int, now_ms: int) -> int:
        if key is not None:
            return partition_for_key(key, partition_count)
        run = self._runs.get(topic)
        if run is None or run.bytes_left <= 0 or now_ms >= run.ends_ms or run.partition >= partition_count:
            run = self._next_run(run, topic, partition_count, now_ms)
        run.bytes_left -= len(value) + _RECORD_BYTES if value is not None else _RECORD_BYTES
        return run.partition

    def _next_run(self, last: "_Run | None", topic: str, partition_count: int, now_ms: int) -> "_Run":
        if last is None or not last.order:
            # Every partition once, in a random order, then again: even, yet not in step with other producers.
            order = list(range(partition_count))
            self._random.shuffle(order)
        else:
            order = [partition for partition in last.order if partition < partition_count]
        run = _Run(order or [0], self._batch_size, now_ms + max(self._linger_ms, 1))
        self._runs[topic] = run
        return run


_RECORD_BYTES = 16  # what a small record costs beside its value


class _Run:
    __slots__ = ("bytes_left", "ends_ms", "order", "partition")

    def __init__(self, order: list[int], bytes_left: int, ends_ms: int) -> None:
        self.partition = order.pop()
        self.order = order  # the partitions that come after this run
        self.bytes_left = bytes_left
        self.ends_ms = ends_ms


class RoundRobinPartitioner:
    """Record by record over all partitions, whatever the key."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def choose(self, topic: str, key: bytes | None, value: bytes | None, partition_count: int, now_ms: int) -> int:
        partition = self._next.get(topic, 0) % partition_count
        self._next[topic] = partition + 1
        return partition


class CallablePartitioner:
    """A user's own choice, checked."""

    def __init__(self, choose: OwnPartitioner) -> None:
        self._choose = choose

    def choose(self, topic: str, key: bytes | None, value: bytes | None, partition_count: int, now_ms: int) -> int:
        partition = self._choose(topic, key, value, partition_count)
        if not isinstance(partition, int) or not 0 <= partition < partition_count:
            raise InvalidPartitionError(topic, partition, partition_count)
        return partition


class InvalidPartitionError(KraftpyError, name="INVALID_PARTITION"):
    """A record names a partition that its topic does not have."""

    def __init__(self, topic: str, partition: object, partition_count: int) -> None:
        super().__init__(f"{topic} has partitions 0 to {partition_count - 1}, not {partition!r}")


def partitioner(choice: Any, batch_size: int, linger_ms: int, random: Random) -> Partitioner:
    """The partitioner that a setting names. Raises `ConfigurationError`."""
    if isinstance(choice, type):
        choice = choice()
    if choice is None or choice == "sticky":
        return StickyPartitioner(batch_size, linger_ms, random)
    if choice == "round_robin" or (isinstance(choice, str) and choice.endswith(".RoundRobinPartitioner")):
        return RoundRobinPartitioner()
    if hasattr(choice, "partition") and not isinstance(choice, str):
        return CallablePartitioner(choice.partition)
    if callable(choice):
        return CallablePartitioner(choice)
    raise ConfigurationError(f"partitioner {choice!r} is neither callable nor one of sticky, round_robin")
