"""`flush.messages` above 1: appends count before they are flushed, and everything else goes on as it does without."""

import asyncio
from dataclasses import replace

import pytest

from broker.metadata.records import DEFAULT_BROKER, ConfigResource, broker_resource, topic_resource
from log_store.config import LogConfig
from tests.replication.cluster import TOPIC, Cluster, play

RELAXED = LogConfig(flush_messages=1_000)


def unflushed(cluster: Cluster) -> list[int]:
    """How many records each broker has not flushed."""
    logs = [cluster.replica(node).log for node in (1, 2, 3)]
    return [log.end_offset - log.recovery_point for log in logs]


async def acknowledge(cluster: Cluster, count: int) -> None:
    for _ in range(count):
        assert (await cluster.produce(1)).error is None


def test_a_leader_flushes_after_so_many_records() -> None:
    async def story(cluster: Cluster) -> None:
        await acknowledge(cluster, 10)
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

    play(story, log_config=RELAXED)


def test_flush_ms_is_kept_also_where_the_clock_is_set_back() -> None:
    async def story(cluster: Cluster) -> None:
        assert (await cluster.produce(1)).error is None
        log = cluster.replica(1).log
        await asyncio.sleep(2)
        assert (await cluster.produce(1)).error is None
        await asyncio.sleep(1)  # somebody has looked, and it does not wait for long yet
        cluster.world.jump_clock("n1", -3_600_000)
        await cluster.until(lambda: log.recovery_point == log.end_offset, within_ms=5_000)

    play(story, log_config=replace(RELAXED, flush_interval_ms=3_000))


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        (topic_resource(TOPIC), "flush.messages"),
        (DEFAULT_BROKER, "log.flush.interval.messages"),
        (broker_resource(1), "log.flush.interval.messages"),
    ],
)
def test_what_counted_before_flush_messages_was_lowered_is_flushed(resource: ConfigResource, name: str) -> None:
    """By the new setting, nothing that was acknowledged is lost with the power."""

    async def story(cluster: Cluster) -> None:
        await acknowledge(cluster, 20)
        await asyncio.sleep(1)
        before = unflushed(cluster)
        assert min(before) > 10
        cluster.log_config = replace(RELAXED, flush_messages=1)
        cluster.controller.configure(resource, name, "1")
        await asyncio.sleep(1)
        assert unflushed(cluster) == ([0, *before[1:]] if resource == broker_resource(1) else [0, 0, 0])

    play(story, log_config=RELAXED)


def test_nothing_that_was_acknowledged_before_flush_messages_was_lowered_is_lost_with_the_power() -> None:
    async def story(cluster: Cluster) -> None:
        await acknowledge(cluster, 20)
        await asyncio.sleep(1)
        cluster.log_config = replace(RELAXED, flush_messages=1)
        cluster.controller.configure(topic_resource(TOPIC), "flush.messages", "1")
        await asyncio.sleep(1)
        for node in (1, 2, 3):
            cluster.crash(node, power=True)
        await cluster.start(1, 2, 3)
        assert [cluster.replica(node).log.end_offset for node in (1, 2, 3)] == [20, 20, 20]

    play(story, log_config=RELAXED)


@pytest.mark.parametrize(
    ("lowered", "is_flushed"),
    [
        (replace(RELAXED, flush_messages=10), True),
        (replace(RELAXED, flush_messages=100), False),
        (replace(RELAXED, flush_interval_ms=2_000), True),
    ],
)
def test_a_lower_limit_holds_for_what_waits_already(lowered: LogConfig, is_flushed: bool) -> None:
    async def story(cluster: Cluster) -> None:
        await acknowledge(cluster, 20)
        await asyncio.sleep(5)
        cluster.log_config = lowered
        cluster.controller.configure(topic_resource(TOPIC), "flush.messages", str(lowered.flush_messages))
        await asyncio.sleep(2)
        assert (max(unflushed(cluster)) == 0) == is_flushed

    play(story, log_config=RELAXED)
