"""Members of a group, for tests on virtual time."""

import asyncio
from collections.abc import Callable
from typing import Any

from kraftpy.aio import Consumer
from tests.client.fake_broker import FakeCluster
from tests.client.fake_groups import FakeGroups
from tests.client.support import consumer, producer

COOPERATIVE = {"assignors": "cooperative-sticky"}


async def cluster_with(**topics: int) -> tuple[FakeCluster, FakeGroups]:
    cluster = FakeCluster(3)
    for name, partitions in topics.items():
        cluster.create(name, partitions)
    groups = FakeGroups(cluster)
    await asyncio.sleep(0.1)
    return cluster, groups


def member(cluster: FakeCluster, *topics: str, **settings: Any) -> Consumer:
    settings.setdefault("group_id", "g")
    return consumer(cluster, *topics, **settings)


async def fill(cluster: FakeCluster, topic: str, count: int) -> None:
    async with producer(cluster) as sender:
        for number in range(count):
            await sender.send(topic, b"%d" % number, partition=number % len(cluster.topics[topic]))


async def settle(*members: Consumer, until: Callable[[], bool] | None = None, turns: int = 200) -> list[Any]:
    """Let all poll in turn until they agree."""
    records: list[Any] = []
    for _ in range(turns):
        for each in members:
            records += await each.poll(timeout=0.1)
        if until is not None and until():
            break
    return records


def shares(*members: Consumer) -> list[list[int]]:
    return [sorted(place.partition for place in each.assignment()) for each in members]
