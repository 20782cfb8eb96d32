"""A batch of records of one partition, from its first record to its outcome. Pure.

    OPEN ──close──► CLOSED ──send──► IN_FLIGHT ──answer──► ANSWERED ──its turn──► DONE
                                      ▲      │ failed, may be tried again
                                      └──── WAITING

A batch is ANSWERED when its fate is known and DONE when everything sent before it to the partition is DONE too; only
then do its records' futures and callbacks hear of it, so that callbacks come in the partition's order. A batch that was
too large for its topic is split: its parts take its place, records and listeners, and it is never DONE itself.
"""

from bisect import bisect_right
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import Enum, auto
from typing import NamedTuple

from kraftpy.client.values import OnDelivery, RecordMetadata
from kraftpy.errors import KraftpyError
from kraftpy.record import BatchBuilder


class BatchState(Enum):
    OPEN = auto()
    CLOSED = auto()
    IN_FLIGHT = auto()
    WAITING = auto()
    ANSWERED = auto()
    DONE = auto()


class ProducerIdentity(NamedTuple):
    """Under which name a partition's batches are numbered (KIP-98)."""

    producer_id: int
    epoch: int


NO_IDENTITY = ProducerIdentity(-1, -1)

Listener = tuple[int, int, OnDelivery]
"""(index of the record in its batch, its timestamp, whom to tell)"""


class Batch:
    """Records of one partition that travel and succeed or fail together."""

    __slots__ = (
        "append_time_ms",
        "attempts",
        "base_offset",
        "base_sequence",
        "builder",
        "created_ms",
        "encoded",
        "error",
        "identity",
        "last_failure",
        "listeners",
        "lock",
        "maybe_written",
        "partition",
        "parts",
        "record_count",
        "reserved_bytes",
        "stamp",
        "state",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        partition: int,
        builder: BatchBuilder | None,
        created_ms: int,
        lock: AbstractContextManager[object],
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.builder = builder  # None once encoded
        self.created_ms = created_ms  # by the monotonic clock: when its first record came
        self.lock = lock  # the producer's; held while listeners are added
        self.state = BatchState.OPEN
        self.record_count = 0
        self.reserved_bytes = 0  # of buffer_memory, until DONE
        self.listeners: list[Listener] = []
        self.parts: list[tuple[int, Batch]] | None = None  # after a split: (index of its first record, part)
        self.encoded: bytes | None = None  # from the first sending until ANSWERED
        self.identity = NO_IDENTITY
        self.base_sequence = -1  # set with `identity`, together
        self.stamp: tuple[ProducerIdentity, int] | None = None  # identity and sequence that `encoded` carries
        self.attempts = 0  # sendings so far
        self.maybe_written = False  # some attempt may have reached a log, and no answer has said
        self.last_failure: KraftpyError | None = None
        self.base_offset = -1
        self.append_time_ms = -1
        self.error: KraftpyError | None = None

    def succeed(self, base_offset: int, append_time_ms: int) -> None:
        self.base_offset = base_offset
        self.append_time_ms = append_time_ms
        self._answer()

    def fail(self, error: KraftpyError) -> None:
        self.error = error
        self._answer()

    def disown(self, error: KraftpyError) -> None:
        """Its fate is another process's affair."""
        self.listeners = []
        self.error = error
        self.state = BatchState.DONE

    def outcome(self, index: int, timestamp_ms: int) -> RecordMetadata | KraftpyError:
        """What became of one record. The batch must be DONE."""
        assert self.state is BatchState.DONE
        if self.error is not None:
            return self.error
        offset = self.base_offset + index if self.base_offset >= 0 else -1
        timestamp_ms = self.append_time_ms if self.append_time_ms >= 0 else timestamp_ms
        return RecordMetadata(self.topic, self.partition, offset, timestamp_ms)

    def resolve(self, index: int) -> "tuple[Batch, int]":
        """The batch that now holds the record `index`, and its index there."""
        batch = self
        while batch.parts is not None:
            position = bisect_right(batch.parts, index, key=lambda part: part[0]) - 1
            first, batch = batch.parts[position]
            index -= first
        return batch, index

    def split(self, parts: "list[Batch]") -> None:
        """Hand the records over to `parts`, which follow each other."""
        assert sum(part.record_count for part in parts) == self.record_count
        self.parts = []
        first = 0
        for part in parts:
            self.parts.append((first, part))
            first += part.record_count
        for index, timestamp_ms, tell in self.listeners:
            part, inner = self.resolve(index)
            part.listeners.append((inner, timestamp_ms, tell))
        self.listeners = []
        self.encoded = None

    def _answer(self) -> None:
        assert self.state not in (BatchState.ANSWERED, BatchState.DONE)
        self.state = BatchState.ANSWERED
        self.encoded = None
        self.builder = None


class Delivery:
    """The fate of one record that was sent. The base of what `send` returns."""

    __slots__ = ("_batch", "_index", "_timestamp_ms")

    def __init__(self, batch: Batch, index: int, timestamp_ms: int) -> None:
        self._batch = batch
        self._index = index
        self._timestamp_ms = timestamp_ms

    def done(self) -> bool:
        """Whether the record has been delivered or given up."""
        batch = self._batch
        if batch.parts is not None:
            batch, _ = batch.resolve(self._index)
        return batch.state is BatchState.DONE

    def add_done_callback(self, callback: OnDelivery) -> None:
        """Call `callback(metadata, error)` once: later, or at once where the fate is known."""
        if not self.done():
            with self._batch.lock:
                batch, index = self._batch.resolve(self._index)
                if batch.state is not BatchState.DONE:
                    batch.listeners.append((index, self._timestamp_ms, callback))
                    return
        batch, index = self._batch.resolve(self._index)
        tell(callback, batch.outcome(index, self._timestamp_ms))

    def remove_done_callback(self, callback: OnDelivery) -> int:
        """Call it no more; how often it would have been called."""
        if self.done():
            return 0
        with self._batch.lock:
            batch, index = self._batch.resolve(self._index)
            kept = [each for each in batch.listeners if each[0] != index or each[2] != callback]
            removed = len(batch.listeners) - len(kept)
            batch.listeners = kept
        return removed

    def _outcome(self) -> RecordMetadata | KraftpyError:
        batch, index = self._batch.resolve(self._index)
        return batch.outcome(index, self._timestamp_ms)


MakeDelivery = Callable[[Batch, int, int], Delivery]


def tell(listener: OnDelivery, outcome: RecordMetadata | KraftpyError) -> None:
    """Hand an outcome to a listener in its two arguments."""
    if isinstance(outcome, KraftpyError):
        listener(None, outcome)
    else:
        listener(outcome, None)
