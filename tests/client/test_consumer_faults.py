"""What a consumer does when leaders move, logs are cut and answers are damaged."""

import asyncio
from collections import deque
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftpy.client.starting import LogTruncatedError
from kraftpy.client.values import OffsetAndMetadata, OffsetAndTimestamp, TopicPartition
from kraftpy.error_codes import code_of
from kraftpy.errors import (
    CallTimeoutError,
    CorruptRecordError,
    NoOffsetForPartitionError,
    NotAssignedError,
    OffsetNotAvailableError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)
from kraftpy.pb import client_pb2
from kraftpy.record import Compression, Header, Record, check_batch, encode_batch, patch
from tests.client.fake_broker import FakeCluster
from tests.client.support import consumer, producer, run
from tests.client.test_tutorial_consumer import PLACE, filled


async def read(reader: Any, count: int, timeout_s: float = 30) -> list[bytes]:
    values: list[bytes] = []
    loop = asyncio.get_running_loop()
    ends = loop.time() + timeout_s
    while len(values) < count and loop.time() < ends:
        values += [record.value for record in await reader.poll(timeout=1, max_records=count - len(values))]
    return values


def numbers(first: int, count: int) -> list[bytes]:
    return [b"%04d" % number for number in range(first, first + count)]


def test_where_reading_begins() -> None:
    async def story() -> None:
        cluster = await filled(numbers(0, 5))
        async with (
            consumer(cluster, "lines", auto_offset_reset="latest") as late,
            consumer(cluster, "lines", auto_offset_reset="none") as nowhere,
            producer(cluster) as sender,
        ):
            assert await late.poll(timeout=1) == []
            assert await late.position(PLACE) == 5
            await sender.send("lines", b"new")
            assert await read(late, 1) == [b"new"]
            with pytest.raises(NoOffsetForPartitionError, match="lines-0 has no position"):
                await nowhere.poll(timeout=1)
            nowhere.seek(PLACE, 4)
            assert await read(nowhere, 2) == [b"0004", b"new"]

    run(story)


def test_seeking() -> None:
    async def story() -> None:
        cluster = await filled(numbers(0, 20), batch_size=200)
        loop = asyncio.get_running_loop()
        async with consumer(cluster, "lines") as reader:
            assert await read(reader, 20) == numbers(0, 20)
            started = loop.time()
            reader.seek(PLACE, 7)  # in the middle of a batch, while a fetch is parked
            assert await read(reader, 1) == [b"0007"]
            assert loop.time() - started < 0.1
            reader.seek_to_beginning()
            assert await read(reader, 2) == numbers(0, 2)
            reader.seek_to_end(PLACE)
            assert await reader.poll(timeout=1) == []
            assert await reader.position(PLACE) == 20
            with pytest.raises(ValueError, match="negative"):
                reader.seek(PLACE, -1)

    run(story)


def test_offsets_by_time_and_at_both_ends() -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.create("lines", 2)
        async with producer(cluster, batch_size=1) as sender:
            for number in range(5):
                await sender.send("lines", b"x", partition=1, timestamp=1_000 * number)
        async with consumer(cluster, "lines") as reader:
            first, second = TopicPartition("lines", 0), TopicPartition("lines", 1)
            assert await reader.offsets_for_times({first: 0, second: 2_500}) == {
                first: None,
                second: OffsetAndTimestamp(3, 3_000),
            }
            assert await reader.beginning_offsets([second]) == {second: 0}
            assert await reader.end_offsets([first, second]) == {first: 0, second: 5}
            assert await reader.partitions_for("lines") == 2
            with pytest.raises(UnknownTopicOrPartitionError):
                await reader.end_offsets([("lines", 2)], timeout=3)
            with pytest.raises(UnknownTopicOrPartitionError):
                await reader.end_offsets([("missing", 0)], timeout=3)
            cluster.down |= {1, 2, 3}
            with pytest.raises(CallTimeoutError):
                await reader.end_offsets([second], timeout=3)

    run(story)


def test_a_leader_that_moves_is_followed() -> None:
    async def story() -> None:
        cluster = await filled(numbers(0, 10))
        loop = asyncio.get_running_loop()
        async with consumer(cluster, "lines") as reader, producer(cluster, linger_ms=0) as sender:
            assert await read(reader, 10) == numbers(0, 10)
            for number in range(10, 20):
                cluster.move_leader("lines", 0, number % 3 + 1)
                await sender.send("lines", b"%04d" % number)
                started = loop.time()
                assert await read(reader, 1) == numbers(number, 1)
                assert loop.time() - started < 0.7

    run(story)


def test_a_new_leader_that_has_yet_to_hear_from_its_followers_is_waited_for() -> None:
    """After all nodes died at once that takes as long as the others need to come back."""

    async def story() -> None:
        cluster = await filled(numbers(0, 5))
        async with consumer(cluster, "lines") as reader:
            assert await read(reader, 5) == numbers(0, 5)
            cluster.partition("lines").refuse_fetches.extend([OffsetNotAvailableError] * 12)
            async with producer(cluster) as sender:
                await sender.send("lines", b"0005")
            assert await read(reader, 1) == numbers(5, 1)

    run(story)


def test_damage_that_stays_is_told() -> None:
    async def story() -> None:
        cluster = await filled(numbers(0, 5))
        cluster.partition("lines").refuse_fetches.extend([CorruptRecordError] * 20)
        async with consumer(cluster, "lines") as reader:
            with pytest.raises(CorruptRecordError, match="lines-0"):
                await reader.poll(timeout=20)

    run(story)


def test_a_node_that_vanishes_from_the_metadata_while_a_fetch_to_it_begins() -> None:
    async def story() -> None:
        cluster = await filled(numbers(0, 10))
        async with consumer(cluster, "lines") as reader:
            assert await read(reader, 5) == numbers(0, 5)
            assert reader._consuming is not None
            fetcher, metadata = reader._consuming.fetcher, reader._consuming.metadata
            reader.seek(PLACE, 5)
            fetcher._step()
            beginning = fetcher._fetches[1].task
            assert beginning is not None
            metadata.view = replace(metadata.view, brokers={})
            await asyncio.wait([beginning])
            assert beginning.exception() is None
            metadata.invalidate()
            assert await read(reader, 5) == numbers(5, 5)

    run(story)


def test_a_killed_leader_and_a_silent_one_are_left_soon() -> None:
    async def story(fault: str) -> None:
        cluster = await filled(numbers(0, 10))
        loop = asyncio.get_running_loop()
        async with consumer(cluster, "lines") as reader:
            assert await read(reader, 5) == numbers(0, 5)
            (cluster.down if fault == "kill" else cluster.silent).add(1)
            reader.seek(PLACE, 5)
            assert await read(reader, 5, timeout_s=3) == []
            cluster.move_leader("lines", 0, 2)
            started = loop.time()
            assert await read(reader, 5) == numbers(5, 5)
            assert loop.time() - started < 2

    run(lambda: story("kill"))
    run(lambda: story("silence"))


def test_new_partitions_are_noticed_and_read_from_their_beginning() -> None:
    async def story() -> None:
        cluster = await filled(numbers(0, 3))
        async with consumer(cluster, "lines", auto_offset_reset="latest", metadata_max_age_ms=5_000) as reader:
            assert await reader.poll(timeout=1) == []
            old = cluster.partition("lines")
            cluster.create("lines", 2)
            cluster.topics["lines"][0] = old
            cluster.topic_ids["lines"] = (1).to_bytes(16, "big")
            async with producer(cluster) as sender:
                await sender.send("lines", b"in a new partition", partition=1)
            assert await read(reader, 1, timeout_s=7) == [b"in a new partition"]
            assert len(reader.assignment()) == 2

    run(story)


def test_a_topic_that_does_not_exist_yet_is_waited_for() -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        async with consumer(cluster, "later") as reader:
            assert await reader.poll(timeout=5) == []
            assert reader.assignment() == []
            cluster.create("later", 1)
            async with producer(cluster) as sender:
                await sender.send("later", b"here")
            assert await read(reader, 1, timeout_s=5) == [b"here"]

    run(story)


@pytest.mark.parametrize(
    ("number", "error"), [("1", TypeError), (None, TypeError), (-1, ValueError), (2**31, ValueError)]
)
@pytest.mark.parametrize("group_id", [None, "g"])
def test_a_number_that_no_partition_has_is_refused_and_spoils_nothing(
    group_id: str | None, number: Any, error: type[Exception]
) -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.create("lines", 2)
        wrong = [("lines", 0), ("lines", number)]
        async with consumer(cluster, group_id=group_id, auto_commit=False) as reader:
            for ask in (reader.beginning_offsets, reader.end_offsets):
                with pytest.raises(error):
                    await ask(wrong)
            with pytest.raises(error):
                await reader.offsets_for_times(dict.fromkeys(wrong, 0))
            with pytest.raises(error):
                reader.assign(wrong)
            assert reader.assignment() == []

    run(story)


@pytest.mark.parametrize("group_id", [None, "g"])
def test_all_partitions_are_not_none_of_them_before_any_is_assigned(group_id: str | None) -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.create("lines", 2)
        async with consumer(cluster, group_id=group_id, auto_commit=False) as reader:
            for topics in ((), "lines"):
                if topics:
                    reader.subscribe(topics)
                with pytest.raises(NotAssignedError, match="yet"):
                    reader.seek_to_beginning()
                with pytest.raises(NotAssignedError, match="yet"):
                    reader.seek_to_end()
                with pytest.raises(NotAssignedError, match="yet"):
                    reader.pause()
            reader.resume()
            await reader.unsubscribe()
            reader.assign([])
            reader.pause()

    run(story)


def test_an_assigned_partition_that_does_not_exist_yet_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.create("lines", 2)
        async with consumer(cluster) as reader:
            reader.assign([("lines", 1), ("lines", 2), ("lines", 7)])
            assert await reader.poll(timeout=5) == []

    run(story)
    assert [record.getMessage() for record in caplog.records if "waiting for it" in record.getMessage()] == [
        "topic lines has no partition 2, it has 2 partitions; waiting for it",
        "topic lines has no partition 7, it has 2 partitions; waiting for it",
    ]


@pytest.mark.parametrize(("reset", "goes_on"), [("earliest", b"0015"), ("latest", None), ("none", None)])
def test_an_offset_below_the_log(reset: str, goes_on: bytes | None) -> None:
    async def story() -> None:
        cluster = await filled(numbers(0, 20), batch_size=200)
        async with consumer(cluster, "lines", auto_offset_reset=reset) as reader:
            reader_started = await reader.poll(timeout=0.5) if reset != "none" else []
            assert len(reader_started) in (0, 20)
            place = cluster.partition("lines")
            place.start_offset = 15
            place.batches = [batch for batch in place.batches if check_batch(batch).end_offset > 15]
            await wait_assigned(reader)
            reader.seek(PLACE, 3)
            if reset == "none":
                with pytest.raises(OffsetOutOfRangeError, match="lines-0: offset 3 is not in the log, which begins"):
                    await reader.poll(timeout=2)
            else:
                assert await read(reader, 1, timeout_s=2) == ([goes_on] if goes_on else [])
                assert await reader.position(PLACE) == (16 if goes_on else 20)

    run(story)


async def wait_assigned(reader: Any) -> None:
    await reader.partitions_for("lines")
    await asyncio.sleep(0)
    assert reader.assignment()


def test_kip_320_a_truncated_log_is_told() -> None:
    async def story(reset: str) -> None:
        cluster = await filled(numbers(0, 10), batch_size=1)
        async with consumer(cluster, "lines", auto_offset_reset=reset) as reader:
            await wait_assigned(reader)
            reader.seek(PLACE, 0)
            assert await read(reader, 10) == numbers(0, 10)
            place = cluster.partition("lines")
            place.cut(6)
            cluster.move_leader("lines", 0, 2)
            async with producer(cluster) as sender:
                for number in range(100, 112):
                    await sender.send("lines", b"%04d" % number)
            if reset == "none":
                with pytest.raises(LogTruncatedError, match="truncated to offset 6"):
                    await read(reader, 1)
                reader.seek(PLACE, 6)
            else:
                await asyncio.sleep(1)
            assert await read(reader, 12) == numbers(100, 12)

    run(lambda: story("none"))
    run(lambda: story("earliest"))


@pytest.mark.parametrize(("reset", "values"), [("earliest", numbers(100, 3)), ("latest", []), ("none", None)])
def test_kip_320_a_topic_that_was_created_anew_is_no_truncated_log(reset: str, values: list[bytes] | None) -> None:
    """Brokers judge divergence before the range: that is what they answer where the new log is shorter."""

    async def story() -> None:
        cluster = await filled(numbers(0, 6))
        async with consumer(cluster, "lines", auto_offset_reset=reset) as reader, producer(cluster) as sender:
            await wait_assigned(reader)
            reader.seek(PLACE, 0)
            assert await read(reader, 6) == numbers(0, 6)
            del cluster.topics["lines"]
            assert await reader.poll(timeout=1) == []
            cluster.create("lines")
            for value in numbers(100, 3):
                await sender.send("lines", value)
            if values is None:
                with pytest.raises(OffsetOutOfRangeError, match="lines-0: offset 6 is of a topic that is no more"):
                    await read(reader, 1)
            else:
                assert await read(reader, 3, timeout_s=5) == values
                await sender.send("lines", b"new")
                assert await read(reader, 1) == [b"new"]

    run(story)


def test_kip_320_an_older_leader_is_not_believed_that_an_offset_is_out_of_range() -> None:
    """As after a takeover: the leader of epoch 1 was cut off, and neither it nor this consumer has heard of epoch 2."""

    async def story() -> None:
        cluster = await filled(numbers(0, 6))
        async with consumer(cluster, "lines", auto_offset_reset="earliest") as reader:
            await wait_assigned(reader)
            reader.seek(PLACE, OffsetAndMetadata(8, leader_epoch=2))
            assert await read(reader, 1, timeout_s=20) == [], "nothing is read again"
            cluster.move_leader("lines", 0, 2)
            async with producer(cluster) as sender:
                for number in range(6, 10):
                    await sender.send("lines", b"%04d" % number)
            assert await read(reader, 2) == numbers(8, 2)
            reader.seek(PLACE, OffsetAndMetadata(99, leader_epoch=2))
            assert await read(reader, 1, timeout_s=5) == []
            assert await reader.position(PLACE) == 10, "a leader that knows as much is believed: its log was cut there"
            reader.seek(PLACE, 99)
            assert await read(reader, 1) == numbers(0, 1), "out of range"

    run(story)


def test_kip_320_a_late_answer_of_an_older_leader_is_not_taken_for_the_new_ones() -> None:
    """The old one, cut off and short of records, answers after this consumer has turned to the new one, which is slow:
    the offset was out of its range, and the consumer went on at the end."""

    async def story() -> None:
        cluster = await filled(numbers(0, 10), batch_size=1)
        place, fetch = cluster.partition("lines"), cluster._Fetch
        asked: list[int] = []

        async def slow(node_id: int, data: bytes) -> bytes:
            asked.append(node_id)
            await asyncio.sleep(0.4 if node_id == 1 else 0.5)
            if node_id != 1:
                return await fetch(node_id, data)
            answer = client_pb2.FetchResponse()
            answer.partitions.add(topic="lines", partition=0, error=code_of(OffsetOutOfRangeError), leader=-1)
            return answer.SerializeToString()

        async with consumer(cluster, "lines", auto_offset_reset="latest") as reader:
            await wait_assigned(reader)
            cluster._Fetch = slow  # type: ignore[method-assign]
            reader.seek(PLACE, OffsetAndMetadata(5, leader_epoch=2))
            reading = asyncio.create_task(read(reader, 5, timeout_s=5))
            await asyncio.sleep(0.1)
            assert asked == [1]
            cluster.move_leader("lines", 0, 2)
            assert place.leader_epoch == 2
            assert reader._consuming is not None
            reader._consuming.metadata.invalidate()
            assert await reading == numbers(5, 5)
            assert asked[:2] == [1, 2]

    run(story)


def test_kip_320_an_older_leader_is_believed_at_last_and_that_of_a_topic_created_anew_at_once() -> None:
    async def story() -> None:
        cluster = await filled(numbers(0, 6))
        loop = asyncio.get_running_loop()
        async with consumer(cluster, "lines", auto_offset_reset="earliest", metadata_max_age_ms=1_000) as reader:
            await wait_assigned(reader)
            started = loop.time()
            reader.seek(PLACE, OffsetAndMetadata(8, leader_epoch=2))
            while await reader.position(PLACE) == 8:
                assert await reader.poll(timeout=1) == []
            assert 60 <= loop.time() - started < 63
            assert await reader.position(PLACE) == 6, "where its log was cut"
            cluster.move_leader("lines", 0, 2)
            async with producer(cluster) as sender:
                await sender.send("lines", b"0006")
                assert await read(reader, 1) == numbers(6, 1)
                cluster.create("lines")
                await sender.send("lines", b"anew")
            started = loop.time()
            assert await read(reader, 1) == [b"anew"]
            assert loop.time() - started < 3

    run(story)


def test_what_was_taken_and_given_back_keeps_its_leader_epoch() -> None:
    async def story() -> None:
        cluster = await filled(numbers(0, 3), batch_size=1)
        cluster.move_leader("lines", 0, 2)
        async with producer(cluster, batch_size=1) as sender:
            for number in range(3, 6):
                await sender.send("lines", b"%04d" % number)
        async with consumer(cluster, "lines") as reader:
            first = await reader.poll(timeout=2, max_records=5)
            assert [record.leader_epoch for record in first] == [1, 1, 1, 2, 2]
            assert reader._consuming is not None
            reader._consuming.fetcher.taken = deque(first)
            reader._consuming.fetcher.give_back()
            assert await reader.position(PLACE) == 0
            assert [*await reader.poll(timeout=2, max_records=4), *await reader.poll(timeout=2)][:5] == first
            assert await reader.position(PLACE) == 6

    run(story)


def test_a_damaged_batch_is_named_and_what_precedes_it_is_read() -> None:
    async def story() -> None:
        cluster = await filled(numbers(0, 20), batch_size=200)
        place = cluster.partition("lines")
        good = place.batches[1]
        place.batches[1] = good[:-1] + bytes([good[-1] ^ 1])
        damaged_at = check_batch(place.batches[0]).end_offset
        async with consumer(cluster, "lines") as reader:
            assert await read(reader, damaged_at) == numbers(0, damaged_at)
            with pytest.raises(CorruptRecordError, match=f"lines-0 at offset {damaged_at}: .*checksum"):
                await reader.poll(timeout=2)
            place.batches[1] = good
            assert await read(reader, 20 - damaged_at) == numbers(damaged_at, 20 - damaged_at)

    run(story)


def test_compacted_logs_control_batches_and_compression_are_read() -> None:
    async def story() -> None:
        cluster = FakeCluster(1)
        cluster.create("lines", 1)
        place = cluster.partition("lines")
        offset = 0
        for index, compression in enumerate(Compression):
            records = [Record(0, 1_000, None, b"%d" % index * 50)]
            batch = encode_batch(records, compression)
            patch(batch, 0, offset, 1)
            place.batches.append(bytes(batch))
            offset += 3  # compaction left gaps between batches
            control = encode_batch([Record(0, 0, b"\0\0\0\1", b"\0\0\0\0\0\0")], control=True)
            patch(control, 0, offset - 1, 1)
            place.batches.append(bytes(control))
        place.end_offset = offset
        async with consumer(cluster, "lines") as reader:
            records_read: list[Any] = []
            while len(records_read) < len(Compression):
                records_read += await reader.poll(timeout=2)
            assert [record.offset for record in records_read] == [0, 3, 6, 9, 12]
            assert await reader.poll(timeout=1) == []
            assert await reader.position(PLACE) == offset

    run(story)


def test_nothing_above_the_high_watermark_is_handed_out() -> None:
    async def story() -> None:
        cluster = await filled(numbers(0, 10), batch_size=1)
        place = cluster.partition("lines")
        place.high_watermark_held_at = 4
        async with consumer(cluster, "lines") as reader:
            assert await read(reader, 10, timeout_s=3) == numbers(0, 4)
            assert reader.high_watermark(PLACE) == 4
            place.high_watermark_held_at = None
            cluster.touch()
            assert await read(reader, 6) == numbers(4, 6)

    run(story)


def test_a_busy_partition_does_not_wait_for_an_idle_one() -> None:
    """One broker leads both: a fetch for the idle one alone would park for fetch_max_wait_ms."""

    async def story() -> None:
        cluster = FakeCluster(1)
        cluster.create("lines", 2)
        async with producer(cluster, batch_size=2_000) as sender:
            for number in range(2_000):
                await sender.send("lines", b"%04d" % number, partition=0)
        loop = asyncio.get_running_loop()
        async with consumer(cluster, "lines", max_partition_fetch_bytes=2_000) as reader:
            started = loop.time()
            assert await read(reader, 2_000) == numbers(0, 2_000)
            assert loop.time() - started < 0.4

    run(story)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("poll"), st.integers(1, 40)),
            st.tuples(st.just("iterate"), st.integers(1, 40)),
            st.tuples(st.just("seek"), st.integers(0, 200)),
            st.tuples(st.just("pause"), st.integers(0, 1)),
            st.tuples(st.just("resume"), st.integers(0, 1)),
            st.tuples(st.just("move"), st.integers(1, 3)),
            st.tuples(st.just("sleep"), st.integers(1, 800)),
            st.tuples(st.just("kill"), st.integers(1, 3)),
            st.tuples(st.just("heal"), st.just(0)),
        ),
        max_size=30,
    ),
    st.integers(0, 100),
)
def test_whatever_happens_each_partition_is_read_without_gaps(plan: list[tuple[str, int]], seed: int) -> None:
    """The twin is an offset a partition: what comes next is always exactly that record."""

    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.create("lines", 2)
        random = Random(seed)
        async with producer(cluster, batch_size=300, compression_type=random.choice(["none", "lz4"])) as sender:
            for number in range(200):
                for partition in range(2):
                    await sender.send("lines", b"%04d" % number, partition=partition)
        cluster.latency_s = lambda: random.uniform(0, 0.01)
        expected = {0: 0, 1: 0}
        paused: set[int] = set()

        def note(record: Any) -> None:
            assert record.partition not in paused
            assert (record.offset, record.value) == (expected[record.partition], b"%04d" % record.offset)
            expected[record.partition] += 1

        async with consumer(cluster, "lines", max_partition_fetch_bytes=700, max_poll_records=50) as reader:
            await reader.poll(timeout=1, max_records=1)
            reader.seek_to_beginning()
            for kind, detail in plan:
                match kind:
                    case "poll":
                        for record in await reader.poll(timeout=0.3, max_records=detail):
                            note(record)
                    case "iterate":
                        try:
                            async with asyncio.timeout(0.3):
                                for _ in range(detail):
                                    note(await anext(reader))
                        except TimeoutError:
                            pass
                    case "seek":
                        reader.seek(("lines", detail % 2), detail)
                        expected[detail % 2] = detail
                    case "pause":
                        reader.pause(("lines", detail))
                        paused.add(detail)
                    case "resume":
                        reader.resume(("lines", detail))
                        paused.discard(detail)
                    case "move":
                        cluster.move_leader("lines", detail % 2, detail)
                    case "sleep":
                        await asyncio.sleep(detail / 1_000)
                    case "kill":
                        cluster.down.add(detail)
                    case "heal":
                        cluster.down.clear()
            cluster.down.clear()
            reader.resume()
            paused.clear()
            for _ in range(200):
                for record in await reader.poll(timeout=1):
                    note(record)
                if expected == {0: 200, 1: 200}:
                    break
            assert expected == {0: 200, 1: 200}

    run(story, seed=seed)


def test_a_batch_of_more_headers_than_may_be_is_named_and_can_be_passed() -> None:
    async def story() -> None:
        cluster = await filled(numbers(0, 1))
        place = cluster.partition("lines")
        bomb = encode_batch([Record(0, 0, None, b"x", (Header("", None),) * 500_001)], compression=Compression.ZSTD)
        assert len(bomb) < 1_000
        patch(bomb, 0, 1, 1)
        place.batches.append(bytes(bomb))
        place.end_offset = 2
        async with producer(cluster) as sender:
            await sender.send("lines", b"after")
        async with consumer(cluster, "lines") as reader:
            assert await read(reader, 1) == numbers(0, 1)
            with pytest.raises(CorruptRecordError, match=r"lines-0 at offset 1: .* headers"):
                await read(reader, 1)
            reader.seek(PLACE, 2)
            assert await read(reader, 1) == [b"after"]

    run(story)
