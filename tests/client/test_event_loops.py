"""An asyncio client belongs to one event loop, and says so on another."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kraftpy.aio import Consumer, Producer
from kraftpy.errors import ConcurrentUseError
from tests.client.fake_broker import FakeCluster

IN_TIME_S = 5


def lines() -> FakeCluster:
    cluster = FakeCluster(3)
    cluster.create("lines", 1)
    return cluster


async def in_time(work: Awaitable[Any]) -> Any:
    async with asyncio.timeout(IN_TIME_S):
        return await work


@pytest.mark.parametrize(
    "call",
    [
        lambda producer: producer.send("lines", b"x"),
        lambda producer: producer.send("words", b"x"),
        lambda producer: producer.flush(),
        lambda producer: producer.partitions_for("lines"),
        lambda producer: producer.close(),
    ],
)
def test_a_producer(call: Callable[[Producer], Awaitable[Any]]) -> None:
    cluster = lines()
    producer = Producer(cluster.bootstrap, _transport=cluster)

    async def first() -> None:
        await (await producer.send("lines", b"x"))

    async def second() -> None:
        with pytest.raises(ConcurrentUseError, match=r"asyncio\.run"):
            await in_time(call(producer))

    asyncio.run(first())
    asyncio.run(second())


@pytest.mark.parametrize(
    "call",
    [
        lambda consumer: consumer.poll(60),
        lambda consumer: anext(consumer),
        lambda consumer: consumer.end_offsets([("lines", 0)]),
        lambda consumer: consumer.close(),
    ],
)
def test_a_consumer(call: Callable[[Consumer], Awaitable[Any]]) -> None:
    cluster = lines()
    consumer = Consumer("lines", bootstrap=cluster.bootstrap, _transport=cluster)

    async def second() -> None:
        with pytest.raises(ConcurrentUseError, match=r"asyncio\.run"):
            await in_time(call(consumer))

    asyncio.run(consumer.poll(0.1))
    assert consumer.subscription() == ["lines"]
    asyncio.run(second())
    assert consumer.paused() == []
