"""`flush.messages` above 1: appends count before they are flushed, and everything else goes on as it does without."""

import asyncio

from log_store.config import LogConfig
from tests.replication.cluster import Cluster, play


def test_a_leader_flushes_after_so_many_records() -> None:
    async def story(cluster: Cluster) -> None:
        for _ in range(10):
            assert (await cluster.produce(1)).error is None
        log = cluster.replica(1).log
        await cluster.until(lambda: log.end_offset - log.recovery_point < 3, within_ms=1_000)

    play(story, log_config=LogConfig(flush_messages=3))


def test_a_follower_that_stands_still_after_a_rest_leaves_after_its_time() -> None:
    async def story(cluster: Cluster) -> None:
        assert (await cluster.produce(1)).error is None
        leader = cluster.brokers[1].replicas
        await cluster.until(lambda: cluster.replica(1) not in leader._moving)
        cluster.world.pause("n3")
        waiting = asyncio.create_task(cluster.produce(1, timeout_ms=60_000))
        await cluster.until(lambda: cluster.in_sync(1, 2), within_ms=16_000)
        assert (await waiting).error is None
        cluster.world.resume("n3")
        await cluster.until(lambda: cluster.in_sync(1, 2, 3))

    play(story, log_config=LogConfig(flush_messages=1_000))


def test_flush_ms_is_kept_also_where_the_clock_is_set_back() -> None:
    async def story(cluster: Cluster) -> None:
        assert (await cluster.produce(1)).error is None
        log = cluster.replica(1).log
        await asyncio.sleep(2)
        assert (await cluster.produce(1)).error is None
        await asyncio.sleep(1)  # somebody has looked, and it does not wait for long yet
        cluster.world.jump_clock("n1", -3_600_000)
        await cluster.until(lambda: log.recovery_point == log.end_offset, within_ms=5_000)

    play(story, log_config=LogConfig(flush_messages=1_000, flush_interval_ms=3_000))
