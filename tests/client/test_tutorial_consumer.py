"""The consumer rows of the two tutorials that need no group (K01, K04, K09, K14, K18), each by its id."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kraftpy import Consumer as BlockingConsumer
from kraftpy.aio import Consumer
from kraftpy.client.config import ConsumerConfig
from kraftpy.client.serializers import RecordDeserializationError
from kraftpy.client.values import ConsumerRecord, OffsetAndMetadata, TopicPartition
from kraftpy.errors import (
    ClosedError,
    ConcurrentUseError,
    ConfigurationError,
    NoOffsetForPartitionError,
    NotAssignedError,
)
from kraftpy.pb import client_pb2
from tests.client.fake_broker import FakeCluster
from tests.client.support import consumer, producer, run

PLACE = TopicPartition("lines", 0)


async def filled(values: list[Any], *, partitions: int = 1, **settings: Any) -> FakeCluster:
    cluster = FakeCluster(3)
    cluster.create("lines", partitions)
    async with producer(cluster, partitioner="round_robin", **settings) as sender:
        for value in values:
            await sender.send("lines", value)
    return cluster


def test_k01_poll_gives_records_with_everything() -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.create("lines", 1)
        async with producer(cluster) as sender:
            await sender.send("lines", b"v", key=b"k", headers=[("a", b"1"), ("a", None)], timestamp=1_600_000_000_000)
        async with consumer(cluster, "lines") as reader:
            (record,) = await reader.poll(timeout=5)
            assert record == ConsumerRecord("lines", 0, 0, 1_600_000_000_000, b"k", b"v", (("a", b"1"), ("a", None)), 1)
            assert await reader.poll(timeout=0.2) == []
        with pytest.raises(ClosedError):
            await reader.poll()
        await reader.close()

    run(story)


def test_k01_poll_waits_for_what_comes_and_no_longer() -> None:
    async def story() -> None:
        cluster = await filled([])
        loop = asyncio.get_running_loop()
        async with consumer(cluster, "lines") as reader, producer(cluster, linger_ms=0) as sender:
            assert await reader.poll(timeout=3) == []
            started = loop.time()
            task = loop.create_task(reader.poll(timeout=60))
            await asyncio.sleep(10)
            await sender.send("lines", b"at last")
            assert [record.value for record in await task] == [b"at last"]
            assert loop.time() - started < 10.1

    run(story)


def test_k01_all_partitions_are_read_each_in_order() -> None:
    async def story() -> None:
        values = [b"%04d" % number for number in range(1_000)]
        cluster = await filled(values, partitions=6, batch_size=500)
        async with consumer(cluster, "lines", max_poll_records=70) as reader:
            seen: dict[int, list[Any]] = {}
            while sum(map(len, seen.values())) < 1_000:
                records = await reader.poll(timeout=5)
                assert 0 < len(records) <= 70
                for record in records:
                    seen.setdefault(record.partition, []).append(record.value)
            assert len(reader.assignment()) == 6
        assert all(part == sorted(part) for part in seen.values())
        assert sorted(value for part in seen.values() for value in part) == values

    run(story)


def test_k01_iteration() -> None:
    async def story() -> None:
        cluster = await filled([b"%d" % number for number in range(30)])
        async with consumer(cluster, "lines") as reader:
            seen: list[int] = []
            async for record in reader:
                seen.append(record.offset)
                if record.offset == 9:
                    break
            assert await reader.position(PLACE) == 10  # what the iteration took ahead is not lost
            assert [record.offset for record in await reader.poll(timeout=1, max_records=5)] == [10, 11, 12, 13, 14]
            assert (await anext(reader)).offset == 15
            reader.seek(PLACE, 3)
            assert (await anext(reader)).offset == 3
            reader.pause(PLACE)
            assert await reader.poll(timeout=0.1) == []
            assert reader.paused() == [PLACE]
            reader.resume()
            assert (await anext(reader)).offset == 4

    run(story)


@pytest.mark.parametrize(
    ("name", "data", "value"),
    [
        ("int", b"\x00\x00\x01\x02", 258),
        ("long", b"\xff" * 8, -1),
        ("double", struct.pack(">d", 0.25), 0.25),
        ("str", "žluť".encode(), "žluť"),
        ("json", b'{"id": [1]}', {"id": [1]}),
        ("bytes", b"\x00", b"\x00"),
        (None, b"\x00", b"\x00"),
        (lambda data: data.hex(), b"\x0f", "0f"),
        ("org.apache.kafka.common.serialization.StringDeserializer", b"x", "x"),
        ("json", None, None),
    ],
)
def test_k04_deserializers(name: Any, data: bytes | None, value: Any) -> None:
    async def story() -> None:
        cluster = await filled([data])
        async with consumer(cluster, "lines", value_deserializer=name) as reader:
            (record,) = await reader.poll(timeout=5)
            assert record.value == value

    run(story)


def test_k04_a_poison_record_is_named_and_can_be_passed() -> None:
    async def story() -> None:
        cluster = await filled([b"1", b"2", b"not json", b"4"])
        async with consumer(cluster, "lines", value_deserializer="json") as reader:
            assert [record.value for record in await reader.poll(timeout=5)] == [1, 2]
            for _ in range(2):
                with pytest.raises(RecordDeserializationError, match="lines-0 offset 2: the value") as caught:
                    await reader.poll(timeout=5)
                assert await reader.position(PLACE) == 2
            error = caught.value
            reader.seek((error.topic, error.partition), error.offset + 1)
            assert [record.value for record in await reader.poll(timeout=5)] == [4]

    run(story)


def test_k04_a_poison_record_in_an_iteration() -> None:
    async def story() -> None:
        cluster = await filled([b"1", b"poison", b"3"])
        async with consumer(cluster, "lines", value_deserializer="json") as reader:
            seen: list[int] = []
            while len(seen) < 2:
                try:
                    async for record in reader:
                        seen.append(record.value)
                        if len(seen) == 2:
                            break
                except RecordDeserializationError as error:
                    reader.seek((error.topic, error.partition), error.offset + 1)
            assert seen == [1, 3]

    run(story)


def test_k09_fetch_settings_travel() -> None:
    async def story() -> None:
        cluster = await filled([b"x"])
        asked: list[client_pb2.FetchRequest] = []
        read = cluster._read

        def noted(node_id: int, request: client_pb2.FetchRequest) -> Any:
            asked.append(request)
            return read(node_id, request)

        cluster._read = noted  # type: ignore[method-assign]
        async with consumer(
            cluster,
            "lines",
            fetch_min_bytes=10,
            fetch_max_wait_ms=200,
            fetch_max_bytes=5_000,
            max_partition_fetch_bytes=1_000,
            client_id="me",
        ) as reader:
            await reader.poll(timeout=2)
        first = asked[0]
        assert (first.min_bytes, first.max_wait_ms, first.max_bytes) == (10, 200, 5_000)
        assert (first.partitions[0].max_bytes, first.client_id) == (1_000, "me")

    run(story)


def test_k09_max_partition_fetch_bytes_bounds_an_answer_but_never_stops() -> None:
    async def story() -> None:
        cluster = await filled([b"x" * 400] * 20, batch_size=500)
        async with consumer(cluster, "lines", max_partition_fetch_bytes=100) as reader:
            for _ in range(20):  # each batch holds one record and is larger than the bound
                assert len(await reader.poll(timeout=5)) == 1

    run(story)


def test_k09_what_waits_to_be_read_is_bounded() -> None:
    async def story() -> None:
        cluster = await filled([b"x" * 400] * 500, batch_size=500)
        async with consumer(cluster, "lines", max_partition_fetch_bytes=2_000, max_poll_records=1) as reader:
            await reader.poll(timeout=5)
            await asyncio.sleep(10)
            fetched = sum(1 for _, method in cluster.requests if method == "Fetch")
            assert fetched <= 3
        cluster.requests.clear()
        async with consumer(cluster, "lines", max_partition_fetch_bytes=2_000, fetch_max_bytes=1_000) as reader:
            await asyncio.sleep(10)
            assert sum(1 for _, method in cluster.requests if method == "Fetch") <= 2

    run(story)


def test_k14_two_tasks_at_once_are_refused() -> None:
    async def story() -> None:
        cluster = await filled([])
        async with consumer(cluster, "lines") as reader:
            task = asyncio.get_running_loop().create_task(reader.poll(timeout=5))
            await asyncio.sleep(0)
            with pytest.raises(ConcurrentUseError):
                await reader.poll()
            assert await task == []

    run(story)


def test_k18_assign_reads_exactly_these_partitions() -> None:
    async def story() -> None:
        cluster = await filled([b"%d" % number for number in range(9)], partitions=3)
        async with consumer(cluster) as reader:
            reader.assign([("lines", 1)])
            assert {record.partition for record in await reader.poll(timeout=5)} == {1}
            assert await reader.poll(timeout=1) == []
            reader.assign([("lines", 1), ("lines", 2)])  # 1 keeps its position
            assert {record.partition for record in await reader.poll(timeout=5)} == {2}
            reader.assign([])
            assert await reader.poll(timeout=1) == []
            with pytest.raises(NotAssignedError, match="lines-1"):
                reader.seek(("lines", 1), 0)

    run(story)


async def again_by_topic(reader: Consumer) -> None:
    await reader.unsubscribe()
    reader.subscribe("lines")


async def again_after_another(reader: Consumer) -> None:
    reader.subscribe("words")
    reader.subscribe("lines")


async def again_by_pattern(reader: Consumer) -> None:
    await reader.unsubscribe()
    reader.subscribe(pattern="^li")


async def again_after_partitions(reader: Consumer) -> None:
    reader.assign([("words", 0)])
    reader.subscribe("lines")


@pytest.mark.parametrize("again", [again_by_topic, again_after_another, again_by_pattern, again_after_partitions])
def test_k18_who_subscribes_again_begins_anew(again: Callable[[Consumer], Awaitable[None]]) -> None:
    async def story() -> None:
        cluster = await filled([b"old"])
        cluster.create("words", 1)
        async with consumer(cluster, "lines", auto_offset_reset="latest") as reader:
            assert await reader.poll(timeout=1) == []
            await again(reader)
            assert await reader.poll(timeout=1) == []
            async with producer(cluster) as sender:
                await sender.send("lines", b"new")
            assert [record.value for record in await reader.poll(timeout=1)] == [b"new"]
        async with consumer(cluster, "lines", auto_offset_reset="none") as reader:
            with pytest.raises(NoOffsetForPartitionError):
                await reader.poll(timeout=1)
            await again(reader)
            with pytest.raises(NoOffsetForPartitionError):
                await reader.poll(timeout=1)

    run(story)


def test_k18_what_stays_subscribed_is_read_on() -> None:
    async def story() -> None:
        cluster = await filled([])
        async with consumer(cluster, "lines", auto_offset_reset="latest") as reader, producer(cluster) as sender:
            assert await reader.poll(timeout=1) == []
            reader.subscribe(pattern="^li")
            await (await sender.send("lines", b"1"))
            assert [record.value for record in await reader.poll(timeout=1)] == [b"1"]
            for name in ("words", "lists"):
                cluster.create(name, 1)
            reader.subscribe(["lines", "words", "lists"])
            assert await reader.poll(timeout=1) == []
            changes: dict[bytes, dict[str, Any]] = {b"2": {"topics": ["lists", "lines"]}, b"3": {"pattern": "^li"}}
            for value, subscription in changes.items():
                for name in ("lines", "lists"):
                    await (await sender.send(name, value))
                reader.subscribe(**subscription)
                records = await reader.poll(timeout=1) + await reader.poll(timeout=1)
                assert [record.value for record in records] == [value] * 2

    run(story)


def test_k18_a_pattern_that_nothing_matches_reads_nothing() -> None:
    async def story() -> None:
        cluster = await filled([b"1"])
        async with consumer(cluster, "lines") as reader:
            assert len(await reader.poll(timeout=1)) == 1
            reader.subscribe(pattern="^words")
            assert reader.assignment() == []
            async with producer(cluster) as sender:
                await sender.send("lines", b"2")
            assert await reader.poll(timeout=1) == []
            assert reader.assignment() == []

    run(story)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"group_id": " "}, "group_id is empty"),
        ({"enable_auto_commit": True}, "there must be a group_id"),
        ({"group_id": "g", "heartbeat_interval_ms": 50_000}, "must be below session_timeout_ms"),
        ({"group_id": "g", "assignors": "fair"}, "choose some of range, roundrobin"),
        ({"isolation_level": "committed"}, "one of read_uncommitted, read_committed"),
        ({"auto_offset_reset": "smallest"}, "one of earliest, latest, none"),
        ({"auto_offset_rest": "latest"}, "did you mean 'auto_offset_reset'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Consumer("lines", bootstrap="a:9093", **settings)


def test_a_configuration_by_dotted_names() -> None:
    known = ConsumerConfig.from_dotted(
        {"bootstrap.servers": "a:9093", "auto.offset.reset": "earliest", "max.poll.records": "7", "check.crcs": "false"}
    )
    assert (known.auto_offset_reset, known.max_poll_records, known.check_crcs) == ("earliest", 7, False)
    Consumer.from_config({"bootstrap.servers": "a:9093"}, "lines")


@pytest.mark.parametrize("offset", [2**63, OffsetAndMetadata(1, leader_epoch=2**31), -1])
def test_an_offset_that_no_log_has_is_refused_and_holds_up_nobody(offset: int | OffsetAndMetadata) -> None:
    async def story() -> None:
        cluster = await filled([b"one", b"two"])
        async with consumer(cluster) as reader:
            reader.assign([PLACE])
            with pytest.raises(ValueError, match=r"an offset is not negative|no log has such an offset"):
                reader.seek(PLACE, offset)
            assert [record.offset for record in await reader.poll(timeout=5)] == [0, 1]

    run(story)


@pytest.mark.parametrize("max_records", [0, -1])
def test_a_poll_for_no_records_is_refused(max_records: int) -> None:
    """It never ended, and held up the loop with that."""

    async def story() -> None:
        cluster = await filled([b"one"])
        async with consumer(cluster, "lines") as reader:
            assert len(await reader.poll(timeout=5)) == 1
            with pytest.raises(ValueError, match="max_records is at least 1"):
                await reader.poll(timeout=1, max_records=max_records)

    run(story)


def test_a_blocking_poll_for_no_records_is_refused() -> None:
    with BlockingConsumer("lines", bootstrap="127.0.0.1:1") as reader, pytest.raises(ValueError, match="at least 1"):
        reader.poll(timeout=0.1, max_records=-1)
