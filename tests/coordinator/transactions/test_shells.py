"""Markers on their way to leaders, and questions to coordinators: on virtual time, with brokers that are functions."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from broker.coordinator.transactions.commands import Marker, ProducerIdentity, SendMarkers, TopicPartition
from broker.coordinator.transactions.gate import PATIENCE_MS, CoordinatorGate
from broker.coordinator.transactions.marker_writer import MarkerRequest
from broker.coordinator.transactions.markers import MarkerSender
from broker.metadata.image import MetadataImage
from broker.metadata.records import MetadataRecord, PartitionChangeRecord, RemoveTopicRecord
from broker.replication.verification import Admission, Transaction
from kraftpy.errors import (
    ConcurrentTransactionsError,
    CoordinatorNotAvailableError,
    InvalidProducerEpochError,
    KraftpyError,
    NotCoordinatorError,
    NotLeaderOrFollowerError,
    TransactionCoordinatorFencedError,
)
from kraftpy.runtime.ports import Address, TransportError
from simulation.clock import SimulatedClock
from simulation.loop import Loop
from tests.kafka.cluster_view import RECORDS, TOPIC_ID

A0, A1 = TopicPartition("a", 0), TopicPartition("a", 1)  # led by brokers 1 and 3
COMMIT = Marker(ProducerIdentity(7, 2), 5, True, True)


def play(story: Callable[[Loop], Awaitable[None]]) -> None:
    loop = Loop(1, time_limit_ms=1_000_000)
    try:
        loop.run_until_complete(story(loop))
    finally:
        loop.shutdown()


class Brokers:
    """Write markers, or refuse as they are told: one refusal after the other, then success."""

    def __init__(self) -> None:
        self.image = MetadataImage.EMPTY.apply(RECORDS, len(RECORDS), 1)[0]
        self.refusals: dict[TopicPartition, list[KraftpyError]] = {}
        self.unreachable: dict[int, None] = {}
        self.calls: list[tuple[int, list[MarkerRequest]]] = []
        self.delay_s = 0.01
        self.delays_s: dict[TopicPartition, float] = {}  # of calls that name them
        self.sender = MarkerSender(lambda: self.image, self.call)

    def commit(self, *records: MetadataRecord) -> None:
        self.image = self.image.apply(list(records), self.image.end_offset + len(records), 1)[0]

    async def call(
        self, broker_id: int, address: Address, requests: Sequence[MarkerRequest]
    ) -> list[list[KraftpyError | None]]:
        assert address == Address(f"n{broker_id}", 9093)
        self.calls.append((broker_id, list(requests)))
        named = [place for _, places in requests for place in places]
        await asyncio.sleep(max(self.delays_s.get(place, self.delay_s) for place in named))
        if broker_id in self.unreachable:
            raise TransportError("nobody is there")
        return [[self._answer(place) for place in places] for _, places in requests]

    def _answer(self, place: TopicPartition) -> KraftpyError | None:
        refusals = self.refusals.get(place)
        return refusals.pop(0) if refusals else None

    async def send(self, *places: TopicPartition, name: str = "t") -> bool:
        return await self.sender.send(SendMarkers(name, COMMIT, places, decision=0))


def test_each_leader_gets_its_partitions() -> None:
    async def story(loop: Loop) -> None:
        brokers = Brokers()
        assert await brokers.send(A0, A1)
        assert sorted(brokers.calls) == [(1, [(COMMIT, (A0,))]), (3, [(COMMIT, (A1,))])]

    play(story)


def test_what_is_refused_goes_again_and_nothing_else() -> None:
    async def story(loop: Loop) -> None:
        brokers = Brokers()
        brokers.refusals[A1] = [NotLeaderOrFollowerError("moved"), NotCoordinatorError("it is loading")]
        assert await brokers.send(A0, A1)
        assert [broker_id for broker_id, _ in brokers.calls].count(3) == 3
        assert [broker_id for broker_id, _ in brokers.calls].count(1) == 1

    play(story)


def test_the_next_leader_is_told() -> None:
    async def story(loop: Loop) -> None:
        brokers = Brokers()
        brokers.unreachable[3] = None
        sending = asyncio.ensure_future(brokers.send(A1))
        await asyncio.sleep(0.3)
        brokers.commit(PartitionChangeRecord(TOPIC_ID, 1, leader=-1))
        await asyncio.sleep(3)
        assert not sending.done()
        brokers.commit(PartitionChangeRecord(TOPIC_ID, 1, leader=1, isr=(1,)))
        assert await sending
        assert brokers.calls[-1] == (1, [(COMMIT, (A1,))])

    play(story)


def test_a_topic_that_was_deleted_needs_no_markers() -> None:
    async def story(loop: Loop) -> None:
        brokers = Brokers()
        brokers.unreachable[3] = None
        sending = asyncio.ensure_future(brokers.send(A0, A1, TopicPartition("gone", 0), TopicPartition("a", 9)))
        await asyncio.sleep(0.3)
        assert not sending.done()
        brokers.commit(RemoveTopicRecord(TOPIC_ID))
        assert await sending

    play(story)


def test_many_transactions_share_calls() -> None:
    async def story(loop: Loop) -> None:
        brokers = Brokers()
        sent = await asyncio.gather(*[brokers.send(A0, name=f"t{number}") for number in range(50)])
        assert all(sent)
        assert len(brokers.calls) == 1
        first = asyncio.ensure_future(brokers.send(A0))
        await asyncio.sleep(brokers.delay_s / 2)
        await asyncio.gather(first, *[brokers.send(A0) for _ in range(50)])
        assert len(brokers.calls) == 3, "those that came while one was under way"

    play(story)


def test_nobody_waits_for_a_partition_that_another_transaction_wrote_to() -> None:
    async def story(loop: Loop) -> None:
        brokers = Brokers()
        brokers.commit(PartitionChangeRecord(TOPIC_ID, 1, leader=1, isr=(1,)))  # both are led by broker 1
        brokers.delays_s[A1] = 5.0  # not replicated now
        late = asyncio.ensure_future(brokers.send(A0, A1, name="late"))
        await asyncio.sleep(0.01)
        began_us = loop.now_us
        assert await brokers.send(A0, name="quick")
        assert loop.now_us - began_us < 200_000
        assert not late.done()
        assert await late

    play(story)


def test_a_coordinator_of_the_past_gives_up_and_a_past_transaction_is_over() -> None:
    async def story(loop: Loop) -> None:
        brokers = Brokers()
        brokers.refusals[A0] = [InvalidProducerEpochError("a later one was here")]
        assert await brokers.send(A0)
        brokers.refusals[A0] = [TransactionCoordinatorFencedError("a later one was here")]
        assert not await brokers.send(A0)

    play(story)


def test_stopping_leaves_nobody_waiting() -> None:
    async def story(loop: Loop) -> None:
        brokers = Brokers()
        brokers.delay_s = 1_000
        sending = asyncio.ensure_future(brokers.send(A0))
        await asyncio.sleep(1)
        sending.cancel()
        await brokers.sender.stop()
        await asyncio.gather(sending, return_exceptions=True)
        assert sending.cancelled()

    play(story)


ADMISSION = Admission(Transaction("t", True), 7, 2, (("a", 0), ("a", 1)))


@pytest.mark.parametrize("busy_ms, gets_in", [(60, True), (10_000, False)])
def test_a_coordinator_that_is_ending_the_one_before_is_asked_again_for_a_moment(busy_ms: int, gets_in: bool) -> None:
    async def story(loop: Loop) -> None:
        clock = SimulatedClock(loop, loop.world)
        started_ms = clock.monotonic_ms()

        async def ask(admission: Admission, timeout_ms: int) -> list[KraftpyError | None]:
            if clock.monotonic_ms() - started_ms < busy_ms:
                raise ConcurrentTransactionsError("not yet")
            return [None, None]

        answers = await CoordinatorGate(ask, clock).admit(ADMISSION, 5_000)
        assert (answers == [None, None]) == gets_in
        assert all(answer is None or answer.retriable for answer in answers)
        assert clock.monotonic_ms() - started_ms <= PATIENCE_MS + 50

    play(story)


def test_what_is_over_soon_is_not_waited_for_long() -> None:
    """Markers take some milliseconds; with every transaction a producer would wait for a long pause to end."""

    async def story(loop: Loop) -> None:
        clock = SimulatedClock(loop, loop.world)
        started_ms = clock.monotonic_ms()

        async def ask(admission: Admission, timeout_ms: int) -> list[KraftpyError | None]:
            if clock.monotonic_ms() - started_ms < 4:
                raise ConcurrentTransactionsError("not yet")
            return [None, None]

        assert await CoordinatorGate(ask, clock).admit(ADMISSION, 5_000) == [None, None]
        assert clock.monotonic_ms() - started_ms <= 8

    play(story)


@pytest.mark.parametrize("error", [NotCoordinatorError("it moved"), TransportError("nobody is there")])
def test_a_coordinator_that_cannot_be_asked_is_something_to_try_again(error: Exception) -> None:
    async def story(loop: Loop) -> None:
        async def ask(admission: Admission, timeout_ms: int) -> list[KraftpyError | None]:
            raise error

        answers = await CoordinatorGate(ask, SimulatedClock(loop, loop.world)).admit(ADMISSION, 5_000)
        expected = NotCoordinatorError if isinstance(error, KraftpyError) else CoordinatorNotAvailableError
        assert [type(answer) for answer in answers] == [expected] * 2

    play(story)
