"""Batches of idempotent producers that were refused for now: what was sent right behind them is refused likewise.

A producer has up to five requests on their way. Where the first meets a broker that does not lead yet, and the second
one that does, the second is out of order by no fault of its producer. Told so, librdkafka begins a new epoch with all
that was not acknowledged, and with what a former leader had written of it, too: then records are there twice (found by
rolling restarts under load, twice in about a thousand; its `debug=eos` calls it "skipped sequence numbers"). Told what
the first was told, it sends both again, in their order. Apache Kafka has nothing like it.

Pure. Invariant: nothing is remembered for longer than `FOLLOW_UP_MS`, so that a real gap is told as one.
"""

from typing import NamedTuple

from kraftpy.errors import (
    CorruptRecordError,
    KafkaStorageError,
    KraftpyError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    OutOfOrderSequenceError,
    UnknownTopicOrPartitionError,
)
from kraftpy.record import BatchHeader, read_header
from kraftpy.runtime.ports import Buffer

FOLLOW_UP_MS = 5_000
"""What is behind a batch was on its way before the producer heard of the refusal."""

FOR_NOW = (NotLeaderOrFollowerError, NotEnoughReplicasError, UnknownTopicOrPartitionError, KafkaStorageError)
"""What says nothing of the batch itself, which may be taken a moment later."""

REMEMBERED_MAX = 10_000
"""Producers and partitions; beyond that the oldest refusal is forgotten."""

_SEQUENCE_MASK = 0x7FFFFFFF


class _Refusal(NamedTuple):
    first_sequence: int
    error: KraftpyError
    until_ms: int


class RefusedSequences:
    """Those of one broker."""

    def __init__(self) -> None:
        self._refusals: dict[tuple[str, int, int, int], _Refusal] = {}  # topic, partition, producer and epoch: the last

    def __len__(self) -> int:
        return len(self._refusals)

    def told(self, topic: str, index: int, records: Buffer, error: KraftpyError, now_ms: int) -> KraftpyError:
        """What the producer of `records`, which `error` kept from being written, is to be told."""
        is_out_of_order = isinstance(error, OutOfOrderSequenceError)
        if not is_out_of_order and not isinstance(error, FOR_NOW):
            return error
        header = _idempotent_header(records)
        if header is None:
            return error
        key = (topic, index, header.producer_id, header.producer_epoch)
        if is_out_of_order:
            before = self._refusals.get(key)
            if before is None or now_ms >= before.until_ms or not _follows(header.base_sequence, before.first_sequence):
                return error
            error = type(before.error)(f"what was sent before it was refused: {before.error.message}")
        self._refusals.pop(key, None)
        self._refusals[key] = _Refusal(header.base_sequence, error, now_ms + FOLLOW_UP_MS)
        self._forget(now_ms)
        return error

    def _forget(self, now_ms: int) -> None:
        """The oldest come first."""
        while self._refusals:
            key, refusal = next(iter(self._refusals.items()))
            if len(self._refusals) <= REMEMBERED_MAX and now_ms < refusal.until_ms:
                return
            del self._refusals[key]


def _idempotent_header(records: Buffer) -> BatchHeader | None:
    try:
        header = read_header(memoryview(records))
    except CorruptRecordError:
        return None
    return header if header.producer_id >= 0 and header.base_sequence >= 0 else None


def _follows(sequence: int, before: int) -> bool:
    """Sequences wrap."""
    return 0 < (sequence - before) & _SEQUENCE_MASK <= _SEQUENCE_MASK // 2
