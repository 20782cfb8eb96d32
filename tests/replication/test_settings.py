"""Settings that change while partitions are led."""

import asyncio

from broker.metadata.records import (
    BrokerChangeRecord,
    ConfigRecord,
    MetadataRecord,
    PartitionChangeRecord,
    topic_resource,
)
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
