"""Asking transaction coordinators on behalf of produce requests, before anything of them is appended (KIP-890).

One question a request, for all its partitions that need it. A request that meets a partition for which an earlier one
of the same producer is asking does not ask again: it goes on with that answer. And whoever names a partition that an
earlier request of the same producer names, which is not through yet, appends after it, whether or not it has to ask
itself: so requests of one producer append to each partition in the order in which they came, and each waits only for
earlier ones.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from broker.replication.partition import NO_EPOCH, Partition
from broker.replication.verification import (
    Admission,
    Guard,
    Transaction,
    TransactionGate,
    as_produce_error,
    begins_transaction,
    transactional_header,
)
from kraftpy.errors import InvalidTxnStateError, KraftpyError, NotEnoughReplicasError, NotLeaderOrFollowerError
from kraftpy.record import BatchHeader
from kraftpy.runtime.ports import Buffer

Find = Callable[[str, int], Partition]
Decision = asyncio.Future[KraftpyError | None]
Passage = asyncio.Future[None]
"""Over when a request has appended, or never will."""

Place = tuple[int, str, int]
"""(producer id, topic, partition)"""


@dataclass(eq=False, slots=True)
class Wish:
    """One batch of a request that must be admitted."""

    slot: int
    place: tuple[str, int]
    partition: Partition
    header: BatchHeader
    guard: Guard


class Admissions:
    """All that this broker asks."""

    def __init__(self, find: Find) -> None:
        self.gate: TransactionGate | None = None
        """None: nobody can be asked, and no transaction begins here."""
        self.verifies = True
        """transaction.partition.verification.enable. Without it a producer that adds its partitions itself is trusted
        to have done so."""
        self._find = find
        self._deciding: dict[Guard, Decision] = {}
        self._passages: dict[Place, Passage] = {}  # the last request that is to append there and is not through

    def begin(
        self, batches: Sequence[tuple[str, int, Buffer]], transaction: Transaction | None
    ) -> "PendingAdmission | None":
        """What has to be asked for these batches; None: nothing, all may be appended at once."""
        wishes = []
        places: dict[Place, None] = {}
        for slot, (topic, index, records) in enumerate(batches):
            try:
                header = transactional_header(records)
                if header is None:
                    continue
                places[header.producer_id, topic, index] = None
                partition = self._find(topic, index)
                partition.lead_as(NO_EPOCH)
                if begins_transaction(partition.log, header):
                    adds = transaction is not None and transaction.adds_partitions
                    guard = partition.verifications.begin(header, adds)
                    wishes.append(Wish(slot, (topic, index), partition, header, guard))
            except KraftpyError:
                continue  # the append meets it again, and tells it
        if not wishes and not any(place in self._passages for place in places):
            return None
        return PendingAdmission(self, self._deciding, wishes, transaction, self._passages, places)

    async def answers(
        self, wishes: Sequence[Wish], transaction: Transaction | None, timeout_ms: int
    ) -> list[KraftpyError | None]:
        """The coordinator's word for each wish, in order. A request is of one producer; of others nothing is asked."""
        if transaction is None or not transaction.transactional_id or self.gate is None:
            unknown = InvalidTxnStateError("the transaction of these records is not known here")
            return [unknown] * len(wishes)
        if not (self.verifies or transaction.adds_partitions):
            return [None] * len(wishes)
        producer_id, epoch = wishes[0].header.producer_id, wishes[0].header.producer_epoch
        own = [wish for wish in wishes if (wish.header.producer_id, wish.header.producer_epoch) == (producer_id, epoch)]
        admission = Admission(transaction, producer_id, epoch, tuple(wish.place for wish in own))
        found = dict(zip([wish.slot for wish in own], await self.gate.admit(admission, timeout_ms), strict=True))
        foreign = InvalidTxnStateError("a request holds the transactions of several producers")
        return [found.get(wish.slot, foreign) for wish in wishes]


class PendingAdmission:
    """Of one request: made before its first wait, released when its batches were appended, or never will be."""

    def __init__(
        self,
        admissions: Admissions,
        deciding: dict[Guard, Decision],
        wishes: Sequence[Wish],
        transaction: Transaction | None,
        passages: dict[Place, Passage],
        places: Iterable[Place],
    ) -> None:
        """`places`: everything that the request's transactional batches go to, asked for or not."""
        self._through: Passage = asyncio.get_running_loop().create_future()
        self._passages = passages
        self._places = list(places)
        self._earlier = list(dict.fromkeys(passages[place] for place in self._places if place in passages))
        passages.update(dict.fromkeys(self._places, self._through))
        self._admissions = admissions
        self._deciding = deciding
        self._wishes = wishes
        self._transaction = transaction
        self._own: list[Wish] = []
        self._joined: list[tuple[Wish, Decision]] = []
        self._answers: dict[Guard, KraftpyError | None] = {}
        for wish in wishes:
            decision = deciding.get(wish.guard)
            if any(wish.guard is own.guard for own in self._own):
                continue  # the partition is named twice: one answer is for both
            if decision is not None:
                self._joined.append((wish, decision))
            else:
                self._own.append(wish)
                deciding[wish.guard] = asyncio.get_running_loop().create_future()

    async def decided(self, timeout_ms: int) -> dict[int, KraftpyError]:
        """The refusals, by slot; what has none may be appended."""
        refusals: dict[int, KraftpyError] = {}
        if self._own:
            answers = await self._admissions.answers(self._own, self._transaction, timeout_ms)
            for wish, answer in zip(self._own, answers, strict=True):
                self._answers[wish.guard] = answer
                wish.guard.is_verified = answer is None
        for wish, decision in self._joined:
            self._answers[wish.guard] = await asyncio.shield(decision)
        for passage in self._earlier:
            await asyncio.shield(passage)
        for wish in self._wishes:
            refusal = self._answers[wish.guard]
            if refusal is not None:
                refusals[wish.slot] = as_produce_error(refusal)
            elif wish.guard.is_void:
                refusals[wish.slot] = NotLeaderOrFollowerError(f"{wish.partition.name} changed hands meanwhile")
        return refusals

    def release(self) -> None:
        """Let those go on that wait for this request."""
        given_up = NotEnoughReplicasError("the request that was to begin the transaction was given up")
        for wish in self._own:
            decision = self._deciding.pop(wish.guard)
            if not decision.done():
                decision.set_result(self._answers.get(wish.guard, given_up))
        for wish in self._wishes:
            wish.partition.verifications.release(wish.header.producer_id, wish.guard)
        for place in self._places:
            if self._passages.get(place) is self._through:
                del self._passages[place]
        self._through.set_result(None)
