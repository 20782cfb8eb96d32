"""DeleteRecords is answered when no replica in service shows the records any more (KIP-107)."""

import asyncio
from dataclasses import replace

import pytest

from kraftpy.errors import NotLeaderOrFollowerError, PolicyViolationError, RequestTimedOutError
from tests.replication.cluster import TOPIC, Cluster, play


def starts(cluster: Cluster, *node_ids: int) -> list[int]:
    return [cluster.replica(node_id).log.start_offset for node_id in node_ids]


def delete(cluster: Cluster, before_offset: int, timeout_ms: int = 10_000) -> asyncio.Task[int]:
    replicas = cluster.brokers[1].replicas
    return cluster.in_lane(1, replicas.delete_records(TOPIC, 0, before_offset, timeout_ms))


@pytest.mark.parametrize(("asked", "expected"), [(4, 4), (-1, 6)])
def test_it_is_answered_when_all_replicas_begin_there(asked: int, expected: int) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=6)
        assert await delete(cluster, asked) == expected
        assert starts(cluster, 1, 2, 3) == [expected] * 3

    play(story)


def test_it_does_not_wait_for_the_time_that_idle_fetches_take() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=6)
        await asyncio.sleep(2)
        began_us = cluster.world.loop.now_us
        await delete(cluster, 4)
        assert cluster.world.loop.now_us - began_us < 100_000

    play(story)


def test_the_next_leader_does_not_show_again_what_was_deleted() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=6)
        await delete(cluster, 4)
        cluster.crash(1)
        cluster.controller.fence(1)
        await cluster.until(lambda: cluster.leader() != 1)
        assert starts(cluster, cluster.leader()) == [4]

    play(story)


@pytest.mark.parametrize("power", [False, True])
def test_what_was_deleted_does_not_come_back_where_every_node_dies_right_after_the_answer(power: bool) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=3)
        await cluster.produce(1, count=3)
        await delete(cluster, 4)
        for node_id in (1, 2, 3):
            cluster.crash(node_id, power=power)
        await cluster.start(1, 2, 3)
        await cluster.until(lambda: all(cluster.brokers[node].replicas.describe() for node in (1, 2, 3)))
        assert starts(cluster, 1, 2, 3) == [4, 4, 4]

    play(story)


def test_a_replica_that_does_not_answer_is_waited_for_until_its_broker_is_fenced() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=6)
        cluster.crash(3)
        deleting = delete(cluster, 4)
        await asyncio.sleep(1)
        assert not deleting.done()
        assert starts(cluster, 1, 2) == [4, 4]
        cluster.controller.fence(3)
        assert await deleting == 4

    play(story)


def test_a_deletion_that_is_not_followed_in_time_says_so_and_has_happened() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=6)
        cluster.crash(3)
        with pytest.raises(RequestTimedOutError, match="begin at 4"):
            await delete(cluster, 4, timeout_ms=500)
        assert starts(cluster, 1) == [4]

    play(story)


def test_a_leader_that_is_one_no_longer_answers_so() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=6)
        cluster.crash(3)
        deleting = delete(cluster, 4)
        await asyncio.sleep(0.5)
        cluster.controller.change(leader=2)
        with pytest.raises(NotLeaderOrFollowerError):
            await deleting

    play(story)


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_a_topic_that_only_compacts_keeps_the_newest_record_of_each_key(policy: str) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=6)
        for node_id in (1, 2, 3):
            log = cluster.replica(node_id).log
            log.reconfigure(replace(log.config, cleanup_policy=policy))
        if policy == "compact":
            with pytest.raises(PolicyViolationError, match="to compact,delete first"):
                await delete(cluster, 4)
            cluster.controller.change(leader=2)
            await cluster.until(lambda: cluster.replica(2).is_leader)
            with pytest.raises(NotLeaderOrFollowerError):
                await delete(cluster, 4)
        else:
            await delete(cluster, 4)
        assert starts(cluster, 1, 2, 3) == [0 if policy == "compact" else 4] * 3

    play(story)
