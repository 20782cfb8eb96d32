"""A leader that no controller hears: whether others may have a successor by now, and what it tells those who read."""

import asyncio

from broker.replication.fetch_types import IsolationLevel
from kraftpy.errors import NotLeaderOrFollowerError
from tests.replication.cluster import Cluster, play
from tests.replication.test_transactions import COMMITTED, open_gate, records, write


def unheard(cluster: Cluster, node_id: int, is_unheard: bool = True) -> None:
    cluster.brokers[node_id].replicas.is_unheard = lambda: is_unheard


def test_consumers_who_wait_are_sent_away_once_nobody_follows() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1)
        unheard(cluster, 1)
        cluster.world.isolate("n1")
        waiting = asyncio.create_task(cluster.fetch(1, cluster.query(1, max_wait_ms=60_000)))
        await asyncio.sleep(1)
        assert not waiting.done()
        async with asyncio.timeout(5):
            (told,) = (await waiting).partitions
        assert (told.error, told.leader) == (NotLeaderOrFollowerError, None)
        (again,) = (await cluster.fetch(1, cluster.query(1, max_wait_ms=60_000))).partitions
        assert again.error is NotLeaderOrFollowerError, "whoever comes later is told at once"
        (held,) = (await cluster.fetch(1, cluster.query(0))).partitions
        assert (held.error, held.size_bytes > 0) == (None, True), "what is committed stays so"

    play(story)


def test_while_others_follow_they_have_no_other_leader() -> None:
    """As where the whole quorum is lost: what is led goes on, and idle followers are no silent ones."""

    async def story(cluster: Cluster) -> None:
        unheard(cluster, 1)
        await asyncio.sleep(20)
        waiting = asyncio.create_task(cluster.fetch(1, cluster.query(0, max_wait_ms=60_000)))
        await asyncio.sleep(20)
        assert not waiting.done()
        assert (await cluster.produce(1)).error is None
        assert (await waiting).partitions[0].size_bytes > 0

    play(story)


def test_one_that_is_heard_has_not_been_succeeded() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.world.isolate("n1")
        waiting = asyncio.create_task(cluster.fetch(1, cluster.query(0, max_wait_ms=60_000)))
        await asyncio.sleep(20)
        assert not waiting.done()
        waiting.cancel()

    play(story)


def test_one_that_is_alone_in_the_set_has_no_successor() -> None:
    async def story(cluster: Cluster) -> None:
        for member in (2, 3):
            cluster.controller.fence(member)
            cluster.crash(member)
        await cluster.until(lambda: cluster.in_sync(1))
        unheard(cluster, 1)
        await asyncio.sleep(20)
        (told,) = (await cluster.fetch(1, cluster.query(0))).partitions
        assert told.error is None

    play(story)


def test_it_serves_again_when_it_is_heard_or_followed() -> None:
    async def story(cluster: Cluster) -> None:
        for is_heard in (True, False):
            unheard(cluster, 1)
            cluster.world.isolate("n1")
            await asyncio.sleep(10)
            assert (await cluster.fetch(1, cluster.query(0))).partitions[0].error is NotLeaderOrFollowerError
            if is_heard:
                unheard(cluster, 1, False)
            else:
                cluster.world.heal()
            await asyncio.sleep(10)
            assert (await cluster.fetch(1, cluster.query(0))).partitions[0].error is None
            cluster.world.heal()
            await asyncio.sleep(5)

    play(story)


def test_who_waits_for_the_end_of_a_transaction_is_sent_away_too() -> None:
    """What it may read ends below what is committed, and the marker goes to the successor."""

    async def story(cluster: Cluster) -> None:
        open_gate(cluster)
        assert (await write(cluster, records(cluster, 0))).error is None
        await cluster.until(lambda: cluster.replica(1).high_watermark == 1)
        unheard(cluster, 1)
        cluster.world.isolate("n1")
        await asyncio.sleep(10)
        for isolation, error in ((COMMITTED, NotLeaderOrFollowerError), (IsolationLevel.READ_UNCOMMITTED, None)):
            (told,) = (await cluster.fetch(1, cluster.query(0, isolation_level=isolation))).partitions
            assert told.error is error

    play(story)
