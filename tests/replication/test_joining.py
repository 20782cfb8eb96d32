"""Who is taken into the in-sync set, and back: only a follower that fetches, or rests in a session that does."""

import asyncio

import pytest

from broker.replication.config import ReplicationConfig
from tests.replication.cluster import Cluster, play

LAG_MS = 1_000
QUICK = ReplicationConfig(replica_lag_time_max_ms=LAG_MS, fetch_wait_max_ms=200)


async def leave_two(cluster: Cluster) -> None:
    """Replicas on brokers 1 and 2 only, min.insync.replicas is 2, and there is a record."""
    cluster.controller.reassign(1, 2)
    await cluster.until(lambda: len(cluster.brokers[3].replicas.describe()) == 0)
    assert (await cluster.produce(1)).error is None


def cut(cluster: Cluster, one: int, other: int) -> None:
    """They hear nothing of each other, and the controller of both."""
    cluster.world.block(f"n{one}", f"n{other}")
    cluster.world.block(f"n{other}", f"n{one}")


def test_a_follower_that_fetches_no_more_leaves_once_and_is_not_taken_back() -> None:
    """It had all that is committed, and nothing more can be, so it had what it takes to come back, again and again."""

    async def story(cluster: Cluster) -> None:
        await leave_two(cluster)
        cut(cluster, 1, 2)
        waiting = asyncio.create_task(cluster.produce(1, timeout_ms=60_000))
        await cluster.until(lambda: cluster.in_sync(1), within_ms=2 * LAG_MS)
        before = len(cluster.controller.proposals)
        await asyncio.sleep(20 * LAG_MS / 1000)
        assert cluster.in_sync(1) and len(cluster.controller.proposals) == before
        cluster.world.heal()
        await cluster.until(lambda: cluster.in_sync(1, 2))
        assert (await waiting).error is None

    play(story, config=QUICK)


def test_a_new_replica_that_fetches_no_more_ends_no_reassignment() -> None:
    async def story(cluster: Cluster) -> None:
        await leave_two(cluster)
        cut(cluster, 1, 3)
        cluster.controller.reassign(1, 3)
        cluster.controller.fence(3)
        cluster.world.heal()
        leadership = cluster.replica(1).leadership
        assert leadership is not None
        await cluster.until(lambda: 3 in leadership.followers and leadership.followers[3].end_offset == 1)
        cut(cluster, 1, 3)
        await asyncio.sleep(3 * LAG_MS / 1000)
        cluster.controller.unfence(3)
        await asyncio.sleep(3 * LAG_MS / 1000)
        assert cluster.controller.state().adding_replicas == (3,) and cluster.in_sync(1, 2)
        cluster.world.heal()
        await cluster.until(lambda: cluster.controller.state().replicas == (1, 3))

    play(story, config=QUICK)


@pytest.mark.parametrize("sessions", [1_000, 1], ids=["a session for each", "one has none"])
@pytest.mark.parametrize("restarts", [False, True], ids=["lives on", "restarts"])
def test_a_follower_of_a_partition_at_rest_comes_back_after_it_was_fenced(sessions: int, restarts: bool) -> None:
    """Its session says nothing of what is at rest, so what is known of its last fetch may be very old."""

    async def story(cluster: Cluster) -> None:
        assert (await cluster.produce(1)).error is None
        for follower in (2, 3):
            await asyncio.sleep(5 * LAG_MS / 1000)
            if restarts:
                await cluster.stop(follower)
            cluster.controller.fence(follower)
            await asyncio.sleep(5 * LAG_MS / 1000)
            assert cluster.in_sync(*({1, 2, 3} - {follower}))
            if restarts:
                await cluster.start(follower)
            else:
                cluster.controller.unfence(follower)
            await cluster.until(lambda: cluster.in_sync(1, 2, 3), within_ms=LAG_MS // 2)

    play(
        story,
        config=ReplicationConfig(replica_lag_time_max_ms=LAG_MS, fetch_wait_max_ms=200, fetch_sessions_max=sessions),
    )
