"""What becomes of a transaction, and of tasks that wait for a coordinator, when their client is closed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kraftpy.client.values import TopicPartition
from kraftpy.errors import ClosedError
from kraftpy.runtime.ports import Unreachable
from tests.client.fake_broker import FakeCluster
from tests.client.support import admin, consumer, producer, run
from tests.client.test_transactions import commit_in_vain, commit_unanswered, stage, writer

AT_ONCE_S = 0.1

Make = Callable[[FakeCluster], Any]
Call = Callable[[Any], Awaitable[Any]]

CALLS: list[tuple[Make, Call]] = [
    (
        lambda cluster: consumer(cluster, group_id="g"),
        lambda client: client.committed([TopicPartition("lines", 0)]),
    ),
    (
        lambda cluster: producer(cluster, transactional_id="t"),
        lambda client: client.begin_transaction(),
    ),
    (admin, lambda client: client.describe_group("g")),
]
EACH = pytest.mark.parametrize(("make", "call"), CALLS, ids=["consumer", "producer", "admin"])


async def closed_under(client: Any, waiting: "asyncio.Task[Any]") -> None:
    """Whoever waits hears of it at once, and is not cancelled."""
    assert not waiting.done()
    closing = asyncio.ensure_future(client.close())
    with pytest.raises(ClosedError):
        async with asyncio.timeout(AT_ONCE_S):
            await waiting
    await closing


@EACH
def test_who_waits_for_the_lookup_of_a_coordinator_is_told(make: Make, call: Call) -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.create("lines")
        cluster.silent |= {1, 2, 3}
        client = make(cluster)
        waiting = asyncio.ensure_future(call(client))
        await asyncio.sleep(0.5)
        await closed_under(client, waiting)
        assert waiting.cancelling() == 0

    run(story)


@EACH
def test_who_pauses_between_two_lookups_asks_no_more(make: Make, call: Call) -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.create("lines")
        refused = asyncio.Event()

        async def refuse(node_id: int, data: bytes) -> bytes:
            refused.set()
            raise Unreachable(f"node {node_id} refuses")

        cluster._FindCoordinator = refuse  # type: ignore[attr-defined]
        client = make(cluster)
        waiting = asyncio.ensure_future(call(client))
        await refused.wait()
        await asyncio.sleep(0.05)
        asked = len(cluster.requests)
        await closed_under(client, waiting)
        assert len(cluster.requests) == asked

    run(story)


def test_a_commit_that_nobody_answers_ends_soon_after_its_producer_is_closed() -> None:
    async def story() -> None:
        cluster, groups, _ = await stage()
        sender = writer(cluster)
        await sender.begin_transaction()
        await (await sender.send("lines", b"a", partition=0))
        cluster.down |= {1, 2, 3}
        committing = asyncio.ensure_future(sender.commit_transaction())
        await asyncio.sleep(0.5)
        await sender.close(1)
        with pytest.raises(ClosedError):
            async with asyncio.timeout(2):
                await committing
        groups.stop()

    run(story)


def test_closing_asks_again_for_a_commit_that_was_cancelled() -> None:
    async def story() -> None:
        cluster, groups, transactions = await stage()
        async with writer(cluster) as sender:
            await commit_in_vain(sender, transactions)
        assert not transactions.by_id["t"].is_open and transactions.committed("lines") == [b"a"]
        groups.stop()

    run(story)


def test_closing_asks_again_for_a_commit_without_an_answer() -> None:
    async def story() -> None:
        cluster, groups, transactions = await stage()
        async with writer(cluster, max_block_ms=2_000) as sender:
            await commit_unanswered(sender, transactions)
        assert not transactions.by_id["t"].is_open and transactions.committed("lines") == [b"a"]
        groups.stop()

    run(story)


def test_closing_waits_for_a_commit_that_is_under_way(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        cluster, groups, transactions = await stage()
        sender = writer(cluster)
        await sender.begin_transaction()
        await sender.send("lines", b"a", partition=0)
        await sender.flush()
        cluster.latency_s = lambda: 1.0
        committing = asyncio.ensure_future(sender.commit_transaction())
        await asyncio.sleep(0.5)
        await sender.close()
        assert committing.done()
        await committing
        assert transactions.committed("lines") == [b"a"] and transactions.calls.count("EndTransaction") == 1
        groups.stop()

    run(story)
    assert "left open" not in caplog.text


def test_closing_takes_no_longer_than_it_is_given() -> None:
    async def story() -> None:
        cluster, groups, _ = await stage()
        sender = writer(cluster)
        await sender.begin_transaction()
        await (await sender.send("lines", b"a", partition=0))
        cluster.silent |= {1, 2, 3}
        delivery = await sender.send("lines", b"b", partition=0)
        await asyncio.sleep(0.01)  # it is under way
        async with asyncio.timeout(5.1):
            await sender.close(5)
        with pytest.raises(ClosedError):
            await delivery
        groups.stop()

    run(story)


def test_closing_says_that_it_had_no_time_to_end_a_transaction(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        cluster, groups, _ = await stage()
        sender = writer(cluster)
        await sender.begin_transaction()
        await (await sender.send("lines", b"a", partition=0))
        cluster.silent |= {1, 2, 3}
        await sender.close(2)
        groups.stop()

    run(story)
    assert "a transaction was left open: its coordinator did not end it within 2000 ms" in caplog.text
