"""Transactions in partitions: where committed readers stop, what they are told to skip, and who may begin one."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from broker.coordinator.partition_log import PartitionLog
from broker.metadata.records import PartitionRecord
from broker.replication.fetch_types import FetchedPartition, IsolationLevel, OffsetSpec, OffsetsQuery, OffsetTarget
from broker.replication.producing import EndMarker, Produced
from broker.replication.verification import Admission, Transaction, Verifications, as_produce_error
from kraftpy.client.committed import AbortedTransaction, AbortedTransactions
from kraftpy.errors import (
    ConcurrentTransactionsError,
    InvalidProducerEpochError,
    InvalidTxnStateError,
    KraftpyError,
    NotCoordinatorError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    OutOfOrderSequenceError,
    ProducerFencedError,
    TransactionAbortableError,
    TransactionCoordinatorFencedError,
)
from kraftpy.record import Record, encode_batch, iterate_headers, read_header
from kraftpy.record.reader import decode_records
from log_store.config import LogConfig
from log_store.log import Log
from simulation.device import Device
from simulation.disk import SimulatedDisk
from tests.replication.cluster import TOPIC, Cluster, play

COMMITTED = IsolationLevel.READ_COMMITTED
OURS = Transaction("payments", adds_partitions=True)


@dataclass
class Gate:
    """A coordinator that answers as it is told; every question is noted."""

    answer: KraftpyError | None = None
    asked: list[Admission] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def admit(self, admission: Admission, timeout_ms: int) -> list[KraftpyError | None]:
        self.asked.append(admission)
        await self.may_answer.wait()
        return [self.answer] * len(admission.partitions)


def records(cluster: Cluster, sequence: int, *, producer_id: int = 7, epoch: int = 0, count: int = 1) -> bytearray:
    cluster.sent += count
    return encode_batch(
        [Record(at, 1_000, b"k", b"%d" % (cluster.sent + at), ()) for at in range(count)],
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
        transactional=True,
    )


def open_gate(cluster: Cluster, answer: KraftpyError | None = None) -> Gate:
    gate = Gate(answer)
    gate.may_answer.set()
    for broker in cluster.brokers.values():
        broker.replicas.admissions.gate = gate
    return gate


async def write(
    cluster: Cluster, batch: bytearray, transaction: Transaction | None = OURS, *, partition: int = 0, acks: int = -1
) -> Produced:
    leader = cluster.leader(partition)
    work = cluster.brokers[leader].replicas.produce([(TOPIC, partition, batch)], acks, 5_000, transaction)
    return (await cluster.in_lane(leader, work))[0]


async def end(
    cluster: Cluster,
    *,
    commit: bool,
    producer_id: int = 7,
    epoch: int = 1,
    coordinator_epoch: int = 3,
    bumps: bool = True,
) -> Produced:
    leader = cluster.leader()
    marker = EndMarker(producer_id, epoch, coordinator_epoch, commit, bumps)
    return await cluster.in_lane(leader, cluster.brokers[leader].replicas.write_marker(TOPIC, 0, marker, 5_000))


async def fetched(cluster: Cluster, offset: int, isolation: IsolationLevel = COMMITTED) -> FetchedPartition:
    leader = cluster.leader()
    answer = await cluster.fetch(leader, cluster.query(offset, isolation_level=isolation))
    return answer.partitions[0]


async def committed_offsets(cluster: Cluster) -> list[int]:
    """What a consumer with read_committed is handed out."""
    seen: list[int] = []
    offset = 0
    while True:
        found = await fetched(cluster, offset)
        assert found.error is None
        data = b"".join(piece.file.read(piece.length, piece.position) for piece in found.slices)
        if not data:
            return seen
        aborted = AbortedTransactions(AbortedTransaction(each.first_offset, each.producer_id) for each in found.aborted)
        for position, header in iterate_headers(data):
            view = memoryview(data)[position : position + header.size_bytes]
            if not aborted.leave_out(header, view):
                seen += [record.offset for record in decode_records(header, view)]
            offset = header.end_offset
        assert offset <= found.last_stable_offset


async def latest(cluster: Cluster, isolation: IsolationLevel) -> int:
    leader = cluster.leader()
    query = OffsetsQuery(-1, isolation, [OffsetTarget(TOPIC, 0, -1, OffsetSpec.LATEST)])
    return (await cluster.in_lane(leader, cluster.brokers[leader].replicas.list_offsets(query)))[0].offset


# --- reading ---


def test_a_committed_reader_waits_for_the_marker_and_skips_what_was_aborted() -> None:
    async def story(cluster: Cluster) -> None:
        open_gate(cluster)
        await cluster.produce(1)
        assert (await write(cluster, records(cluster, 0, count=2))).error is None
        await cluster.produce(1)
        found = await fetched(cluster, 0)
        assert (found.last_stable_offset, found.high_watermark, found.aborted) == (1, 4, [])
        assert await committed_offsets(cluster) == [0]
        assert [await latest(cluster, level) for level in IsolationLevel] == [4, 1]
        assert (await end(cluster, commit=False)).error is None
        assert await committed_offsets(cluster) == [0, 3]
        assert [await latest(cluster, level) for level in IsolationLevel] == [5, 5]
        assert (await fetched(cluster, 0)).aborted == [(7, 1)]
        assert (await fetched(cluster, 0, IsolationLevel.READ_UNCOMMITTED)).aborted == []

    play(story)


def test_a_committed_transaction_is_shown_as_a_whole() -> None:
    async def story(cluster: Cluster) -> None:
        open_gate(cluster)
        for sequence in range(3):
            assert (await write(cluster, records(cluster, sequence))).error is None
            assert await committed_offsets(cluster) == []
        assert (await end(cluster, commit=True)).error is None
        assert await committed_offsets(cluster) == [0, 1, 2]

    play(story)


def test_a_marker_that_is_not_committed_decides_nothing_yet() -> None:
    async def story(cluster: Cluster) -> None:
        open_gate(cluster)
        await write(cluster, records(cluster, 0))
        cluster.crash(2)
        cluster.crash(3)
        leader = cluster.leader()
        marker = EndMarker(7, 1, 3, True, True)
        replicas = cluster.brokers[leader].replicas
        marking = cluster.in_lane(leader, replicas.write_marker(TOPIC, 0, marker, 60_000))
        await cluster.until(lambda: cluster.replica(leader).log.end_offset == 2)
        assert cluster.replica(leader).last_stable_offset == 0
        await cluster.start(2, 3)
        assert (await marking).error is None
        assert cluster.replica(leader).last_stable_offset == 2

    play(story)


def test_a_parked_committed_fetch_is_answered_by_the_marker() -> None:
    async def story(cluster: Cluster) -> None:
        open_gate(cluster)
        await write(cluster, records(cluster, 0))
        query = cluster.query(0, isolation_level=COMMITTED, max_wait_ms=30_000)
        fetching = asyncio.ensure_future(cluster.fetch(cluster.leader(), query))
        await asyncio.sleep(0.5)
        assert not fetching.done()
        await end(cluster, commit=True)
        answer = await fetching
        assert answer.partitions[0].size_bytes > 0

    play(story)


def test_a_committed_reader_begins_at_the_start_of_the_log_where_what_is_open_was_deleted() -> None:
    """Sent below the start it would be out of range, ask where to begin, and be sent there again."""

    async def story(cluster: Cluster) -> None:
        open_gate(cluster)
        await write(cluster, records(cluster, 0))
        leader = cluster.leader()
        await cluster.produce(leader, count=4)
        deleting = cluster.brokers[leader].replicas.delete_records(TOPIC, 0, 3, 5_000)
        assert await cluster.in_lane(leader, deleting) == 3
        assert [cluster.replica(node_id).last_stable_offset for node_id in (1, 2, 3)] == [3, 3, 3]
        assert await latest(cluster, COMMITTED) == 3
        assert (await fetched(cluster, 3)).error is None
        await end(cluster, commit=True)
        assert await latest(cluster, COMMITTED) == 6

    play(story)


def test_a_new_leader_knows_what_is_open_and_what_was_aborted() -> None:
    async def story(cluster: Cluster) -> None:
        open_gate(cluster)
        await write(cluster, records(cluster, 0, producer_id=7))
        await write(cluster, records(cluster, 0, producer_id=8))
        await end(cluster, commit=False, producer_id=7)
        await cluster.until(lambda: cluster.same_logs(1, 2, 3))
        old = cluster.leader()
        cluster.controller.fence(old)
        await cluster.until(lambda: cluster.leader() not in (old, -1) and cluster.replica(cluster.leader()).is_leader)
        await cluster.until(lambda: cluster.replica(cluster.leader()).high_watermark == 3)
        assert cluster.replica(cluster.leader()).last_stable_offset == 1
        assert (await end(cluster, commit=True, producer_id=8)).error is None
        assert await committed_offsets(cluster) == [1]

    play(story)


def test_open_and_aborted_transactions_survive_the_restart_of_everybody() -> None:
    async def story(cluster: Cluster) -> None:
        open_gate(cluster)
        await write(cluster, records(cluster, 0, producer_id=7))
        await write(cluster, records(cluster, 0, producer_id=8))
        await end(cluster, commit=False, producer_id=7)
        await cluster.until(lambda: cluster.same_logs(1, 2, 3))
        for node_id in (1, 2, 3):
            cluster.crash(node_id, power=True)
        await cluster.start(1, 2, 3)
        open_gate(cluster)
        await cluster.until(lambda: cluster.leader() > 0 and cluster.replica(cluster.leader()).is_leader)
        await cluster.until(lambda: cluster.replica(cluster.leader()).high_watermark == 3)
        assert cluster.replica(cluster.leader()).last_stable_offset == 1
        assert (await write(cluster, records(cluster, 1, producer_id=8), None)).error is None, "it is still open"
        await end(cluster, commit=True, producer_id=8)
        assert await committed_offsets(cluster) == [1, 3]

    play(story)


# --- who may write ---


def test_without_a_coordinator_no_transaction_begins() -> None:
    async def story(cluster: Cluster) -> None:
        assert isinstance((await write(cluster, records(cluster, 0))).error, InvalidTxnStateError)
        open_gate(cluster)
        assert isinstance((await write(cluster, records(cluster, 0), None)).error, InvalidTxnStateError)
        assert cluster.replica(cluster.leader()).log.end_offset == 0

    play(story)


def test_only_the_first_batch_is_asked_for_and_all_partitions_of_a_request_at_once() -> None:
    async def story(cluster: Cluster) -> None:
        gate = open_gate(cluster)
        for sequence in range(3):
            assert (await write(cluster, records(cluster, sequence))).error is None
        assert [admission.partitions for admission in gate.asked] == [((TOPIC, 0),)]
        assert gate.asked[0][:3] == (OURS, 7, 0)
        await end(cluster, commit=True)
        assert (await write(cluster, records(cluster, 0, epoch=1))).error is None
        assert len(gate.asked) == 2

    play(story)


@pytest.mark.parametrize("transaction", [OURS, None])
def test_a_request_that_names_a_partition_twice_is_answered_and_asks_once(transaction: Transaction | None) -> None:
    async def story(cluster: Cluster) -> None:
        gate = open_gate(cluster)
        leader = cluster.leader()
        twice = [(TOPIC, 0, records(cluster, sequence)) for sequence in range(2)]
        work = cluster.brokers[leader].replicas.produce(twice, -1, 5_000, transaction)
        answers = await asyncio.wait_for(cluster.in_lane(leader, work), 20)
        expected = type(None) if transaction else InvalidTxnStateError
        assert [type(answer.error) for answer in answers] == [expected, expected]
        assert [admission.partitions for admission in gate.asked] == ([((TOPIC, 0),)] if transaction else [])

    play(story)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (ProducerFencedError(), InvalidProducerEpochError),
        (InvalidProducerEpochError(), InvalidProducerEpochError),
        (NotCoordinatorError(), NotEnoughReplicasError),
        (ConcurrentTransactionsError(), NotEnoughReplicasError),
        (TransactionAbortableError(), TransactionAbortableError),
        (InvalidTxnStateError(), InvalidTxnStateError),
    ],
)
def test_what_the_coordinator_refuses_is_not_written(answer: KraftpyError, told: type[KraftpyError]) -> None:
    assert isinstance(as_produce_error(answer), told)

    async def story(cluster: Cluster) -> None:
        open_gate(cluster, answer)
        assert isinstance((await write(cluster, records(cluster, 0))).error, told)
        replica = cluster.replica(cluster.leader())
        assert (replica.log.end_offset, len(replica.verifications)) == (0, 0)

    play(story)


@pytest.mark.parametrize("adds", [False, True])
def test_what_is_behind_a_batch_that_could_not_be_verified_is_refused_likewise(adds: bool) -> None:
    """A producer has five requests on their way: the second must not be told to be out of order."""

    async def story(cluster: Cluster) -> None:
        transaction = Transaction("payments", adds)
        open_gate(cluster)
        assert (await write(cluster, records(cluster, 0), transaction)).error is None
        assert (await end(cluster, commit=True, epoch=int(adds), bumps=adds)).error is None
        batches = [records(cluster, sequence, epoch=int(adds)) for sequence in ((0, 1) if adds else (1, 2))]
        for answer in (ConcurrentTransactionsError("the one before is being ended"), None):
            open_gate(cluster, answer)
            batch = bytearray(batches[0 if answer else 1])
            assert isinstance((await write(cluster, batch, transaction)).error, NotEnoughReplicasError)
        written = [await write(cluster, bytearray(batch), transaction) for batch in batches]
        assert [(each.error, each.base_offset) for each in written] == [(None, 2), (None, 3)]

    play(story)


@pytest.mark.parametrize("adds, marker_epoch", [(False, 0), (True, 1), (True, 0)])
def test_the_aba_case_a_late_yes_does_not_count_for_the_next_transaction(adds: bool, marker_epoch: int) -> None:
    """The coordinator says yes, ends the transaction, and only then the yes arrives."""

    async def story(cluster: Cluster) -> None:
        gate = open_gate(cluster)
        gate.may_answer.clear()
        writing = asyncio.ensure_future(write(cluster, records(cluster, 0), Transaction("payments", adds)))
        await cluster.until(lambda: len(gate.asked) == 1)
        assert (await end(cluster, commit=False, epoch=marker_epoch, bumps=marker_epoch > 0)).error is None
        gate.may_answer.set()
        told = (await writing).error
        assert isinstance(told, InvalidProducerEpochError if marker_epoch else InvalidTxnStateError)
        replica = cluster.replica(cluster.leader())
        assert replica.log.end_offset == replica.last_stable_offset == 1

    play(story)


@pytest.mark.parametrize("way", [(), (2,)])
def test_a_yes_that_arrives_in_a_later_epoch_of_the_same_leader_fails_nobody_for_good(way: tuple[int, ...]) -> None:
    """A reassignment raises the leader epoch and leaves the leader; or another one leads for a moment."""

    async def story(cluster: Cluster) -> None:
        gate = open_gate(cluster)
        gate.may_answer.clear()
        batch = records(cluster, 0)
        writing = asyncio.ensure_future(write(cluster, bytearray(batch)))
        await cluster.until(lambda: len(gate.asked) == 1)
        first = cluster.leader()
        for leader in (*way, first):
            cluster.controller.change(leader=leader)
            await cluster.until(lambda: cluster.replica(first).state == cluster.controller.state())
        gate.may_answer.set()
        told = (await writing).error
        assert told is None if not way else isinstance(told, NotLeaderOrFollowerError)
        await retried(cluster, lambda: write(cluster, bytearray(batch)))
        assert cluster.replica(first).log.end_offset == 1

    play(story)


def test_a_transaction_may_wait_for_the_markers_of_the_one_before() -> None:
    """Their epoch is its own: it is not what they end (KIP-890)."""

    async def story(cluster: Cluster) -> None:
        open_gate(cluster)
        assert (await write(cluster, records(cluster, 0))).error is None
        gate = open_gate(cluster)
        gate.may_answer.clear()
        writing = asyncio.ensure_future(write(cluster, records(cluster, 0, epoch=1)))
        await cluster.until(lambda: len(gate.asked) == 1)
        assert (await end(cluster, commit=True, epoch=1)).error is None
        gate.may_answer.set()
        assert (await writing).error is None
        replica = cluster.replica(cluster.leader())
        assert (replica.last_stable_offset, replica.log.end_offset) == (2, 3)

    play(story)


def test_offsets_may_wait_for_the_markers_of_the_transaction_before_too() -> None:
    """Those in a group's partition are written by its coordinator, past the producers' path."""

    async def story(cluster: Cluster) -> None:
        open_gate(cluster)
        assert (await write(cluster, records(cluster, 0))).error is None
        gate = open_gate(cluster)
        gate.may_answer.clear()
        writing = asyncio.ensure_future(write(cluster, records(cluster, 0, epoch=1)))
        await cluster.until(lambda: len(gate.asked) == 1)
        replica = cluster.replica(cluster.leader())
        assert replica.leadership is not None
        log = PartitionLog(replica, replica.leadership.leader_epoch, SimulatedDisk(Device(Random(1))))
        log.append(EndMarker(7, 1, 1, True, True).batch(1_000), bumps_epoch=True)
        gate.may_answer.set()
        assert (await writing).error is None

    play(story)


def test_requests_that_come_while_the_coordinator_is_asked_keep_their_order_and_ask_no_more() -> None:
    async def story(cluster: Cluster) -> None:
        gate = open_gate(cluster)
        gate.may_answer.clear()
        writing = [asyncio.ensure_future(write(cluster, records(cluster, sequence))) for sequence in range(5)]
        await cluster.until(lambda: len(gate.asked) == 1)
        await asyncio.sleep(0.1)
        gate.may_answer.set()
        assert [(produced.error, produced.base_offset) for produced in [await each for each in writing]] == [
            (None, offset) for offset in range(5)
        ]
        assert len(gate.asked) == 1

    play(story)


@dataclass
class LateForTheSecond(Gate):
    """Its word on partition 1 comes later."""

    may_answer_later: asyncio.Event = field(default_factory=asyncio.Event)

    async def admit(self, admission: Admission, timeout_ms: int) -> list[KraftpyError | None]:
        found = await super().admit(admission, timeout_ms)
        if (TOPIC, 1) in admission.partitions:
            await self.may_answer_later.wait()
        return found


@pytest.mark.parametrize("first_is_through", [False, True])
def test_a_request_that_asks_for_another_partition_is_not_overtaken(first_is_through: bool) -> None:
    """It waits for its own answer, and what comes after it names only a partition that is answered already."""

    async def story(cluster: Cluster) -> None:
        topic_id = cluster.controller.image.topic_ids[TOPIC]
        leader = cluster.leader()
        cluster.controller.commit(PartitionRecord(topic_id, 1, (1, 2, 3), (1, 2, 3), leader, 0, 0))
        replicas = cluster.brokers[leader].replicas
        await cluster.until(lambda: len(replicas.describe()) == 2)
        gate = replicas.admissions.gate = LateForTheSecond()
        first = asyncio.ensure_future(write(cluster, records(cluster, 0)))
        await cluster.until(lambda: len(gate.asked) == 1)
        batches = [(TOPIC, 0, records(cluster, 1)), (TOPIC, 1, records(cluster, 0))]
        second = asyncio.ensure_future(cluster.in_lane(leader, replicas.produce(batches, -1, 5_000, OURS)))
        await cluster.until(lambda: len(gate.asked) == 2)
        if first_is_through:
            gate.may_answer.set()
            await first
        third = asyncio.ensure_future(write(cluster, records(cluster, 2)))
        await asyncio.sleep(0.1)
        gate.may_answer.set()
        await asyncio.sleep(0.1)
        gate.may_answer_later.set()
        assert [each.error for each in (await first, *await second, await third)] == [None] * 4

    play(story)


def test_with_verification_off_a_producer_that_adds_its_partitions_is_trusted() -> None:
    async def story(cluster: Cluster) -> None:
        gate = open_gate(cluster)
        for broker in cluster.brokers.values():
            broker.replicas.admissions.verifies = False
        old = Transaction("payments", adds_partitions=False)
        assert (await write(cluster, records(cluster, 0), old)).error is None
        assert gate.asked == []
        await end(cluster, commit=True)
        assert (await write(cluster, records(cluster, 0, epoch=1), OURS)).error is None
        assert len(gate.asked) == 1, "where the leader adds the partition, there is nobody else who would"

    play(story)


def test_a_transaction_of_the_second_version_begins_with_sequence_0() -> None:
    async def story(cluster: Cluster) -> None:
        open_gate(cluster)
        assert isinstance((await write(cluster, records(cluster, 4))).error, OutOfOrderSequenceError)
        old = Transaction("payments", adds_partitions=False)
        assert (await write(cluster, records(cluster, 4), old)).error is None  # its state may have gone (KIP-360)

    play(story)


# --- markers ---


def test_a_repeated_marker_of_the_second_version_is_not_written_again() -> None:
    async def story(cluster: Cluster) -> None:
        open_gate(cluster)
        await write(cluster, records(cluster, 0))
        for _ in range(2):
            assert (await end(cluster, commit=True, epoch=1)).error is None
        assert cluster.replica(cluster.leader()).log.end_offset == 2
        await write(cluster, records(cluster, 0, epoch=1))
        assert (await end(cluster, commit=False, epoch=1)).error is None, "late, of the transaction before"
        replica = cluster.replica(cluster.leader())
        assert (replica.log.end_offset, replica.last_stable_offset) == (3, 2)

    play(story)


def test_kip_890_a_late_produce_after_the_abort_leaves_nothing_dangling() -> None:
    """The coordinator would say yes, as it did while the transaction was open: the log's own epoch decides. Before and
    after a failover."""

    async def story(cluster: Cluster) -> None:
        open_gate(cluster)
        assert (await write(cluster, records(cluster, 0))).error is None
        assert (await end(cluster, commit=False, epoch=1)).error is None
        assert isinstance((await write(cluster, records(cluster, 1))).error, InvalidProducerEpochError)
        await cluster.until(lambda: cluster.same_logs(1, 2, 3))
        old = cluster.leader()
        cluster.controller.fence(old)
        await cluster.until(lambda: cluster.leader() not in (old, -1) and cluster.replica(cluster.leader()).is_leader)
        assert isinstance((await write(cluster, records(cluster, 1))).error, InvalidProducerEpochError)
        await cluster.until(lambda: cluster.replica(cluster.leader()).high_watermark == 2)
        assert cluster.replica(cluster.leader()).last_stable_offset == 2, "nothing holds readers up"
        assert await committed_offsets(cluster) == []

    play(story)


def test_kafka_17754_a_late_marker_of_an_earlier_transaction_decides_no_later_one() -> None:
    """What a delayed EndTxn has set going reaches the partition when the producer's next transaction is open there."""

    async def story(cluster: Cluster) -> None:
        open_gate(cluster)
        await write(cluster, records(cluster, 0))
        assert (await end(cluster, commit=True, epoch=1)).error is None
        assert (await write(cluster, records(cluster, 0, epoch=1))).error is None
        for commit in (True, False):
            assert (await end(cluster, commit=commit, epoch=1)).error is None, "it has been written, as far as it goes"
            found = await fetched(cluster, 0)
            assert (found.last_stable_offset, found.high_watermark, found.aborted) == (2, 3, [])
        assert await committed_offsets(cluster) == [0]
        assert (await end(cluster, commit=False, epoch=2)).error is None
        assert await committed_offsets(cluster) == [0]
        found = await fetched(cluster, 0)
        assert (found.last_stable_offset, found.high_watermark) == (4, 4)

    play(story)


def test_markers_are_fenced_by_both_epochs() -> None:
    async def story(cluster: Cluster) -> None:
        open_gate(cluster)
        await write(cluster, records(cluster, 0, epoch=4))
        assert isinstance((await end(cluster, commit=True, epoch=3)).error, InvalidProducerEpochError)
        assert (await end(cluster, commit=True, epoch=5, coordinator_epoch=3)).error is None
        fenced = await end(cluster, commit=True, epoch=6, coordinator_epoch=2)
        assert isinstance(fenced.error, TransactionCoordinatorFencedError)

    play(story)


def test_producers_are_described() -> None:
    async def story(cluster: Cluster) -> None:
        open_gate(cluster)
        await write(cluster, records(cluster, 0, count=3))
        await end(cluster, commit=True)
        await write(cluster, records(cluster, 0, epoch=1))
        leader = cluster.leader()
        (entry,) = cluster.brokers[leader].replicas.describe_producers(TOPIC, 0)
        assert (entry.producer_id, entry.epoch, entry.last_sequence, entry.last_offset) == (7, 1, 0, 4)
        assert (entry.coordinator_epoch, entry.transaction_start, entry.timestamp_ms) == (3, 4, 1_000)

    play(story)


# --- guards, without a broker ---


def test_an_earlier_batch_that_waits_goes_first() -> None:
    verifications = Verifications()
    first, second = (read_header(encode_guarded(sequence)) for sequence in (0, 5))
    guard = verifications.begin(first, adds_partitions=True)
    assert verifications.begin(second, adds_partitions=True) is guard
    log = empty_log()
    assert not verifications.vouch(log, first)
    guard.is_verified = True
    with pytest.raises(OutOfOrderSequenceError):
        verifications.vouch(log, second)
    assert verifications.vouch(log, first)
    verifications.settled(7)
    assert not verifications.vouch(log, first)


def test_guards_go_with_the_last_request_that_holds_them() -> None:
    verifications, header = Verifications(), read_header(encode_guarded(0))
    guards = [verifications.begin(header, adds_partitions=True) for _ in range(3)]
    for guard in guards:
        assert len(verifications) == 1
        verifications.release(7, guard)
    assert len(verifications) == 0


def empty_log() -> Log:
    disk = SimulatedDisk(Device(Random(1)))
    return Log.create(disk, "/data/topic-0", LogConfig(), wall_ms=0)


def encode_guarded(sequence: int) -> bytearray:
    record = Record(0, 1_000, b"k", b"v", ())
    return encode_batch([record], producer_id=7, producer_epoch=0, base_sequence=sequence, transactional=True)


@pytest.mark.parametrize("seed", range(3))
def test_random_transactions_under_failovers_end_as_they_were_decided(seed: int) -> None:
    """Producers that commit or abort while leaders change: a committed reader sees whole transactions or nothing."""

    async def story(cluster: Cluster) -> None:
        random = Random(seed)
        decided: dict[int, bool] = {}  # value → committed
        epochs = dict.fromkeys((7, 8, 9), 0)
        for _ in range(25):
            open_gate(cluster)
            producer_id = random.choice([7, 8, 9])
            values = []
            for sequence in range(random.randrange(1, 4)):
                batch = records(cluster, sequence, producer_id=producer_id, epoch=epochs[producer_id])
                values.append(cluster.sent)
                await retried(cluster, lambda batch=batch: write(cluster, bytearray(batch)))  # type: ignore[misc]
            if random.random() < 0.3:
                leader = cluster.leader()
                cluster.controller.fence(leader)
                cluster.controller.unfence(leader)
            commit = random.random() < 0.6
            epochs[producer_id] += 1
            await retried(
                cluster,
                lambda: end(cluster, commit=commit, producer_id=producer_id, epoch=epochs[producer_id]),  # noqa: B023
            )
            decided.update(dict.fromkeys(values, commit))
        await cluster.until(lambda: cluster.same_logs(1, 2, 3))
        seen = set(await committed_offsets(cluster))
        shown = {int(record.value or b"") for record in cluster.log(cluster.leader()) if record.offset in seen}
        assert shown == {value for value, committed in decided.items() if committed}

    play(story, seed, log_config=LogConfig(segment_bytes=1500))


async def retried(cluster: Cluster, attempt: Callable[[], Awaitable[Produced]]) -> None:
    for _ in range(200):
        if cluster.leader() > 0:
            produced = await attempt()
            if produced.error is None:
                return
            assert produced.error.retriable, produced.error
        await asyncio.sleep(0.05)
    raise AssertionError("it never came through")
