"""Brokers against each other, on virtual time: what is appended is copied, committed, kept over failovers."""

import asyncio

from kraftpy.errors import NotLeaderOrFollowerError
from tests.replication.cluster import Cluster, play


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
