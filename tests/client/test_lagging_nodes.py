"""What a consumer that follows a pattern makes of topics that come and go, or that one node has not heard of yet."""

import asyncio
from typing import Any

import pytest

from kraftpy.pb import client_pb2
from tests.client.fake_broker import FakeCluster
from tests.client.support import consumer, producer, run
from tests.client.test_consumer_faults import numbers, read
from tests.client.test_tutorial_consumer import filled


def lagging(cluster: FakeCluster) -> dict[str, bool]:
    """While `lags` is true node 3 knows of no topics."""
    node_3 = {"lags": False}
    told = cluster._GetMetadata

    async def tell(node_id: int, data: bytes) -> bytes:
        answer = client_pb2.MetadataResponse.FromString(await told(node_id, data))
        if node_id == 3 and node_3["lags"]:
            del answer.topics[:]
        return answer.SerializeToString()

    cluster._GetMetadata = tell  # type: ignore[method-assign]
    return node_3


async def write(cluster: FakeCluster, first: int, count: int) -> None:
    async with producer(cluster) as sender:
        for value in numbers(first, count):
            await sender.send("lines", value)


@pytest.mark.parametrize("auto_offset_reset", ["latest", "earliest"])
def test_a_topic_that_one_node_has_not_heard_of_yet_is_not_read_again(auto_offset_reset: str) -> None:
    async def story() -> None:
        cluster = await filled([])
        node_3 = lagging(cluster)
        async with consumer(cluster, auto_offset_reset=auto_offset_reset, metadata_max_age_ms=1_000) as reader:
            reader.subscribe(pattern="li.*")
            await reader.poll(timeout=2)
            await write(cluster, 0, 10)
            assert await read(reader, 10) == numbers(0, 10)
            node_3["lags"] = True
            values: list[bytes] = []
            has_been_gone = False
            for number in range(10, 30):
                await write(cluster, number, 1)
                values += await read(reader, 10, timeout_s=1)
                has_been_gone = has_been_gone or not reader.assignment()
            assert has_been_gone
            node_3["lags"] = False
            values += await read(reader, 10, timeout_s=5)
            assert values == numbers(10, 20)

    run(story)


def test_what_an_iteration_holds_of_a_topic_that_a_node_has_not_heard_of_is_handed_out_once() -> None:
    async def story() -> None:
        cluster = await filled(numbers(0, 30))
        node_3 = lagging(cluster)
        async with consumer(cluster, metadata_max_age_ms=1_000, max_poll_records=7) as reader:
            reader.subscribe(pattern="li.*")
            values: list[Any] = []
            async for record in reader:
                values.append(record.value)
                node_3["lags"] = True
                if len(values) == 30:
                    break
                await asyncio.sleep(0.3)
                reader.pause()
                reader.resume()
            assert values == numbers(0, 30)
            node_3["lags"] = False
            assert await read(reader, 1, timeout_s=5) == []

    run(story)


def test_a_pause_outlives_the_absence() -> None:
    async def story() -> None:
        cluster = await filled(numbers(0, 10))
        node_3 = lagging(cluster)
        async with consumer(cluster, metadata_max_age_ms=1_000) as reader:
            reader.subscribe(pattern="li.*")
            assert await read(reader, 3) == numbers(0, 3)
            reader.pause()
            node_3["lags"] = True
            while reader.assignment():
                await reader.poll(timeout=0.1)
            node_3["lags"] = False
            assert await read(reader, 10, timeout_s=5) == []
            reader.resume()
            assert await read(reader, 7) == numbers(3, 7)

    run(story)


def test_what_is_read_of_a_topic_that_was_made_anew_at_once_is_not_read_again() -> None:
    """Nobody has noticed that it was gone, and the node that lags does not know the new one."""

    async def story() -> None:
        cluster = await filled(numbers(0, 10))
        node_3 = lagging(cluster)
        async with consumer(cluster, metadata_max_age_ms=1_000) as reader:
            reader.subscribe(pattern="li.*")
            assert await read(reader, 10) == numbers(0, 10)
            cluster.create("lines")
            await write(cluster, 100, 5)
            assert await read(reader, 5, timeout_s=10) == numbers(100, 5)
            node_3["lags"] = True
            while reader.assignment():
                await reader.poll(timeout=0.1)
            node_3["lags"] = False
            assert await read(reader, 1, timeout_s=5) == []

    run(story)


def test_a_topic_that_was_deleted_and_is_made_anew_is_read_from_its_beginning() -> None:
    async def story() -> None:
        cluster = await filled(numbers(0, 10))
        async with consumer(cluster, auto_offset_reset="latest", metadata_max_age_ms=1_000) as reader:
            reader.subscribe(pattern="li.*")
            await reader.poll(timeout=2)
            del cluster.topics["lines"]
            await reader.poll(timeout=3)
            assert reader.assignment() == []
            cluster.create("lines")
            await write(cluster, 0, 20)
            assert await read(reader, 20, timeout_s=10) == numbers(0, 20)

    run(story)
