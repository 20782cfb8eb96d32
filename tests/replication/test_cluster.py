"""Brokers against each other, on virtual time: what is appended is copied, committed, kept over failovers."""

import asyncio
import errno
from dataclasses import replace
from typing import Any

import pytest

from broker.metadata.records import (
    BrokerChangeRecord,
    PartitionChangeRecord,
    PartitionRecord,
)
from broker.replication.fetch_types import (
    Diverging,
    FetchedPartition,
    IsolationLevel,
    OffsetSpec,
    OffsetsQuery,
    OffsetTarget,
)
from broker.replication.isr import InSyncAnswer
from broker.replication.partition import Partition
from broker.replication.replicating import cut_damage, replicate, truncate
from kraftpy.errors import (
    CorruptRecordError,
    FencedLeaderEpochError,
    InvalidRecordError,
    InvalidRequiredAcksError,
    KafkaStorageError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    OffsetNotAvailableError,
    RequestTimedOutError,
    UnknownLeaderEpochError,
    UnknownTopicOrPartitionError,
)
from kraftpy.record import Record, encode_batch, read_header
from log_store.integrity import Damage
from log_store.log import Log
from simulation.cluster import make_data_directory
from tests.replication.cluster import TOPIC, Cluster, play


def test_what_is_acknowledged_is_everywhere_and_committed() -> None:
    async def story(cluster: Cluster) -> None:
        produced = await cluster.produce(1, count=3)
        assert (produced.error, produced.base_offset) == (None, 0)
        assert all(cluster.replica(node).log.flushed_offset == 3 for node in (1, 2, 3))
        assert cluster.replica(1).high_watermark == 3
        await cluster.until(lambda: all(cluster.replica(node).high_watermark == 3 for node in (2, 3)))
        assert cluster.same_logs(1, 2, 3)

    play(story)


def test_a_broker_that_does_not_lead_says_who_does() -> None:
    async def story(cluster: Cluster) -> None:
        produced = await cluster.produce(2)
        assert isinstance(produced.error, NotLeaderOrFollowerError)
        assert produced.leader == (1, 0)

    play(story)


def test_a_consumer_waits_for_the_high_watermark_and_no_longer() -> None:
    async def story(cluster: Cluster) -> None:
        waiting = asyncio.create_task(cluster.fetch(1, cluster.query(0, max_wait_ms=10_000)))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await cluster.produce(1)
        answer = await waiting
        assert answer.partitions[0].size_bytes > 0
        assert answer.partitions[0].high_watermark == 1

    play(story)


def test_a_failover_loses_nothing_and_the_old_leader_is_cut_to_size() -> None:
    async def story(cluster: Cluster) -> None:
        for _ in range(5):
            assert (await cluster.produce(1)).error is None
        cluster.world.isolate("n1")
        await cluster.produce(1, acks=1, timeout_ms=100)  # only on the old leader
        cluster.controller.fence(1)
        await cluster.until(lambda: cluster.leader() == 2 and cluster.replica(2).is_leader)
        assert (await cluster.produce(2, count=2)).error is None
        cluster.crash(1)
        cluster.world.heal()
        await cluster.start(1)
        await cluster.until(lambda: cluster.in_sync(1, 2, 3))
        assert cluster.same_logs(1, 2, 3)
        assert len(cluster.log(1)) == 7

    play(story)


# --- acknowledgements ---


def test_acks_all_is_refused_before_anything_is_written_while_too_few_are_in_sync() -> None:
    async def story(cluster: Cluster) -> None:
        for node in (2, 3):
            cluster.controller.fence(node)
        await cluster.until(lambda: cluster.replica(1).state.isr == (1,))
        assert isinstance((await cluster.produce(1)).error, NotEnoughReplicasError)
        assert cluster.replica(1).log.end_offset == 0

    play(story)


def test_a_set_that_shrinks_too_far_meanwhile_is_told_after_the_append() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.world.isolate("n1")
        waiting = asyncio.create_task(cluster.produce(1, timeout_ms=60_000))
        await asyncio.sleep(0.05)
        cluster.controller.change(isr=(1,))
        await asyncio.sleep(0.5)
        assert not waiting.done(), "KIP-966: with one replica left the watermark rests"
        cluster.replica(1).high_watermark = 1  # as though it had moved just before the set shrank
        cluster.replica(1).settle_committed()
        assert isinstance((await waiting).error, NotEnoughReplicasAfterAppendError)

    play(story)


def test_a_produce_that_is_not_acknowledged_in_time_says_so_and_stays() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.world.isolate("n1")
        produced = await cluster.produce(1, timeout_ms=200)
        assert isinstance(produced.error, RequestTimedOutError)
        cluster.world.heal()
        await cluster.until(lambda: cluster.replica(1).high_watermark == 1)

    play(story)


def test_acks_1_waits_for_the_leaders_disk_only_and_acks_0_for_nothing() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.world.isolate("n1")
        produced = await cluster.produce(1, acks=1)
        assert (produced.error, produced.base_offset) == (None, 0)
        assert cluster.replica(1).log.flushed_offset == 1
        log = cluster.replica(1).log
        produced = await cluster.produce(1, acks=0)
        assert produced.base_offset == 1
        assert isinstance((await cluster.produce(1, acks=7)).error, InvalidRequiredAcksError)
        assert log.end_offset == 2

    play(story)


def test_a_repeated_batch_waits_for_the_commit_of_the_first() -> None:
    async def story(cluster: Cluster) -> None:
        batch = cluster.batch(2, producer_id=7, sequence=0)
        cluster.world.isolate("n1")
        first = await cluster.produce_batch(1, bytearray(batch), timeout_ms=100)
        assert isinstance(first.error, RequestTimedOutError)
        again = asyncio.create_task(cluster.produce_batch(1, bytearray(batch), timeout_ms=60_000))
        await asyncio.sleep(0.5)
        assert not again.done()
        cluster.world.heal()
        produced = await again
        assert (produced.error, produced.base_offset) == (None, 0)
        assert cluster.replica(1).log.end_offset == 2

    play(story)


def test_a_leader_that_loses_its_leadership_answers_those_who_wait() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.world.isolate("n1")
        waiting = asyncio.create_task(cluster.produce(1, timeout_ms=60_000))
        await asyncio.sleep(0.05)
        cluster.controller.change(leader=2)
        assert isinstance((await waiting).error, NotLeaderOrFollowerError)

    play(story)


def test_a_read_only_buffer_is_copied_and_left_alone() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1)
        batch = bytes(cluster.batch())
        produce = cluster.brokers[1].replicas.produce([(TOPIC, 0, memoryview(batch)), (TOPIC, 9, batch)], -1, 5_000)
        first, second = await cluster.in_lane(1, produce)
        assert (first.error, first.base_offset) == (None, 1)
        assert read_header(batch).base_offset == 0
        assert isinstance(second.error, UnknownTopicOrPartitionError)

    play(story)


# --- in-sync sets ---


def test_a_follower_that_stands_still_leaves_after_its_time_and_comes_back() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1)
        cluster.world.pause("n3")
        waiting = asyncio.create_task(cluster.produce(1, timeout_ms=60_000))
        await asyncio.sleep(8)
        assert cluster.in_sync(1, 2, 3), "not before replica.lag.time.max.ms"
        await cluster.until(lambda: cluster.in_sync(1, 2), within_ms=6_000)
        assert (await waiting).error is None
        cluster.world.resume("n3")
        await cluster.until(lambda: cluster.in_sync(1, 2, 3))

    play(story)


def test_one_that_was_about_to_join_and_is_fenced_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in no in-sync set that could change, and nothing else moves: the leader has to look by itself."""

    async def story(cluster: Cluster) -> None:
        await cluster.produce(1)
        monkeypatch.setattr(cluster.controller, "_alter", lambda _: InSyncAnswer("INELIGIBLE_REPLICA"))
        cluster.controller.change(isr=(1, 2))
        await cluster.until(lambda: cluster.replica(1).state.isr == (1, 2))
        cluster.crash(3)
        waiting = asyncio.create_task(cluster.produce(1, timeout_ms=60_000))
        await asyncio.sleep(1)
        assert not waiting.done(), "it was heard of just now, and may be a member at any moment"
        epoch = cluster.controller.image.brokers[3].epoch
        cluster.controller.commit(BrokerChangeRecord(3, epoch, fenced=True))
        await cluster.until(waiting.done, within_ms=100)
        assert waiting.result().error is None

    play(story)


def test_a_follower_that_was_idle_for_long_is_not_taken_for_a_slow_one() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1)
        await asyncio.sleep(60)
        cluster.world.block("n3", "n1", hold=True)
        waiting = asyncio.create_task(cluster.produce(1, timeout_ms=60_000))
        await asyncio.sleep(5)
        assert cluster.in_sync(1, 2, 3) and not cluster.controller.proposals
        cluster.world.heal()
        assert (await waiting).error is None

    play(story)


def test_a_leader_that_stood_still_accuses_nobody() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1)
        cluster.world.pause("n1")
        await asyncio.sleep(60)
        cluster.world.resume("n1")
        await cluster.produce(1)
        await asyncio.sleep(3)
        assert not cluster.controller.proposals

    play(story)


def test_proposals_are_sent_again_until_the_controller_answers() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.controller.answers.clear()
        cluster.world.pause("n3")
        waiting = asyncio.create_task(cluster.produce(1, timeout_ms=60_000))
        await asyncio.sleep(20)
        assert not waiting.done()
        cluster.controller.answers.set()
        assert (await waiting).error is None
        assert cluster.in_sync(1, 2)

    play(story)


@pytest.mark.parametrize("is_overtaken", [False, True])
def test_a_member_that_lacks_something_does_not_wait_for_the_next_check(is_overtaken: bool) -> None:
    """Another proposal is out when it fetches; it may be dead, and elected, by the next one."""

    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=4)
        controller, leadership = cluster.controller, cluster.replica(1).leadership
        assert leadership is not None
        controller.answers.clear()
        cluster.world.pause("n2")
        await cluster.produce(1, acks=1)
        await cluster.until(lambda: leadership.in_sync.proposed == (1, 3))
        cluster.world.isolate("n3")
        await cluster.fetch(1, cluster.query(2, replica_id=3, replica_epoch=controller.image.brokers[3].epoch))
        if is_overtaken:
            topic_id = controller.image.topic_ids[TOPIC]
            controller.commit(PartitionChangeRecord(topic_id, 0, isr=(1,), eligible_replicas=(3,)))
        controller.answers.set()
        await cluster.until(lambda: cluster.in_sync(1) and not controller.state().eligible_replicas, within_ms=100)
        assert controller.proposals[-1].lacking == (3,)

    play(story)


# --- leaders and epochs ---


def test_a_new_leader_shows_no_old_watermark() -> None:
    """Invariant 10: until its followers were heard, it may know less than the former leader has shown."""

    async def story(cluster: Cluster) -> None:
        await cluster.produce(1)
        await cluster.produce(1, count=4)
        for node in (2, 3):
            cluster.replica(node).high_watermark = 1  # followers always know an older one
        cluster.world.isolate("n2")
        cluster.controller.change(leader=2)
        await cluster.until(lambda: cluster.replica(2).is_leader)
        answer = await cluster.fetch(2, cluster.query(0))  # what it knows to be committed can be read all the same
        told = answer.partitions[0]
        assert (told.error, told.high_watermark, told.size_bytes > 0) == (None, -1, True)
        epoch = cluster.controller.image.brokers[3].epoch
        answer = await cluster.fetch(2, cluster.query(5, replica_id=3, replica_epoch=epoch))  # a follower hears it
        assert (answer.partitions[0].error, answer.partitions[0].high_watermark) == (None, 1)
        answer = await cluster.fetch(2, cluster.query(1))
        told = answer.partitions[0]
        assert told.error is OffsetNotAvailableError
        assert (told.high_watermark, told.last_stable_offset, told.log_start_offset) == (-1, -1, 0)
        offsets = OffsetsQuery(-1, IsolationLevel.READ_UNCOMMITTED, [OffsetTarget(TOPIC, 0, -1, OffsetSpec.LATEST)])
        listed = await cluster.in_lane(2, cluster.brokers[2].replicas.list_offsets(offsets))
        assert listed[0].error is OffsetNotAvailableError
        waiting = asyncio.create_task(cluster.fetch(2, cluster.query(1, max_wait_ms=30_000)))
        await asyncio.sleep(1)
        cluster.world.heal()
        answer = await waiting
        assert (answer.partitions[0].error, answer.partitions[0].high_watermark) == (None, 5)

    play(story)


def test_kip_320_and_kafka_13837_14078_epochs_first_then_membership() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.controller.change(leader=1)
        await cluster.until(lambda: cluster.replica(1).state.leader_epoch == 1)
        table = [
            (3, 0, FencedLeaderEpochError),
            (3, 2, UnknownLeaderEpochError),
            (3, 1, None),
            (9, 0, FencedLeaderEpochError),  # no replica, and in an old epoch: the epoch is what it hears of
            (9, 1, UnknownLeaderEpochError),
            (9, -1, NotLeaderOrFollowerError),
            (-1, 0, FencedLeaderEpochError),
            (-1, 2, UnknownLeaderEpochError),
            (-1, 1, None),
        ]
        for replica_id, epoch, error in table:
            query = cluster.query(0)
            target = query.partitions[0]._replace(current_leader_epoch=epoch)
            epoch_of_broker = cluster.controller.image.brokers[3].epoch if replica_id >= 0 else -1
            query = query._replace(replica_id=replica_id, replica_epoch=epoch_of_broker, partitions=[target])
            answer = await cluster.fetch(1, query)
            assert answer.partitions[0].error is error, (replica_id, epoch)

    play(story)


def test_kip_903_a_fetch_of_a_former_life_moves_nothing() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=4)
        cluster.world.isolate("n3")
        query = cluster.query(2, replica_id=3, replica_epoch=cluster.controller.image.brokers[3].epoch - 1)
        answer = await cluster.fetch(1, query)
        assert answer.partitions[0].error is NotLeaderOrFollowerError
        leadership = cluster.replica(1).leadership
        assert leadership is not None and leadership.followers[3].end_offset == 4

    play(story)


def test_kafka_14704_a_diverging_reader_is_told_no_watermark_and_counts_for_nothing() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=4)
        cluster.controller.change(leader=1)
        await cluster.until(lambda: cluster.replica(1).state.leader_epoch == 1)
        await cluster.produce(1)
        cluster.world.isolate("n3")
        await cluster.produce(1, timeout_ms=200)  # which it does not get
        for offset in (6, 9):  # as far as the leader's log goes, and further
            query = cluster.query(offset, replica_id=3, replica_epoch=cluster.controller.image.brokers[3].epoch)
            diverged = query.partitions[0]._replace(last_fetched_epoch=0, current_leader_epoch=1)
            answer = await cluster.fetch(1, query._replace(partitions=[diverged]))
            assert answer.partitions[0].diverging == (0, 4)
            assert (answer.partitions[0].high_watermark, len(answer.partitions[0].slices)) == (-1, 0)
            leadership = cluster.replica(1).leadership
            assert leadership is not None and leadership.followers[3].end_offset == 5

    play(story)


def test_what_cannot_be_cut_for_damage_is_looked_into() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=4)
        cluster.world.partition(["n1"], ["n2"], ["n3"])
        for _ in range(8):
            await cluster.produce(1, acks=1, count=3)  # epoch 0, only on 1
        log = cluster.replica(1).log
        end_offset = log.end_offset
        suspected: list[tuple[Log, int | None]] = []
        cluster.brokers[1].replicas.on_suspicion = lambda *who: suspected.append(who)
        log.segments[-1].close()  # what it remembers of the newest batches
        cluster.world.device("n1").file(log.segments[-1].files.log).write(8, b"\0\0\0\0")
        cluster.controller.change(leader=2)
        await cluster.until(lambda: cluster.replica(2).is_leader)
        cluster.world.heal()
        await cluster.until(lambda: bool(suspected))
        assert suspected[0] == (log, None)
        assert log.end_offset == end_offset  # not half a cut

    play(story)


def test_what_cannot_be_cut_for_lack_of_a_descriptor_is_not_taken_for_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=4)
        replicas, partition = cluster.brokers[3].replicas, cluster.replica(3)
        await cluster.until(lambda: partition.log.end_offset == 4)
        suspected: list[tuple[Log, int | None]] = []
        replicas.on_suspicion = lambda *who: suspected.append(who)

        def fails(end_offset: int, *, at_once: bool = False) -> None:
            with partition.log.reading("truncating"):
                raise OSError(errno.EMFILE, "planted")

        monkeypatch.setattr(partition.log, "truncate", fails)
        with pytest.raises(KafkaStorageError):
            truncate(partition, Diverging(0, 2))
        assert not suspected and not partition.is_offline
        partition.log.note_damage([Damage(3, 4, 100, 200, "planted")])
        with pytest.raises(KafkaStorageError):
            cut_damage(partition)
        assert partition.log.end_offset == 4  # what is before the damaged segment may be whole

    play(story)


def test_kafka_18723_a_batch_of_a_later_epoch_is_not_appended() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1)
        cluster.world.isolate("n3")
        follower = cluster.replica(3)
        later = encode_batch([Record(0, 1, None, b"x", ())], base_offset=1, leader_epoch=4)
        assert not replicate(follower, bytes(later), leader_epoch=0)
        broken = encode_batch([Record(0, 1, None, b"x", ())], base_offset=1, leader_epoch=0)
        broken[-1] ^= 1
        with pytest.raises(CorruptRecordError):
            replicate(follower, bytes(broken), leader_epoch=0)
        assert follower.log.end_offset == 1

    play(story)


def test_kip_279_fast_double_failover_among_brokers() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=2)
        cluster.world.partition(["n1"], ["n2"], ["n3"])
        await cluster.produce(1, acks=1, count=3)  # epoch 0, only on 1
        cluster.controller.change(leader=2)
        await cluster.until(lambda: cluster.replica(2).is_leader)
        await cluster.produce(2, acks=1, count=1)  # epoch 1, only on 2
        cluster.controller.change(leader=1)
        await cluster.until(lambda: cluster.replica(1).is_leader and not cluster.replica(2).is_leader)
        await cluster.produce(1, acks=1, count=1)  # epoch 2, only on 1
        cluster.controller.change(leader=3)
        await cluster.until(lambda: cluster.replica(3).is_leader and not cluster.replica(1).is_leader)
        cluster.world.heal()
        assert (await cluster.produce(3)).error is None
        await cluster.until(lambda: cluster.same_logs(1, 2, 3))
        assert len(cluster.log(1)) == 3

    play(story)


# --- fetchers ---


def test_a_broken_connection_is_reported_at_once() -> None:
    async def story(cluster: Cluster) -> None:
        epoch = cluster.controller.image.brokers[1].epoch
        await asyncio.sleep(1)
        cluster.crash(1)
        await asyncio.sleep(0.1)
        assert (1, epoch) in cluster.controller.unreachable

    play(story)


def test_a_new_partition_does_not_wait_for_a_parked_fetch() -> None:
    async def story(cluster: Cluster) -> None:
        await asyncio.sleep(2)
        topic_id = cluster.controller.image.topic_ids[TOPIC]
        loop = asyncio.get_running_loop()
        for index in range(1, 10):
            await asyncio.sleep(0.0173 * index)
            cluster.controller.commit(PartitionRecord(topic_id, index, (1, 2, 3), (1, 2, 3), 1, 0, 0))
            await cluster.until(lambda index=index: len(cluster.brokers[1].replicas.describe()) > index)  # type: ignore[misc]
            began = loop.time()
            assert (await cluster.produce(1, index)).error is None
            assert loop.time() - began < 0.15

    play(story)


def test_a_follower_that_asked_a_new_leader_too_early_does_not_wait_for_a_parked_fetch() -> None:
    async def story(cluster: Cluster) -> None:
        topic_id = cluster.controller.image.topic_ids[TOPIC]
        cluster.controller.commit(PartitionRecord(topic_id, 1, (2, 3, 1), (1, 2, 3), 2, 0, 0))
        await asyncio.sleep(2)
        cluster.metadata_delay_ms[2] = 40  # the next leader learns of it after its followers
        cluster.controller.change(leader=2, isr=(2, 3))
        await asyncio.sleep(0.06)
        began = asyncio.get_running_loop().time()
        assert (await cluster.produce(2)).error is None
        assert asyncio.get_running_loop().time() - began < 0.15

    play(story)


def test_idle_partitions_cost_no_requests_but_the_long_poll() -> None:
    async def story(cluster: Cluster) -> None:
        topic_id = cluster.controller.image.topic_ids[TOPIC]
        records = [PartitionRecord(topic_id, index, (1, 2, 3), (1, 2, 3), 1, 0, 0) for index in range(1, 200)]
        cluster.controller.commit(*records)
        await cluster.until(lambda: all(len(cluster.brokers[node].replicas.describe()) == 200 for node in (1, 2, 3)))
        await cluster.produce(1, 77)
        await asyncio.sleep(2)
        reads: list[int] = []
        for node in (1, 2, 3):
            _count_reads(cluster.replica(node, 78), reads)
        await asyncio.sleep(10)
        assert not reads, "a partition that does not move is not looked at"
        assert cluster.in_sync(1, 2, 3, partition=78)

    play(story)


def _count_reads(partition: Partition, reads: list[int]) -> None:
    read = partition.read

    def counted(*arguments: Any) -> FetchedPartition:
        reads.append(1)
        return read(*arguments)

    partition.read = counted  # type: ignore[method-assign, assignment]


def test_a_new_replica_of_a_topic_that_was_compacted_once_takes_its_gaps() -> None:
    """Whatever the policy is by now; and what it has taken it still has after a power failure."""

    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=3)
        for node in (2, 3):
            cluster.crash(node)
            cluster.controller.fence(node)
        log = cluster.replica(1).log
        plain = log.config
        log.reconfigure(replace(plain, cleanup_policy="compact"))
        for _ in range(3):
            gap = encode_batch([Record(0, 1_000, b"k", b"v", ())], base_offset=log.end_offset + 7, leader_epoch=0)
            log.append_replicated(gap, leader_epoch=0, wall_ms=1_000)
        log.reconfigure(plain)  # it deletes from now on, and has gaps
        cluster.world.wipe("n2")
        make_data_directory(cluster.world, "n2")
        await cluster.start(2, 3)  # one begins anew, the other goes on where it was
        await cluster.until(lambda: cluster.in_sync(1, 2, 3) and cluster.same_logs(1, 2, 3))
        for node in (2, 3):
            copy = cluster.replica(node).log
            assert copy.may_have_gaps and not copy.config.compacted
            before = cluster.log(node)
            cluster.crash(node, power=True)
            cluster.controller.fence(node)
            await cluster.start(node)
            await cluster.until(lambda: cluster.in_sync(1, 2, 3))
            assert cluster.log(node) == before
        assert [record.offset for record in cluster.log(2)] == [0, 1, 2, 10, 18, 26]

    play(story)


def test_a_gap_that_the_leader_does_not_vouch_for_is_damage() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=3)
        follower = cluster.replica(2)
        gap = encode_batch([Record(0, 1_000, b"k", b"v", ())], base_offset=10, leader_epoch=0)
        with pytest.raises(InvalidRecordError, match="expected 3"):
            replicate(follower, gap, 0)
        assert replicate(follower, gap, 0, may_have_gaps=True)
        assert follower.log.end_offset == 11

    play(story)
