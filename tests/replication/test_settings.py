"""Settings that change while partitions are led."""

import asyncio

from broker.metadata.records import BrokerChangeRecord, ConfigRecord, PartitionChangeRecord, topic_resource
from kraftpy.errors import NotLeaderOrFollowerError, RequestTimedOutError
from tests.replication.cluster import TOPIC, Cluster, play


def test_a_smaller_in_sync_set_never_counts_by_the_old_min_insync_replicas() -> None:
    """Both may come in one image: to who was behind, and to who reads a snapshot."""

    async def story(cluster: Cluster) -> None:
        controller = cluster.controller
        controller.configure(topic_resource(TOPIC), "min.insync.replicas", "1")
        await cluster.until(lambda: cluster.in_sync(1, 2, 3))
        leader = cluster.leader()
        others = sorted({1, 2, 3} - {leader})
        for other in others:
            cluster.crash(other)
        waiting = asyncio.ensure_future(cluster.produce(leader, timeout_ms=2_000))
        await asyncio.sleep(0.5)
        committed = cluster.replica(leader).high_watermark
        controller.commit(
            ConfigRecord(topic_resource(TOPIC), "min.insync.replicas", "2"),
            *[BrokerChangeRecord(other, controller.image.brokers[other].epoch, fenced=True) for other in others],
            PartitionChangeRecord(controller.image.topic_ids[TOPIC], 0, isr=(leader,)),
        )
        assert isinstance((await waiting).error, RequestTimedOutError)
        assert cluster.replica(leader).high_watermark == committed

    play(story)


def test_a_leadership_that_is_over_never_counts_by_a_smaller_min_insync_replicas() -> None:
    """The same the other way round: who is deposed in the image that lowers the minimum has acknowledged nothing."""

    async def story(cluster: Cluster) -> None:
        controller = cluster.controller
        controller.configure(topic_resource(TOPIC), "min.insync.replicas", "2")
        await cluster.until(lambda: cluster.in_sync(1, 2, 3))
        former = cluster.leader()
        others = sorted({1, 2, 3} - {former})
        await asyncio.sleep(0.1)
        for other in others:
            cluster.crash(other)
        waiting = asyncio.ensure_future(cluster.produce(former, timeout_ms=5_000))
        await asyncio.sleep(0.5)
        committed = cluster.replica(former).high_watermark
        topic_id = controller.image.topic_ids[TOPIC]
        controller.commit(
            *[BrokerChangeRecord(other, controller.image.brokers[other].epoch, fenced=True) for other in others],
            PartitionChangeRecord(topic_id, 0, isr=(former,)),
        )
        await asyncio.sleep(0.1)
        assert not waiting.done()
        controller.commit(
            ConfigRecord(topic_resource(TOPIC), "min.insync.replicas", "1"),
            PartitionChangeRecord(topic_id, 0, isr=(others[0],), leader=others[0]),
        )
        assert isinstance((await waiting).error, NotLeaderOrFollowerError)
        assert cluster.replica(former).high_watermark == committed

    play(story)


def test_a_smaller_min_insync_replicas_lets_go_what_it_held_back() -> None:
    async def story(cluster: Cluster) -> None:
        controller = cluster.controller
        controller.configure(topic_resource(TOPIC), "min.insync.replicas", "2")
        leader = cluster.leader()
        others = sorted({1, 2, 3} - {leader})
        await asyncio.sleep(0.1)
        for other in others:
            cluster.crash(other)
        waiting = asyncio.ensure_future(cluster.produce(leader, timeout_ms=5_000))
        await asyncio.sleep(0.5)
        controller.commit(
            *[BrokerChangeRecord(other, controller.image.brokers[other].epoch, fenced=True) for other in others],
            PartitionChangeRecord(controller.image.topic_ids[TOPIC], 0, isr=(leader,)),
        )
        await asyncio.sleep(0.1)
        assert not waiting.done()
        controller.configure(topic_resource(TOPIC), "min.insync.replicas", "1")
        assert (await waiting).error is None

    play(story)
