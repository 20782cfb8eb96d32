"""Settings that change while partitions are led."""

import asyncio
from collections.abc import Iterable, Sequence

import pytest

from broker.metadata.delta import PartitionDelta
from broker.metadata.records import (
    BrokerChangeRecord,
    ConfigRecord,
    MetadataRecord,
    PartitionChangeRecord,
    PartitionRecord,
    topic_resource,
)
from broker.replication import assignments
from broker.replication.isr import InSyncAnswer
from broker.replication.partition import Partition
from broker.replication.producing import Produced
from kraftpy.errors import NotLeaderOrFollowerError, RequestTimedOutError
from tests.replication.cluster import TOPIC, Cluster, play

MIN_ISR = "min.insync.replicas"


async def left_alone(cluster: Cluster, timeout_ms: int) -> tuple[int, list[int], "asyncio.Future[Produced]"]:
    """The leader, the others, which die, and a record that waits for them."""
    await cluster.until(lambda: cluster.in_sync(1, 2, 3))
    await asyncio.sleep(0.1)
    leader = cluster.leader()
    others = sorted({1, 2, 3} - {leader})
    for other in others:
        cluster.crash(other)
    waiting = asyncio.ensure_future(cluster.produce(leader, timeout_ms=timeout_ms))
    await asyncio.sleep(0.5)
    return leader, others, waiting


def without(cluster: Cluster, others: list[int]) -> list[MetadataRecord]:
    """They are fenced, and the in-sync set is the leader alone."""
    image = cluster.controller.image
    return [
        *[BrokerChangeRecord(other, image.brokers[other].epoch, fenced=True) for other in others],
        PartitionChangeRecord(image.topic_ids[TOPIC], 0, isr=(cluster.leader(),)),
    ]


def test_a_smaller_in_sync_set_never_counts_by_the_old_min_insync_replicas() -> None:
    """Both may come in one image: to who was behind, and to who reads a snapshot."""

    async def story(cluster: Cluster) -> None:
        cluster.controller.configure(topic_resource(TOPIC), MIN_ISR, "1")
        leader, others, waiting = await left_alone(cluster, 2_000)
        committed = cluster.replica(leader).high_watermark
        cluster.controller.commit(ConfigRecord(topic_resource(TOPIC), MIN_ISR, "2"), *without(cluster, others))
        assert isinstance((await waiting).error, RequestTimedOutError)
        assert cluster.replica(leader).high_watermark == committed

    play(story)


def test_a_leadership_that_is_over_never_counts_by_a_smaller_min_insync_replicas() -> None:
    """The same the other way round: who is deposed in the image that lowers the minimum has acknowledged nothing."""

    async def story(cluster: Cluster) -> None:
        controller = cluster.controller
        controller.configure(topic_resource(TOPIC), MIN_ISR, "2")
        former, others, waiting = await left_alone(cluster, 5_000)
        committed = cluster.replica(former).high_watermark
        controller.commit(*without(cluster, others))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        controller.commit(
            ConfigRecord(topic_resource(TOPIC), MIN_ISR, "1"),
            PartitionChangeRecord(controller.image.topic_ids[TOPIC], 0, isr=(others[0],), leader=others[0]),
        )
        assert isinstance((await waiting).error, NotLeaderOrFollowerError)
        assert cluster.replica(former).high_watermark == committed

    play(story)


def test_a_smaller_min_insync_replicas_lets_go_what_it_held_back() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.controller.configure(topic_resource(TOPIC), MIN_ISR, "2")
        _, others, waiting = await left_alone(cluster, 5_000)
        cluster.controller.commit(*without(cluster, others))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        cluster.controller.configure(topic_resource(TOPIC), MIN_ISR, "1")
        assert (await waiting).error is None

    play(story)


def many_partitions(cluster: Cluster, leader: int) -> list[MetadataRecord]:
    """Which that broker has to make, one a turn."""
    cluster.metadata_delay_ms[leader] = 0
    topic_id = cluster.controller.image.topic_ids[TOPIC]
    return [PartitionRecord(topic_id, index, (1, 2, 3), (1, 2, 3), leader, 0, 0) for index in range(1, 30)]


def test_a_raised_min_insync_replicas_does_not_wait_behind_other_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to a shrink does not wait there either: the controller has judged by the new minimum who may lead."""
    monkeypatch.setattr(assignments, "CHANGES_PER_TURN", 1)

    async def story(cluster: Cluster) -> None:
        cluster.controller.configure(topic_resource(TOPIC), MIN_ISR, "1")
        leader, others, waiting = await left_alone(cluster, 2_000)
        brokers = cluster.controller.image.brokers
        cluster.controller.commit(*[BrokerChangeRecord(each, brokers[each].epoch, fenced=True) for each in others])
        await asyncio.sleep(0.1)
        partition = cluster.replica(leader)
        committed = partition.high_watermark
        assert partition.leadership is not None
        assert partition.leadership.shrink(partition.log.end_offset, partition.surroundings.now_ms() + 60_000, 1)
        proposal = partition.proposal(cluster.brokers[leader].epoch)
        assert proposal is not None and [member for member, _ in proposal.isr] == [leader]
        changes = cluster.brokers[leader].replicas._assignments
        take = changes.take
        was_behind: list[bool] = []

        def taken(deltas: Iterable[PartitionDelta], minimums: Sequence[tuple[Partition, int]] = ()) -> None:
            take(deltas, minimums)
            if minimums:
                was_behind.append(changes.is_behind())
                epochs = (proposal.leader_epoch, proposal.partition_epoch + 1)
                partition.answered(proposal, InSyncAnswer(None, leader, *epochs, (leader,)))

        monkeypatch.setattr(changes, "take", taken)
        cluster.controller.commit(*many_partitions(cluster, leader))
        cluster.controller.configure(topic_resource(TOPIC), MIN_ISR, "2")
        assert isinstance((await waiting).error, RequestTimedOutError)
        assert was_behind == [True]
        assert partition.high_watermark == committed

    play(story)


def test_a_min_insync_replicas_that_falls_and_rises_behind_other_changes_never_counts_by_the_smaller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(assignments, "CHANGES_PER_TURN", 1)

    async def story(cluster: Cluster) -> None:
        leader = cluster.leader()
        partition = cluster.replica(leader)
        minimums = [partition.min_isr]
        set_min_isr = partition.set_min_isr

        def noted(min_isr: int) -> None:
            set_min_isr(min_isr)
            minimums.append(min_isr)

        monkeypatch.setattr(partition, "set_min_isr", noted)
        cluster.controller.commit(*many_partitions(cluster, leader))
        cluster.controller.configure(topic_resource(TOPIC), MIN_ISR, "1")
        cluster.controller.configure(topic_resource(TOPIC), MIN_ISR, "3")
        await cluster.until(lambda: len(minimums) == 5)
        assert minimums == [2, 2, 3, 3, 3]

    play(story)
