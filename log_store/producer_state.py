"""What a log remembers of its idempotent producers, so that a retry is recognised and a gap refused. Pure.

Of each producer: its epoch, its last five batches (a client has at most five requests in flight, so any of them may be
repeated after a failover; one remembered batch is not enough: Redpanda 3038), when it last wrote, and the open
transaction.

| a batch of                                   | is                                                                   |
|----------------------------------------------|----------------------------------------------------------------------|
| an epoch below the known one                 | refused: INVALID_PRODUCER_EPOCH                                      |
| the known epoch, equal to a remembered batch | a duplicate: answered with the offsets it got the first time         |
| the known epoch, next in sequence            | accepted                                                             |
| the known epoch, any other sequence          | refused: OUT_OF_ORDER_SEQUENCE_NUMBER                                |
| a higher epoch                               | accepted if its sequence starts at 0                                 |
| a producer without state                     | accepted with any sequence: its state went with expired records      |
|                                              | (KIP-360), and refusing would stop it for nothing                    |

Sequences run over 31 bits and wrap to 0.

How long a producer has been silent is counted in time that passed while this log was open, a jump of the clock as
`STEP_MS_MAX` at most. The times in its records say nothing about that: they are its own clock's, or those of data that
is years old; and a node's clock that jumps by a day must not make retries new (both found by the simulated cluster).
So a restart lets everybody begin a new silence; `producers_max` bounds what that keeps.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kraftpy.errors import (
    InvalidProducerEpochError,
    InvalidTxnStateError,
    OutOfOrderSequenceError,
    TransactionCoordinatorFencedError,
)
from log_store.open_transactions import OpenTransactions

BATCHES_REMEMBERED = 5
NO_EPOCH = -1
NO_SEQUENCE = -1
NO_OFFSET = -1
SEQUENCE_MASK = 0x7FFFFFFF
STEP_MS_MAX = 3_600_000  # that counts as passed between two looks: logs are looked at every few minutes


class ProducerBatch(NamedTuple):
    """One remembered batch."""

    first_sequence: int
    last_sequence: int
    first_offset: int
    last_offset: int
    timestamp_ms: int  # the batch's maximum


class ProducerEntry(NamedTuple):
    """A producer with one of its batches, as snapshots hold it (several a producer, oldest first)."""

    producer_id: int
    epoch: int
    last_sequence: int
    last_offset: int
    offset_delta: int
    timestamp_ms: int
    coordinator_epoch: int
    transaction_start: int  # -1: no open transaction

    @property
    def in_transaction(self) -> bool:
        return self.transaction_start != NO_OFFSET


class _Producer:
    __slots__ = ("batches", "coordinator_epoch", "epoch", "last_ms", "seen_ms", "transaction_start")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.batches: list[ProducerBatch] = []  # at most BATCHES_REMEMBERED, in order, all of this epoch
        self.coordinator_epoch = -1
        self.last_ms = -1  # its last record's time
        self.seen_ms = 0  # when that came, in time that had passed for this log
        self.transaction_start = NO_OFFSET


class ProducerState:
    """The producers of one log. `check` before a batch is written, `update` once it is in the log."""

    __slots__ = ("_looked_ms", "_passed_ms", "_producers", "_producers_max", "transactions")

    def __init__(self, producers_max: int) -> None:
        self._producers: dict[int, _Producer] = {}  # the longest silent first
        self._producers_max = producers_max
        self._passed_ms = 0  # never goes back
        self._looked_ms: int | None = None  # at the wall's clock
        self.transactions = OpenTransactions()

    def __len__(self) -> int:
        return len(self._producers)

    def __contains__(self, producer_id: int) -> bool:
        return producer_id in self._producers

    @property
    def first_unstable_offset(self) -> int | None:
        """Where the oldest open transaction starts."""
        return self.transactions.first_ongoing_offset

    def epoch_of(self, producer_id: int) -> int | None:
        producer = self._producers.get(producer_id)
        return None if producer is None else producer.epoch

    def remembers(self, producer_id: int, epoch: int, first_sequence: int, last_sequence: int) -> bool:
        """Whether a batch of this epoch with exactly these sequences is among those remembered."""
        producer = self._producers.get(producer_id)
        return (
            producer is not None
            and producer.epoch == epoch
            and any(batch[:2] == (first_sequence, last_sequence) for batch in producer.batches)
        )

    def is_in_transaction(self, producer_id: int, epoch: int) -> bool:
        """Whether a transaction of this epoch has records in the log, and no marker."""
        producer = self._producers.get(producer_id)
        return producer is not None and producer.epoch == epoch and producer.transaction_start != NO_OFFSET

    def check(
        self, producer_id: int, epoch: int, first_sequence: int, last_sequence: int, *, transactional: bool = False
    ) -> ProducerBatch | None:
        """Judge a producer's batch by the table above; a duplicate is returned as it was remembered.

        Raises `InvalidProducerEpochError`, `OutOfOrderSequenceError`, `InvalidTxnStateError`.
        """
        producer = self._producers.get(producer_id)
        if producer is None:
            return None
        self.check_epoch(producer_id, epoch)
        if epoch != producer.epoch:
            if first_sequence != 0:
                raise OutOfOrderSequenceError(
                    f"producer {producer_id} starts its epoch {epoch} with sequence {first_sequence} instead of 0"
                )
            return None
        batches = producer.batches
        expected = (batches[-1].last_sequence + 1) & SEQUENCE_MASK if batches else 0
        if first_sequence != expected:
            for batch in batches:
                if batch.first_sequence == first_sequence and batch.last_sequence == last_sequence:
                    return batch
            raise OutOfOrderSequenceError(
                f"producer {producer_id} sent sequence {first_sequence}, expected {expected} (epoch {epoch})"
            )
        if producer.transaction_start != NO_OFFSET and not transactional:
            raise InvalidTxnStateError(f"producer {producer_id} wrote outside its open transaction")
        return None

    def check_epoch(self, producer_id: int, epoch: int) -> None:
        """Judge what is written in a producer's name without a sequence. Raises `InvalidProducerEpochError`."""
        producer = self._producers.get(producer_id)
        if producer is not None and epoch < producer.epoch:
            raise InvalidProducerEpochError(
                f"producer {producer_id} wrote with epoch {epoch}, but epoch {producer.epoch} has taken over"
            )

    def update(
        self,
        producer_id: int,
        epoch: int,
        first_sequence: int,
        first_offset: int,
        last_offset: int,
        timestamp_ms: int,
        *,
        transactional: bool = False,
    ) -> None:
        """Remember a batch that is in the log now. Not judged: a replica follows what its leader accepted.

        Without a sequence (-1) there is nothing to recognise it by: only its epoch and its transaction count.
        """
        producer = self._producers.pop(producer_id, None)
        if producer is None:
            producer = self._new(epoch)
        self._producers[producer_id] = producer
        if epoch != producer.epoch:
            producer.epoch = epoch
            producer.batches = []
        if first_sequence != NO_SEQUENCE:
            last_sequence = (first_sequence + last_offset - first_offset) & SEQUENCE_MASK
            del producer.batches[: 1 - BATCHES_REMEMBERED]
            batch = ProducerBatch(first_sequence, last_sequence, first_offset, last_offset, timestamp_ms)
            producer.batches.append(batch)
        producer.last_ms = timestamp_ms
        producer.seen_ms = self._passed_ms
        if transactional and producer.transaction_start == NO_OFFSET:
            producer.transaction_start = first_offset
            self.transactions.begin(producer_id, first_offset)

    def check_marker(self, producer_id: int, epoch: int, coordinator_epoch: int) -> None:
        """Judge the marker that ends a transaction.

        Raises `InvalidProducerEpochError`, `TransactionCoordinatorFencedError`.
        """
        producer = self._producers.get(producer_id)
        if producer is None:
            return
        if epoch < producer.epoch:
            raise InvalidProducerEpochError(
                f"a marker of producer {producer_id} has epoch {epoch}, but epoch {producer.epoch} has taken over"
            )
        if coordinator_epoch < producer.coordinator_epoch:
            raise TransactionCoordinatorFencedError(
                f"a marker of coordinator epoch {coordinator_epoch} came after one of {producer.coordinator_epoch}"
            )

    def end_transaction(
        self, producer_id: int, epoch: int, coordinator_epoch: int, offset: int, timestamp_ms: int
    ) -> int | None:
        """Note that a marker, commit or abort, is in the log now, at `offset`.

        Gives where the transaction began; None: no record of it is here.
        """
        producer = self._producers.pop(producer_id, None)
        if producer is None:
            producer = self._new(epoch)
        self._producers[producer_id] = producer
        if epoch != producer.epoch:
            producer.epoch = epoch
            producer.batches = []
        producer.coordinator_epoch = coordinator_epoch
        producer.last_ms = timestamp_ms
        producer.seen_ms = self._passed_ms
        producer.transaction_start = NO_OFFSET
        return self.transactions.end(producer_id, offset)

    def expire(self, wall_ms: int, silence_ms_max: int) -> int:
        """Forget producers that have been silent for longer and have no transaction open. To be called now and then."""
        if self._looked_ms is not None:
            self._passed_ms += min(max(0, wall_ms - self._looked_ms), STEP_MS_MAX)
        self._looked_ms = wall_ms
        silent = [
            producer_id
            for producer_id, producer in self._producers.items()
            if self._passed_ms - producer.seen_ms > silence_ms_max and producer.transaction_start == NO_OFFSET
        ]
        for producer_id in silent:
            del self._producers[producer_id]
        return len(silent)

    def can_cut(self, end_offset: int) -> bool:
        """Whether `cut` there takes no more than is remembered; else the caller builds the state anew."""
        if any(each.coordinator_epoch >= 0 or each.transaction_start != NO_OFFSET for each in self._all):
            return False
        return all(producer.batches[0].last_offset < end_offset for producer in self._written_from(end_offset))

    def cut(self, end_offset: int) -> None:
        """Forget what was written at or after `end_offset`, which it `can_cut`."""
        for producer in self._written_from(end_offset):
            producer.batches = [batch for batch in producer.batches if batch.last_offset < end_offset]
            producer.last_ms = producer.batches[-1].timestamp_ms

    def _written_from(self, offset: int) -> list[_Producer]:
        """Who wrote at `offset` or behind it."""
        return [each for each in self._all if each.batches and each.batches[-1].last_offset >= offset]

    @property
    def _all(self) -> Iterable[_Producer]:
        return self._producers.values()

    def clear(self) -> None:
        self._producers.clear()
        self.transactions.clear()

    def entries(self) -> Iterator[ProducerEntry]:
        """Everything, for a snapshot: one entry a remembered batch, or one for a producer without any.

        Kafka's snapshots have one entry a producer; where there are several, its loader keeps the last, which is the
        newest batch. So it reads ours, and we lose none of the five by a restart.
        """
        for producer_id, producer in self._producers.items():
            epoch, coordinator_epoch, start = producer.epoch, producer.coordinator_epoch, producer.transaction_start
            for _, sequence, first_offset, last_offset, timestamp_ms in producer.batches:
                delta = last_offset - first_offset
                yield ProducerEntry(
                    producer_id, epoch, sequence, last_offset, delta, timestamp_ms, coordinator_epoch, start
                )
            if not producer.batches:
                last_ms = producer.last_ms
                yield ProducerEntry(producer_id, epoch, NO_SEQUENCE, NO_OFFSET, 0, last_ms, coordinator_epoch, start)

    def last_data_offsets(self) -> Iterator[tuple[int, int, int]]:
        """(producer id, epoch, last offset of its newest batch or -1) of everybody: what compaction has to keep."""
        for producer_id, producer in self._producers.items():
            yield producer_id, producer.epoch, producer.batches[-1].last_offset if producer.batches else NO_OFFSET

    def newest(self) -> Iterator[ProducerEntry]:
        """Of each producer its newest entry (DescribeProducers), with the time of whatever it wrote last."""
        for producer_id, producer in self._producers.items():
            last = producer.batches[-1] if producer.batches else None
            yield ProducerEntry(
                producer_id,
                producer.epoch,
                NO_SEQUENCE if last is None else last.last_sequence,
                NO_OFFSET if last is None else last.last_offset,
                0 if last is None else last.last_offset - last.first_offset,
                producer.last_ms,
                producer.coordinator_epoch,
                producer.transaction_start,
            )

    def load(self, entries: Iterable[ProducerEntry]) -> None:
        """Replace everything by a snapshot's entries."""
        self.clear()
        for entry in entries:
            producer = self._producers.setdefault(entry.producer_id, _Producer(entry.epoch))
            producer.epoch = entry.epoch
            producer.coordinator_epoch = entry.coordinator_epoch
            producer.last_ms = max(producer.last_ms, entry.timestamp_ms)
            producer.seen_ms = self._passed_ms
            producer.transaction_start = entry.transaction_start
            if entry.last_offset != NO_OFFSET:
                first_sequence = (entry.last_sequence - entry.offset_delta) & SEQUENCE_MASK
                first_offset = entry.last_offset - entry.offset_delta
                producer.batches.append(
                    ProducerBatch(
                        first_sequence, entry.last_sequence, first_offset, entry.last_offset, entry.timestamp_ms
                    )
                )
                del producer.batches[:-BATCHES_REMEMBERED]
        self.transactions = OpenTransactions(
            (producer.transaction_start, producer_id)
            for producer_id, producer in self._producers.items()
            if producer.transaction_start != NO_OFFSET
        )

    def _new(self, epoch: int) -> _Producer:
        if len(self._producers) >= self._producers_max:
            self._forget_silent()
        return _Producer(epoch)

    def _forget_silent(self) -> None:
        """Make room for one: the longest silent producer without an open transaction goes."""
        for producer_id, producer in self._producers.items():
            if producer.transaction_start == NO_OFFSET:
                del self._producers[producer_id]
                return
