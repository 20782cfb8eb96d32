"""How far a consumer reads ahead: `fetch_max_bytes` of what will be handed out, and no more."""

import asyncio
from typing import Any

import pytest

from kraftpy.client.values import ConsumerRecord, TopicPartition
from tests.client.fake_broker import FakeCluster
from tests.client.support import consumer, producer, run
from tests.client.test_tutorial_consumer import PLACE

LIMITS = {"fetch_max_bytes": 4_000, "max_partition_fetch_bytes": 4_000}


async def full(partitions: int = 1) -> FakeCluster:
    """One broker, and 200 records in each partition: more than a consumer within `LIMITS` reads ahead."""
    cluster = FakeCluster(1)
    cluster.create("lines", partitions)
    async with producer(cluster, batch_size=500) as sender:
        for number in range(200 * partitions):
            await sender.send("lines", b"%04d" % number * 20, partition=number % partitions)
    return cluster


def buffered_bytes(reader: Any) -> int:
    return sum(answer.size_bytes for answer in reader._consuming.fetcher._answers)


async def fill(reader: Any) -> None:
    """Let a consumer read ahead until it stops."""
    await reader.poll(timeout=1, max_records=1)
    await asyncio.sleep(1)
    assert buffered_bytes(reader) >= LIMITS["fetch_max_bytes"]


async def records(reader: Any, count: int) -> list[ConsumerRecord]:
    """The next `count` records, or fewer where they do not come."""
    read: list[ConsumerRecord] = []
    while len(read) < count and (more := await reader.poll(timeout=10, max_records=count - len(read))):
        read += more
    return read


def test_what_a_seek_made_void_holds_nothing_up() -> None:
    async def story(*, is_polled_at_once: bool) -> None:
        cluster = await full()
        loop = asyncio.get_running_loop()
        async with consumer(cluster, "lines", **LIMITS) as reader:
            await fill(reader)
            reader.seek(PLACE, 150)
            if not is_polled_at_once:
                await asyncio.sleep(0)
            started = loop.time()
            assert [record.offset for record in await reader.poll(timeout=600, max_records=1)] == [150]
            assert loop.time() - started < 0.1

    run(lambda: story(is_polled_at_once=True))
    run(lambda: story(is_polled_at_once=False))


def test_what_a_seek_made_void_is_not_kept() -> None:
    async def story() -> None:
        cluster = await full()
        async with consumer(cluster, "lines", **LIMITS) as reader:
            await fill(reader)
            for offset in range(20):
                reader.seek(PLACE, offset)
                await asyncio.sleep(1)
            assert buffered_bytes(reader) < 3 * LIMITS["fetch_max_bytes"]

    run(story)


def test_a_paused_partition_leaves_room_for_the_others() -> None:
    async def story() -> None:
        cluster = await full(partitions=2)
        first, second = TopicPartition("lines", 0), TopicPartition("lines", 1)
        loop = asyncio.get_running_loop()
        async with consumer(cluster, **LIMITS) as reader:
            reader.assign([first])
            await fill(reader)
            reader.pause(first)
            reader.assign([first, second])
            started = loop.time()
            read = await records(reader, 200)
            assert [record.offset for record in read] == list(range(200)), "all of the other, and nothing else"
            assert loop.time() - started < 1
            reader.resume(first)
            assert [record.offset for record in await records(reader, 199)] == list(range(1, 200))

    run(story)


def test_paused_partitions_keep_two_answers_each() -> None:
    async def story() -> None:
        cluster = await full(partitions=4)
        places = [TopicPartition("lines", number) for number in range(4)]
        async with consumer(cluster, **LIMITS) as reader:
            for count in range(1, 5):
                reader.assign(places[:count])
                await asyncio.sleep(5)
                reader.pause()
            assert buffered_bytes(reader) <= 4 * 2 * LIMITS["max_partition_fetch_bytes"]
            reader.resume()
            assert len(await records(reader, 800)) == 800

    run(story)


# --- what was taken, and not handed out yet --------------------------------------------------------------------------


async def pauses(reader: Any) -> None:
    """What was taken is given back."""
    reader.pause()
    reader.resume()


async def looks(reader: Any) -> None:
    """Nothing is."""
    await reader.position(PLACE)


async def does_nothing(_reader: Any) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("between", [pauses, looks, does_nothing])
@pytest.mark.parametrize("lookup_s", [0, 1])
def test_an_iteration_whose_place_falls_out_of_the_log_skips_nothing(between: Any, lookup_s: float) -> None:
    """What it took before the log lost it is handed out, and then it goes on where the log begins."""

    async def story() -> None:
        cluster = FakeCluster(1)
        cluster.create("lines")
        async with (
            producer(cluster, batch_size=500) as sender,
            consumer(cluster, "lines", max_poll_records=10) as reader,
        ):
            for number in range(10):
                await sender.send("lines", b"%04d" % number)
            await sender.flush()
            seen = [(await anext(reader)).offset]
            place = cluster.partition("lines")
            place.start_offset, place.lookups_take_s = 25, lookup_s
            for number in range(10, 30):
                await sender.send("lines", b"%04d" % number)
            await sender.flush()
            await asyncio.sleep(2)
            while len(seen) < 15:
                await between(reader)
                seen.append((await asyncio.wait_for(anext(reader), 60)).offset)
            assert seen == [*range(10), *range(25, 30)]

    run(story)


@pytest.mark.parametrize(("between", "old"), [(pauses, 1), (looks, 20), (does_nothing, 20)])
def test_an_iteration_whose_topic_is_created_anew_reads_all_of_the_new_one(between: Any, old: int) -> None:
    """What was given back is gone with the old one, whose log was cut as far as anybody knows at first."""

    async def story() -> None:
        cluster = FakeCluster(1)
        cluster.create("lines")
        async with (
            producer(cluster, batch_size=500) as sender,
            consumer(cluster, "lines", metadata_max_age_ms=1_000) as reader,
        ):
            for number in range(20):
                await sender.send("lines", b"old %d" % number)
            await sender.flush()
            seen = [(await anext(reader)).value]
            cluster.create("lines")
            await asyncio.sleep(3)
            for number in range(12):
                await sender.send("lines", b"new %d" % number)
            await sender.flush()
            await asyncio.sleep(3)
            while len(seen) < old + 12:
                await between(reader)
                seen.append((await asyncio.wait_for(anext(reader), 60)).value)
            assert seen == [b"old %d" % number for number in range(old)] + [b"new %d" % n for n in range(12)]

    run(story)


@pytest.mark.parametrize(("between", "old"), [(pauses, 6), (looks, 10), (does_nothing, 10)])
def test_an_iteration_follows_a_log_that_was_cut(between: Any, old: int) -> None:
    """An unclean election: all that was written in the place of what was lost is read (KIP-320)."""

    async def story() -> None:
        cluster = FakeCluster(2)
        cluster.create("lines")
        async with producer(cluster, batch_size=1) as sender:
            for number in range(10):
                await sender.send("lines", b"old %d" % number)
        async with consumer(cluster, "lines") as reader:
            seen = [(await anext(reader)).value]
            place = cluster.partition("lines")
            place.cut(6)
            cluster.move_leader("lines", 0, 2)
            async with producer(cluster) as sender:
                for number in range(6, 15):
                    await sender.send("lines", b"new %d" % number)
            await asyncio.sleep(2)
            while len(seen) < old + 9:
                await between(reader)
                seen.append((await asyncio.wait_for(anext(reader), 60)).value)
            assert seen == [b"old %d" % number for number in range(old)] + [b"new %d" % n for n in range(6, 15)]

    run(story)


def test_who_polls_without_waiting_lets_others_run() -> None:
    async def story() -> None:
        cluster = await full()
        async with consumer(cluster, "lines") as reader:
            for _ in range(10_000):
                if await reader.poll(0):
                    break
            else:
                raise AssertionError("nothing has come")

    run(story)


# --- a program that changes something between any two polls ----------------------------------------------------------

OTHER = TopicPartition("lines", 1)


async def resumes_what_is_not_paused(reader: Any) -> None:
    reader.resume()


async def pauses_and_resumes(reader: Any) -> None:
    reader.pause(OTHER)
    reader.resume(OTHER)


async def pauses_for_a_while(reader: Any) -> None:
    reader.pause(OTHER)
    await asyncio.sleep(0.1)
    reader.resume(OTHER)


async def seeks(reader: Any) -> None:
    reader.seek(OTHER, 0)


async def seeks_to_the_end(reader: Any) -> None:
    reader.seek_to_end(OTHER)


@pytest.mark.parametrize(
    "change", [resumes_what_is_not_paused, pauses_and_resumes, pauses_for_a_while, seeks, seeks_to_the_end]
)
def test_answers_that_take_longer_than_a_programs_loop_arrive(change: Any) -> None:
    async def story() -> None:
        cluster = FakeCluster(1)
        cluster.create("lines", 2)
        async with producer(cluster) as sender:
            for number in range(50):
                await sender.send("lines", b"%d" % number, partition=0)
        cluster.latency_s = lambda: 0.15
        async with consumer(cluster) as reader:
            reader.assign([PLACE, OTHER])
            offsets: list[int] = []
            for _ in range(100):
                offsets += [record.offset for record in await reader.poll(timeout=0.1)]
                await change(reader)
            assert offsets == list(range(50))

    run(story)


def test_what_is_sought_is_fetched_at_once() -> None:
    async def story() -> None:
        cluster = await full(partitions=2)
        loop = asyncio.get_running_loop()
        async with consumer(cluster, fetch_max_wait_ms=60_000) as reader:
            reader.assign([PLACE, OTHER])
            reader.seek_to_end()
            assert await reader.poll(timeout=10) == []
            for place in (PLACE, OTHER):
                started = loop.time()
                reader.seek(place, 150)
                assert [record.offset for record in await reader.poll(timeout=10)] == list(range(150, 200))
                assert loop.time() - started < 0.1
            started = loop.time()
            reader.seek_to_beginning(PLACE)
            assert (await reader.poll(timeout=10))[0].offset == 0
            assert loop.time() - started < 0.1

    run(story)
