"""Which transactions may begin in a partition: only those that their coordinator knows of (KIP-890). Pure.

A transactional batch that the coordinator knows nothing of would never be ended, and would hold committed readers back
for ever. So before the first batch of a transaction the leader asks the coordinator; the batches after it need no more
than the open transaction in the log. Between the question and the batch the transaction may end, and the next one
begin: an answer counts for the guard that it was asked with, and the guard goes with the marker (the ABA case).

    begin(guard) → the coordinator is asked → verified → the batch is appended → settled
          a marker of this or a later epoch ─→ the guard is gone; a late answer verifies nothing
          the leadership ends ─→ it is void, and who holds it comes again; a new epoch of the same leader ends nothing

Invariants: at most one guard a producer; one lives only while a request holds it.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from kraftpy.errors import (
    InvalidProducerEpochError,
    KraftpyError,
    NotEnoughReplicasError,
    OutOfOrderSequenceError,
    ProducerFencedError,
    RetriableError,
)
from kraftpy.record import BatchHeader, read_header
from kraftpy.record.header import HEADER_BYTES, TRANSACTIONAL_BIT
from kraftpy.runtime.ports import Buffer
from log_store.log import Log

_ATTRIBUTES_LOW = 22
"""The position of a batch's attributes, the lower byte."""


class Transaction(NamedTuple):
    """What a produce request says of the transaction that its batches belong to."""

    transactional_id: str
    adds_partitions: bool
    """Whether the leader adds the partitions to the transaction, as in KIP-890's second version; else the producer has
    done so, and the leader only asks."""


class Admission(NamedTuple):
    """What a coordinator is asked: may this producer's transaction begin in these partitions?"""

    transaction: Transaction
    producer_id: int
    producer_epoch: int
    partitions: tuple[tuple[str, int], ...]


class TransactionGate(Protocol):
    """The transaction coordinators, wherever they are."""

    async def admit(self, admission: Admission, timeout_ms: int) -> list[KraftpyError | None]:
        """One answer for each partition, in order; None: it may."""


@dataclass(eq=False, slots=True)
class Guard:
    """One producer's wish to begin a transaction here."""

    producer_epoch: int
    lowest_sequence: int
    adds_partitions: bool
    is_verified: bool = False
    holders: int = 0
    is_void: bool = False  # the leadership under which the coordinator was asked is over


class Verifications:
    """Those of one partition that this broker leads."""

    __slots__ = ("_guards",)

    def __init__(self) -> None:
        self._guards: dict[int, Guard] = {}  # by producer id

    def __len__(self) -> int:
        return len(self._guards)

    def begin(self, header: BatchHeader, adds_partitions: bool) -> Guard:
        """A batch waits for the coordinator's word. To be given back by `release`."""
        guard = self._guards.get(header.producer_id)
        if guard is None or guard.producer_epoch != header.producer_epoch:
            guard = Guard(header.producer_epoch, header.base_sequence, adds_partitions)
            self._guards[header.producer_id] = guard
        guard.lowest_sequence = min(guard.lowest_sequence, header.base_sequence)
        guard.holders += 1
        return guard

    def release(self, producer_id: int, guard: Guard) -> None:
        """One request more is through with it."""
        guard.holders -= 1
        if guard.holders == 0 and self._guards.get(producer_id) is guard:
            del self._guards[producer_id]

    def vouch(self, log: Log, header: BatchHeader) -> bool:
        """Whether the batch may be appended to `log`: it begins no transaction there, or its coordinator knows of it.

        Raises `OutOfOrderSequenceError` where an earlier batch of the transaction waits too, or must be missing.
        """
        if not begins_transaction(log, header):
            return True
        guard = self._guards.get(header.producer_id)
        if guard is None or not guard.is_verified or guard.producer_epoch != header.producer_epoch:
            return False
        if header.base_sequence > guard.lowest_sequence or (
            guard.adds_partitions and header.base_sequence > 0 and header.producer_id not in log.producers
        ):
            raise OutOfOrderSequenceError(
                f"producer {header.producer_id} begins its transaction with sequence {header.base_sequence}"
            )
        return True

    def settled(self, producer_id: int) -> None:
        """The transaction has begun in the log: what was asked before counts no more."""
        self._guards.pop(producer_id, None)

    def ended(self, producer_id: int, marker_epoch: int, bumps_epoch: bool) -> None:
        """A marker is in the log: what was asked about that transaction, or an earlier one, counts no more.

        In KIP-890's second version, where leaders add partitions, a marker has a higher epoch than what it ends
        (`bumps_epoch`), and the next transaction has that epoch from the start. It may be waiting here already.
        """
        guard = self._guards.get(producer_id)
        if guard is None:
            return
        ended_epoch = marker_epoch - 1 if bumps_epoch else marker_epoch
        if not (guard.adds_partitions and guard.producer_epoch > ended_epoch):
            del self._guards[producer_id]

    def clear(self) -> None:
        """The leadership is over. Another one may take markers that this log never sees."""
        for guard in self._guards.values():
            guard.is_void = True
        self._guards.clear()


def begins_transaction(log: Log, header: BatchHeader) -> bool:
    """Whether the coordinator has to be asked before the batch is appended to `log`.

    A repeated batch needs no asking: it will be recognised, whatever became of its transaction.
    """
    return not (log.is_in_transaction(header) or log.knows(header))


def transactional_header(records: Buffer) -> BatchHeader | None:
    """The header of the first batch, where it belongs to a transaction; nothing is checked."""
    if len(records) < HEADER_BYTES or not records[_ATTRIBUTES_LOW] & TRANSACTIONAL_BIT:
        return None
    return read_header(records)


def as_produce_error(error: KraftpyError) -> KraftpyError:
    """What a producer is told of a coordinator's refusal: errors that every producer knows in an answer to Produce."""
    if isinstance(error, ProducerFencedError):
        return InvalidProducerEpochError(error.message)
    if isinstance(error, RetriableError):
        return NotEnoughReplicasError(f"the transaction could not be verified: {error.name}: {error.message}")
    return error
