"""The blocking clients and the asyncio ones do the same, over the same core."""

import asyncio

from kraftpy import Admin, Consumer, Producer, aio
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
