"""The blocking clients and the asyncio ones do the same, over the same core."""

import asyncio
import subprocess
import sys

import pytest

from kraftpy import Admin, Consumer, Producer, aio
from kraftpy.errors import SubscriptionError
from tests.client.fake_broker import FakeCluster, TestClock


def test_a_blocking_round_trip() -> None:
    cluster = FakeCluster(3)
    with Admin(cluster.bootstrap, _transport=cluster) as admin:
        created = admin.create_topic("lines", partitions=3, replication_factor=3)
        assert (created.partitions, created.replication_factor) == (3, 3)
    with Producer(cluster.bootstrap, _transport=cluster) as producer:
        metadata = producer.send("lines", b"hello", key=b"k", headers=[("h", b"1")]).result(5)
        assert (metadata.topic, metadata.offset) == ("lines", 0)
        producer.flush()
    with Consumer("lines", bootstrap=cluster.bootstrap, auto_offset_reset="earliest", _transport=cluster) as consumer:
        record = next(consumer)
    assert (record.partition, record.offset, record.timestamp) == (metadata.partition, 0, metadata.timestamp)
    assert (record.key, record.value, record.headers) == (b"k", b"hello", (("h", b"1"),))


def test_an_asyncio_round_trip() -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        async with aio.Admin(cluster.bootstrap, _transport=cluster, _clock=TestClock()) as admin:
            await admin.create_topic("lines", partitions=3)
        async with aio.Producer(cluster.bootstrap, _transport=cluster, _clock=TestClock()) as producer:
            metadata = await (await producer.send("lines", "hello", key="k"))
        async with aio.Consumer(
            "lines", bootstrap=cluster.bootstrap, auto_offset_reset="earliest", _transport=cluster, _clock=TestClock()
        ) as consumer:
            record = await anext(consumer)
        assert (record.partition, record.offset, record.key, record.value) == (metadata.partition, 0, b"k", b"hello")

    asyncio.run(story())


def test_a_consumer_that_was_told_nothing_to_read_says_so() -> None:
    cluster = FakeCluster(1)
    cluster.create("lines")
    for group in (None, "g"):
        with Consumer(bootstrap=cluster.bootstrap, group_id=group, _transport=cluster) as consumer:
            with pytest.raises(SubscriptionError, match="nothing to read"):
                consumer.poll(0.1)
            with pytest.raises(SubscriptionError, match="nothing to read"):
                next(consumer)
    with Consumer(bootstrap=cluster.bootstrap, _transport=cluster) as consumer:
        consumer.assign([("lines", 0)])
        assert consumer.poll(0.1) == []
        consumer.unsubscribe()
        assert consumer.poll(0.1) == []

    async def story() -> None:
        async with aio.Consumer(bootstrap=cluster.bootstrap, _transport=cluster, _clock=TestClock()) as consumer:
            with pytest.raises(SubscriptionError, match="nothing to read"):
                await consumer.poll(0.1)
            with pytest.raises(SubscriptionError, match="nothing to read"):
                await anext(consumer)

    asyncio.run(story())


def test_a_consumer_without_topics_that_is_forgotten_ends_without_noise() -> None:
    program = (
        "from kraftpy import Consumer; forgotten = Consumer(bootstrap='127.0.0.1:1'); print(forgotten.assignment())"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[]\n", "")
