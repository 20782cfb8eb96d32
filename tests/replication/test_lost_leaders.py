"""Who waits for the next leader, and how long."""

import asyncio

from broker.replication.lost_leaders import PATIENCE_MS
from tests.replication.cluster import Cluster, play


def waited_ms(cluster: Cluster, broker_id: int) -> "asyncio.Task[int]":
    """How long an answer of that broker waits from now on."""

    broker = cluster.brokers[broker_id]

    async def wait() -> int:
        began_ms = broker.ports.clock.monotonic_ms()
        await broker.replicas.wait_leaders_known()
        return broker.ports.clock.monotonic_ms() - began_ms

    return cluster.in_lane(broker_id, wait())


def test_nobody_waits_while_all_leaders_answer() -> None:
    async def story(cluster: Cluster) -> None:
        await asyncio.sleep(1)
        assert await waited_ms(cluster, 2) == 0

    play(story)


def test_a_leader_that_is_gone_is_waited_for_until_another_leads() -> None:
    async def story(cluster: Cluster) -> None:
        await asyncio.sleep(1)
        cluster.crash(1)
        await asyncio.sleep(0.05)
        waiting = waited_ms(cluster, 2)
        await asyncio.sleep(0.1)
        assert not waiting.done()
        cluster.controller.fence(1)
        assert 100 <= await waiting < PATIENCE_MS - 50

    play(story)


def test_one_that_nobody_takes_the_place_of_delays_answers_only_for_a_while() -> None:
    async def story(cluster: Cluster) -> None:
        await asyncio.sleep(1)
        cluster.crash(1)
        await asyncio.sleep(0.05)
        assert PATIENCE_MS - 100 <= await waited_ms(cluster, 2) <= PATIENCE_MS
        await asyncio.sleep(5)
        assert await waited_ms(cluster, 2) == 0, "it is no news that it is still gone"

    play(story)
