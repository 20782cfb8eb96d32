"""Serving produce requests: append now, in the order of the calls, and answer when `acks` is satisfied.

| acks | answered |
|---|---|
| 0 | at once; the caller sends nothing |
| 1 | when the leader's log is durable up to the batch |
| -1 (all) | when the high watermark has passed the batch, and the in-sync set is still large enough |

Invariants
- Everything is appended before the first wait, so two calls made one after the other append in that order: idempotent
  producers rely on it. What begins a transaction waits for its coordinator first (`verification`); calls of the same
  producer that come meanwhile wait for the same answer, and go on in their order.
- A partition's answer is settled exactly once: by its offset, by the loss of its leadership or its disk, or by the
  deadline (REQUEST_TIMED_OUT; the records stay, and may still be committed).
- Only offsets that were really assigned are answered (a repeated batch gets the offsets of the first).
- Into internal topics only coordinators write, who do not come this way, and markers.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from broker.metadata.internal_topics import INTERNAL_TOPICS
from broker.replication.admissions import Admissions
from broker.replication.fetch_types import CurrentLeader
from broker.replication.partition import ALL_IN_SYNC, NO_EPOCH, Partition
from broker.replication.purgatory import Deadlines
from broker.replication.refused_sequences import RefusedSequences
from broker.replication.verification import Transaction
from kraftpy.errors import (
    InvalidRequiredAcksError,
    InvalidTopicError,
    KraftpyError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    RequestTimedOutError,
)
from kraftpy.record import encode_marker
from kraftpy.runtime.ports import Buffer, Clock

NO_ACKS = 0
LEADER_ACKS = 1

Batch = tuple[str, int, Buffer]
"""(topic, partition, records): whole batches of one partition."""

Find = Callable[[str, int], Partition]
Hint = Callable[[UUID | None, str, int], CurrentLeader | None]


@dataclass(frozen=True, slots=True)
class EndMarker:
    """The end of one producer's transaction, as its coordinator has decided it."""

    producer_id: int
    producer_epoch: int
    coordinator_epoch: int
    commit: bool
    bumps_epoch: bool
    """Whether its epoch is higher than that of the transaction (KIP-890, second version)."""

    def batch(self, wall_ms: int) -> bytearray:
        return encode_marker(
            commit=self.commit,
            coordinator_epoch=self.coordinator_epoch,
            timestamp_ms=wall_ms,
            producer_id=self.producer_id,
            producer_epoch=self.producer_epoch,
        )


@dataclass(frozen=True, slots=True)
class Produced:
    """The answer for one partition. Offsets and times are -1 where there is an error."""

    topic: str
    partition: int
    error: KraftpyError | None = None
    base_offset: int = -1
    log_append_time_ms: int = -1  # -1 also where the topic keeps the producers' timestamps
    log_start_offset: int = -1
    leader: CurrentLeader | None = None  # with NOT_LEADER_OR_FOLLOWER (KIP-951)


class Producing:
    """All produce requests that this broker serves."""

    def __init__(self, find: Find, hint: Hint, clock: Clock, deadlines: Deadlines, parked_max: int) -> None:
        self._find = find
        self._hint = hint
        self._clock = clock
        self._deadlines = deadlines
        self._parked_max = parked_max
        self.parked_count = 0
        self.admissions = Admissions(self._find_for_clients)
        self._refused = RefusedSequences()

    async def produce(
        self, batches: Sequence[Batch], acks: int, timeout_ms: int, transaction: Transaction | None = None
    ) -> list[Produced]:
        """Append `batches` and wait for `acks`, at most `timeout_ms`. One answer for each, in order.

        `transaction`: that of the transactional ones among them.
        """
        if acks not in (NO_ACKS, LEADER_ACKS, ALL_IN_SYNC):
            nonsense = InvalidRequiredAcksError(f"acks must be 0, 1 or -1 (all), not {acks}")
            return [Produced(topic, index, nonsense) for topic, index, _ in batches]
        if self.parked_count >= self._parked_max:
            # What every producer sends again; not all know of THROTTLING_QUOTA_EXCEEDED.
            crowded = NotEnoughReplicasError("too many produce requests wait here already; nothing was written")
            return [self._refuse(*batch, crowded) for batch in batches]
        due_ms = self._clock.monotonic_ms() + timeout_ms
        request = ParkedProduce(len(batches))
        admission = self.admissions.begin(batches, transaction)
        try:
            refusals: dict[int, KraftpyError] = {}
            if admission is not None:
                self.parked_count += 1
                try:
                    refusals = await admission.decided(timeout_ms)
                finally:
                    self.parked_count -= 1
            for slot, (topic, index, records) in enumerate(batches):
                if slot in refusals:
                    request.answers[slot] = self._refuse(topic, index, records, refusals[slot])
                else:
                    self._append(request, slot, topic, index, records, acks)
        finally:
            if admission is not None:
                admission.release()
        return await self._acknowledged(request, due_ms)

    async def write_marker(self, topic: str, index: int, marker: EndMarker, timeout_ms: int) -> Produced:
        """Append the marker that ends a transaction, and wait until it is committed, at most `timeout_ms`.

        In KIP-890's second version the marker has a higher epoch than everything it decides. So one whose epoch the log
        knows already was written before, and is not written again: it might decide the transaction that came next.
        """
        request = ParkedProduce(1)
        try:
            partition = self._find(topic, index)
            partition.lead_as(NO_EPOCH)
            if marker.bumps_epoch and partition.log.producers.epoch_of(marker.producer_id) == marker.producer_epoch:
                request.answers[0] = Produced(topic, index, None, -1, -1, partition.log.start_offset)
                request.expect(0)
                partition.committed_waits.add(partition.log.end_offset, request, 0)
                partition.settle_committed()
            else:
                self._append(request, 0, topic, index, marker.batch(self._clock.wall_ms()), ALL_IN_SYNC, marker)
        except KraftpyError as error:
            return Produced(topic, index, error)
        answers = await self._acknowledged(request, self._clock.monotonic_ms() + timeout_ms)
        return answers[0]

    async def _acknowledged(self, request: "ParkedProduce", due_ms: int) -> "list[Produced]":
        if not request.is_done:
            deadline = self._deadlines.add(due_ms, request.expire)
            self.parked_count += 1
            try:
                await request.wait()
            finally:
                self.parked_count -= 1
                deadline.cancel()
                request.abandon()
        return request.answers

    def _find_for_clients(self, topic: str, index: int) -> Partition:
        """One whose records are the clients' own: a coordinator begins with what its log says, and trusts it."""
        if topic in INTERNAL_TOPICS:
            raise InvalidTopicError(f"clients cannot append to internal topic {topic}")
        return self._find(topic, index)

    def _append(
        self,
        request: "ParkedProduce",
        slot: int,
        topic: str,
        index: int,
        records: Buffer,
        acks: int,
        marker: EndMarker | None = None,
    ) -> None:
        """`marker`: what `records` are, where they are one."""
        try:
            partition = self._find_for_clients(topic, index) if marker is None else self._find(topic, index)
            # Offsets are written into the batches where they lie; what cannot be written is copied, once.
            writable = records if isinstance(records, bytearray) or _is_writable(records) else bytearray(records)
            assert isinstance(writable, bytearray | memoryview)
            bumps_epoch = marker is not None and marker.bumps_epoch
            appended = partition.append(writable, acks, coordinated=marker is not None, bumps_epoch=bumps_epoch)
        except KraftpyError as raised:
            request.answers[slot] = self._refuse(topic, index, records, raised)
            return
        request.answers[slot] = Produced(
            topic, index, None, appended.base_offset, appended.log_append_time_ms, partition.log.start_offset
        )
        if acks == LEADER_ACKS and partition.log.flushed_offset < appended.end_offset:
            request.expect(slot)
            partition.durable_waits.add(appended.end_offset, request, slot)
        elif acks == ALL_IN_SYNC:
            request.expect(slot)
            partition.committed_waits.add(appended.end_offset, request, slot)
            partition.settle_committed()

    def _refuse(self, topic: str, index: int, records: Buffer, raised: KraftpyError) -> Produced:
        """What is sent right behind `records` will be refused likewise, where that may help."""
        error = self._refused.told(topic, index, records, raised, self._clock.monotonic_ms())
        moved = isinstance(error, NotLeaderOrFollowerError)
        return Produced(topic, index, error, leader=self._hint(None, topic, index) if moved else None)


def _is_writable(records: Buffer) -> bool:
    return isinstance(records, memoryview) and not records.readonly


class ParkedProduce:
    """One produce request: its answers so far, and how many of them still wait."""

    __slots__ = ("_future", "_waiting", "answers")

    def __init__(self, slots: int) -> None:
        self.answers: list[Produced] = [Produced("", -1)] * slots
        self._waiting: dict[int, None] = {}  # slots
        self._future: asyncio.Future[None] | None = None

    @property
    def is_done(self) -> bool:
        return not self._waiting

    def expect(self, slot: int) -> None:
        """The answer of `slot` holds only once it is settled."""
        self._waiting[slot] = None

    def settle(self, slot: int, error: KraftpyError | None) -> None:
        if slot not in self._waiting:
            return
        del self._waiting[slot]
        if error is not None:
            answer = self.answers[slot]
            self.answers[slot] = Produced(answer.topic, answer.partition, error)
        if not self._waiting and self._future is not None and not self._future.done():
            self._future.set_result(None)

    def expire(self) -> None:
        """The time is over: whatever waits is answered so."""
        for slot in list(self._waiting):
            answer = self.answers[slot]
            self.settle(slot, RequestTimedOutError(f"{answer.topic}-{answer.partition} was not acknowledged in time"))

    async def wait(self) -> None:
        if self._waiting:
            self._future = asyncio.get_running_loop().create_future()
            await self._future

    def abandon(self) -> None:
        """Nobody wants the answer any more (the caller was cancelled)."""
        self._waiting.clear()
