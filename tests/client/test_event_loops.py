"""An asyncio client belongs to one event loop, and says so on another."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kraftpy.aio import Admin, Consumer, Producer
from kraftpy.client.async_producer import DeliveryFuture
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


@pytest.mark.parametrize(
    "call",
    [
        lambda admin: admin.list_topics(),
        lambda admin: admin.describe_group("g"),
        lambda admin: admin.describe_quorum(),
        lambda admin: admin.__aenter__(),
        lambda admin: admin.close(),
    ],
)
def test_an_admin(call: Callable[[Admin], Awaitable[Any]]) -> None:
    cluster = lines()
    admin = Admin(cluster.bootstrap, _transport=cluster)

    async def first() -> None:
        assert len(await admin.list_topics()) == 1

    async def second() -> None:
        with pytest.raises(ConcurrentUseError, match=r"asyncio\.run"):
            await in_time(call(admin))

    asyncio.run(first())
    asyncio.run(second())


async def awaited(delivery: DeliveryFuture) -> Any:
    return await delivery


@pytest.mark.parametrize(
    "wait",
    [
        awaited,
        lambda delivery: asyncio.gather(delivery),
        lambda delivery: asyncio.wait([delivery]),
    ],
)
def test_a_delivery_that_is_under_way(wait: Callable[[DeliveryFuture], Awaitable[Any]]) -> None:
    cluster = lines()
    producer = Producer(cluster.bootstrap, _transport=cluster)
    deliveries: list[DeliveryFuture] = []

    async def first() -> None:
        deliveries.append(await producer.send("lines", b"x"))
        await deliveries[0]
        cluster.silent.update({1, 2, 3})
        deliveries.append(await producer.send("lines", b"y"))

    async def second() -> None:
        assert (await deliveries[0]).offset == 0
        with pytest.raises(ConcurrentUseError, match=r"asyncio\.run"):
            await in_time(wait(deliveries[1]))

    asyncio.run(first())
    asyncio.run(second())
