"""What members of a group commit, and when, against the broker's own coordinator on virtual time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from broker.coordinator.core import Producer
from broker.coordinator.groups.commands import (
    CommitOffsetsInTransaction,
    LeaveGroup,
    MemberKey,
    OffsetToCommit,
)
from kraftpy.aio import Consumer
from kraftpy.client.starting import LogTruncatedError
from kraftpy.client.values import OffsetAndMetadata, TopicPartition
from kraftpy.errors import (
    CommitFailedError,
    CoordinatorLoadInProgressError,
    InvalidTopicError,
    KraftpyError,
    NotCoordinatorError,
    OffsetMetadataTooLargeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
    UnknownServerError,
    UnknownTopicOrPartitionError,
)
from tests.client.fake_broker import FakeCluster
from tests.client.fake_groups import AT_ONCE, FakeGroups
from tests.client.membership import cluster_with, fill, member, settle, shares
from tests.client.support import admin, producer, run


def test_kip_320_who_takes_over_from_a_commit_does_not_believe_an_older_leader() -> None:
    """The leader of epoch 1 has six records. It was cut off; that of epoch 2 has four more, which are committed."""

    async def story(commit: Callable[[Consumer, list[Any]], Awaitable[None]]) -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 6)
        before = replace(cluster.partition("lines"))
        before.batches = before.batches[:]
        cluster.move_leader("lines", 0, 2)
        await fill(cluster, "lines", 4)
        async with member(cluster, "lines", auto_commit=False) as reader:
            records: list[Any] = []
            while len(records) < 10:
                records += await reader.poll(timeout=1)
            await commit(reader, records)
        after, cluster.topics["lines"] = cluster.topics["lines"], [before]
        async with member(cluster, "lines", auto_offset_reset="earliest") as successor:
            assert await settle(successor) == []
            cluster.topics["lines"] = after
            await fill(cluster, "lines", 1)
            (record,) = await successor.poll(timeout=5)
            assert (record.offset, record.leader_epoch) == (10, 2)
        groups.stop()

    run(lambda: story(lambda reader, _: reader.commit()))
    run(lambda: story(lambda reader, records: reader.commit(records)))


def test_auto_commit_at_its_interval_before_a_rebalance_and_on_close() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=2)
        await fill(cluster, "lines", 20)
        place = TopicPartition("lines", 0)
        one = member(cluster, "lines", auto_commit_interval_ms=1_000, max_poll_records=4)
        records: list[Any] = []
        while not records:
            records = await one.poll(timeout=1)
        look = member(cluster, group_id="g")
        assert (await look.committed([place]))[place] is None, "nothing was processed yet, as far as anybody knows"
        await asyncio.sleep(1.1)
        await one.poll(timeout=1)
        await asyncio.sleep(0.1)
        committed = await look.committed([("lines", 0), ("lines", 1)])
        assert sum(found.offset for found in committed.values() if found) == len(records)
        two = member(cluster, "lines", max_poll_records=4)
        taken = len(records) + 4
        more = await settle(one, two, until=lambda: sorted(map(len, shares(one, two))) == [1, 1])
        taken += len(more)
        await one.close()
        await two.close()
        committed = await look.committed([("lines", 0), ("lines", 1)])
        assert sum(found.offset for found in committed.values() if found) == taken, "nothing twice, nothing left out"
        await look.close()
        groups.stop()

    run(story)


@pytest.mark.parametrize(("auto_commit", "offsets"), [(True, [5, 5]), (False, [None, None])])
def test_what_was_read_of_a_partition_is_committed_when_another_is_assigned(
    auto_commit: bool, offsets: list[int | None]
) -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=2)
        await fill(cluster, "lines", 10)
        places = [TopicPartition("lines", partition) for partition in range(2)]
        async with member(cluster, auto_commit=auto_commit) as reader:
            for place in places:
                reader.assign([place])
                assert len(await reader.poll(timeout=5)) == 5
        async with member(cluster) as look:
            committed = await look.committed(places)
        assert [found and found.offset for found in committed.values()] == offsets
        groups.stop()

    run(story)


def test_an_automatic_commit_that_failed_is_made_good_though_nothing_new_comes() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 3)
        place = TopicPartition("lines", 0)
        settings = {"auto_commit_interval_ms": 1_000, "request_timeout_ms": 2_000}
        reader = member(cluster, "lines", **settings)
        await settle(reader, until=lambda: bool(reader.assignment()))
        groups.refuse("CommitOffsets", *[CoordinatorLoadInProgressError() for _ in range(1_000)])
        await settle(reader, turns=60)
        groups.faults.clear()
        await settle(reader, turns=40)
        assert (await reader.committed([place]))[place] == OffsetAndMetadata(3, leader_epoch=1)
        await reader.close()
        groups.stop()

    run(story)


@pytest.mark.parametrize("is_asked", [False, True])
def test_where_the_committed_offset_is_refused_nothing_else_decides(is_asked: bool) -> None:
    """The user hears of it, and who polls on begins where the group stands, not where auto_offset_reset says."""

    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 10)
        place = TopicPartition("lines", 0)
        async with member(cluster) as earlier:
            await earlier.commit({place: 3})
        groups.refuse("FetchOffsets", UnknownServerError())
        async with member(cluster, "lines", auto_offset_reset="latest") as reader:
            with pytest.raises(UnknownServerError):
                await settle(reader)
            if is_asked:
                assert await reader.position(place) == 3
            assert [record.offset for record in await settle(reader, turns=30)] == list(range(3, 10))
        groups.stop()

    run(story)


def test_kip_211_a_reader_by_hand_keeps_its_offsets_while_nothing_new_comes() -> None:
    """A group without members is known by its commits alone: what is not committed again is forgotten in the end."""

    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.create("lines", 1)
        groups = FakeGroups(
            cluster, replace(AT_ONCE, offsets_retention_ms=20_000, offsets_retention_check_interval_ms=1_000)
        )
        await asyncio.sleep(0.1)
        await fill(cluster, "lines", 3)
        place = TopicPartition("lines", 0)
        reader = member(cluster, auto_commit_interval_ms=5_000)
        reader.assign([place])
        await settle(reader, turns=20)
        groups.calls.clear()
        await settle(reader, turns=600)
        assert (await reader.committed([place]))[place] == OffsetAndMetadata(3, leader_epoch=1)
        assert [method for _, method in groups.calls].count("CommitOffsets") == 12, "once an interval"
        await reader.close()
        groups.stop()

    run(story)


def test_a_topic_that_is_deleted_under_a_group_holds_up_nobody() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1, others=1)
        await fill(cluster, "lines", 3)
        await fill(cluster, "others", 3)
        loop = asyncio.get_running_loop()
        async with member(cluster, "lines", "others") as reader:
            while len(await settle(reader, turns=1)) == 0 or len(reader.assignment()) < 2:
                pass
            await settle(reader, turns=20)
            del cluster.topics["others"]
            for _ in range(200):
                began = loop.time()
                await reader.poll(timeout=0.1)
                assert loop.time() - began < 2
            assert reader.assignment() == [TopicPartition("lines", 0)]
            committed = await reader.committed([("lines", 0)])
            assert committed[TopicPartition("lines", 0)] == OffsetAndMetadata(3, leader_epoch=1)
        groups.stop()

    run(story)


def test_a_commit_of_a_topic_that_is_gone_is_refused_and_of_the_others_done() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1, others=1)
        lines, others = TopicPartition("lines", 0), TopicPartition("others", 0)
        async with member(cluster, auto_commit=False) as reader:
            reader.assign([lines, others])
            await reader.poll(timeout=1)
            del cluster.topics["others"]
            with pytest.raises(UnknownTopicOrPartitionError, match="others-0"):
                await reader.commit({lines: 2, others: 2}, timeout=5)
            reader.commit_async({others: 3})
            await reader.commit({lines: 3}, timeout=5)
            assert (await reader.committed([lines]))[lines] == OffsetAndMetadata(3)
        groups.stop()

    run(story)


def test_who_subscribes_again_commits_by_itself_as_before() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 3)
        place = TopicPartition("lines", 0)
        async with member(cluster) as other, member(cluster, "lines", auto_commit_interval_ms=5_000) as reader:
            await settle(reader, turns=60)
            await reader.unsubscribe()
            await other.commit({place: 0})
            reader.subscribe("lines")
            await settle(reader, turns=100)
            assert (await reader.committed([place]))[place] == OffsetAndMetadata(3, leader_epoch=1)
        groups.stop()

    run(story)


def test_a_commit_for_what_no_topic_is_called_is_refused_at_once() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        async with member(cluster) as reader:
            reader.assign([("lines", 0)])
            with pytest.raises(InvalidTopicError):
                await reader.commit({("\ud800", 0): 1})
            with pytest.raises(InvalidTopicError):
                reader.commit_async({("no name", 0): 1})
            await reader.commit({("lines", 0): 1}, timeout=1)
        groups.stop()

    run(story)


def test_iterating_in_a_group_commits_what_was_handed_out() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 10)
        async with member(cluster, "lines", auto_commit_interval_ms=1_000) as reader:
            async for record in reader:
                await asyncio.sleep(0.3)
                if record.offset == 6:
                    break
        async with member(cluster) as look:
            found = await look.committed([("lines", 0)])
            assert found[TopicPartition("lines", 0)] == OffsetAndMetadata(7, leader_epoch=1)
        groups.stop()

    run(story)


def test_asynchronous_commits_keep_their_order() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        place = TopicPartition("lines", 0)
        told: list[tuple[int, bool]] = []
        async with member(cluster, auto_commit=False) as reader:
            reader.assign([place])
            groups.refuse("CommitOffsets", NotCoordinatorError(), CoordinatorLoadInProgressError())
            for offset in range(1, 6):
                reader.commit_async({place: offset}, lambda offsets, error: told.append((offsets[place][0], not error)))
                await asyncio.sleep(0.03)
            await reader.commit({place: 9})
            assert told == [(offset, True) for offset in range(1, 6)]
            assert (await reader.committed([place]))[place] == OffsetAndMetadata(9)
            groups.refuse("CommitOffsets", OffsetMetadataTooLargeError())
            reader.commit_async({place: 10}, lambda offsets, error: told.append((offsets[place][0], not error)))
        assert told[-1] == (10, False), "callbacks are not lost on close"
        groups.stop()

    run(story)


def test_a_commit_that_waits_is_not_sent_for_a_partition_that_was_given_up() -> None:
    """Found by the simulation, `groups` seed 2008: it was, by the member's next generation, over its successor's."""

    async def story() -> None:
        cluster, groups = await cluster_with(lines=2)
        told: list[KraftpyError | None] = []
        one, two = member(cluster, "lines", auto_commit=False), member(cluster, "lines", auto_commit=False)
        await settle(one, until=lambda: len(one.assignment()) == 2)
        groups.refuse("CommitOffsets", *[CoordinatorLoadInProgressError() for _ in range(1_000)])
        one.commit_async({("lines", 0): 5, ("lines", 1): 5}, lambda offsets, error: told.append(error))
        await settle(one, two, until=lambda: shares(one, two) in ([[0], [1]], [[1], [0]]))
        groups.faults.clear()
        for number, reader in enumerate((one, two)):
            await reader.commit(dict.fromkeys(reader.assignment(), 10 + number))
        await settle(one, two, turns=40)
        found = await one.committed([TopicPartition("lines", index) for index in range(2)])
        assert sorted(each.offset for each in found.values() if each is not None) == [10, 11]
        assert isinstance(told[0], CommitFailedError) and len(told) == 1
        await one.close()
        await two.close()
        groups.stop()

    run(story)


def test_kip_447_who_has_lost_its_place_says_who_it_was() -> None:
    """Found by the simulation, with groups of transactions: its offsets went into a transaction as a nameless client's,
    which nobody fences, when its heartbeat had been refused before the program sent them."""

    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        reader = member(cluster, "lines", auto_commit=False)
        await settle(reader, until=lambda: bool(reader.assignment()))
        known = reader.group_metadata()
        assert known.member_id and known.generation == 1
        await groups.submit("g", LeaveGroup("g", (MemberKey(known.member_id, None),), ""))
        await asyncio.sleep(10)
        assert reader.group_metadata() == known
        offsets = (OffsetToCommit("lines", 0, 5),)
        who = MemberKey(known.member_id, None)
        late = CommitOffsetsInTransaction("g", Producer(9, 0), offsets, who, known.generation)
        other = member(cluster, "lines", auto_commit=False)
        await settle(other, until=lambda: bool(other.assignment()))
        with pytest.raises(UnknownMemberIdError):
            await groups.submit("g", late)
        await settle(reader, other, until=lambda: reader.group_metadata().member_id != known.member_id)
        await reader.unsubscribe()
        assert reader.group_metadata().generation == -1
        await reader.close()
        await other.close()
        groups.stop()

    run(story)


def test_who_commits_in_transactions_and_by_itself_is_warned_once(caplog: pytest.LogCaptureFixture) -> None:
    """What the transaction takes back when it is aborted, auto-commit would have committed."""

    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        with caplog.at_level(logging.WARNING):
            careful = member(cluster, "lines", enable_auto_commit=False)
            careful.group_metadata()
            assert "enable_auto_commit" not in caplog.text
            careless = member(cluster, "lines")
            careless.group_metadata()
            careless.group_metadata()
        assert caplog.text.count("enable_auto_commit=False") == 1
        await careful.close()
        await careless.close()
        groups.stop()

    run(story)


def test_a_commit_too_late_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=2)
        await fill(cluster, "lines", 4)
        lost: list[list[TopicPartition]] = []
        slow = member(cluster, max_poll_interval_ms=10_000, session_timeout_ms=9_000, auto_commit=False)
        slow.subscribe(["lines"], on_lost=lost.append)
        other = member(cluster, "lines", auto_commit=False)
        await settle(slow, until=lambda: len(slow.assignment()) == 2)
        with caplog.at_level(logging.WARNING):
            for _ in range(15):
                await asyncio.sleep(1)
                await other.poll(timeout=0.1)
        assert "max_poll_interval_ms (10000)" in caplog.text
        await settle(other, until=lambda: len(other.assignment()) == 2)
        with pytest.raises(CommitFailedError, match="raise max_poll_interval_ms"):
            await slow.commit({("lines", 0): 2})
        assert not lost, "only poll() takes partitions away"
        await slow.poll(timeout=0.1)
        assert [len(places) for places in lost] == [2]
        await settle(slow, other, until=lambda: sorted(map(len, shares(slow, other))) == [1, 1])
        await slow.close()
        await other.close()
        groups.stop()

    run(story)


def test_a_commit_during_a_rebalance() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=2)
        one = member(cluster, "lines", auto_commit=False)
        await settle(one, until=lambda: len(one.assignment()) == 2)
        groups.refuse("CommitOffsets", RebalanceInProgressError())
        with pytest.raises(RebalanceInProgressError, match="call poll"):
            await one.commit({("lines", 0): 0})
        await one.close()
        groups.stop()

    run(story)


def test_a_callback_of_a_commit_that_fails_takes_no_records_with_it() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 6)
        reader = member(cluster, "lines", max_poll_records=2, enable_auto_commit=False)
        records: list[Any] = []
        while not records:
            records = await reader.poll(timeout=1)

        def fail(offsets: Any, error: Any) -> None:
            raise ValueError("the program's")

        reader.commit_async(callback=fail)
        failures = 0
        for _ in range(20):
            try:
                records += await reader.poll(timeout=0.5)
            except ValueError:
                failures += 1
        assert failures == 1
        assert [record.offset for record in records] == list(range(6))
        await reader.close()
        groups.stop()

    run(story)


@pytest.mark.parametrize(
    ("offsets", "error"),
    [
        ({("lines", "0"): 5}, TypeError),
        ({("lines", 0): "5"}, TypeError),
        ({("lines", 0): OffsetAndMetadata(5, {"who": "me"})}, TypeError),  # type: ignore[arg-type]
        ({("lines", 0): OffsetAndMetadata(5, "\udc80")}, ValueError),
        ({("lines", 0): 2**63}, ValueError),
        ({("lines", 0): OffsetAndMetadata(5, leader_epoch=2**31)}, ValueError),
        ({("lines", 0): -1}, ValueError),
        ({("lines", -1): 5}, ValueError),
    ],
)
def test_what_cannot_be_committed_is_refused_at_once_and_stops_no_other_commit(
    offsets: Any, error: type[Exception]
) -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 3)
        reader = member(cluster, "lines", enable_auto_commit=False)
        await settle(reader, until=lambda: bool(reader.assignment()))
        with pytest.raises(error):
            reader.commit_async(offsets)
        with pytest.raises(error):
            await reader.commit(offsets)
        await reader.commit({("lines", 0): 2})
        assert (await reader.committed([("lines", 0)]))[TopicPartition("lines", 0)] == OffsetAndMetadata(2)
        await reader.close()
        groups.stop()

    run(story)


def test_a_topic_that_there_is_not_is_named_soon_and_no_time_out() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        async with member(cluster, "lines") as reader:
            await settle(reader, until=lambda: bool(reader.assignment()))
            async with asyncio.timeout(10):
                with pytest.raises(UnknownTopicOrPartitionError):
                    await reader.commit({("misspelt", 0): 3})
        async with admin(cluster) as client:
            altering = asyncio.create_task(client.alter_group_offsets("other", {("misspelt", 0): 3}, timeout=5))
            await asyncio.sleep(2)
            cluster.silent |= set(cluster.nodes)  # for the last attempt, which has little time in any case
            with pytest.raises(UnknownTopicOrPartitionError):
                await altering
        groups.stop()

    run(story)


@pytest.mark.parametrize("auto_offset_reset", ["earliest", "none"])
def test_kip_320_who_takes_over_from_a_commit_hears_that_the_log_was_cut(auto_offset_reset: str) -> None:
    """An unclean election takes back records that are committed as processed; others are written in their place."""

    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        place = TopicPartition("lines", 0)
        async with producer(cluster, batch_size=1) as sender:
            for number in range(10):
                await sender.send("lines", b"old %d" % number)
        async with member(cluster, "lines") as reader:
            assert len(await settle(reader, turns=60)) == 10
        cluster.partition("lines").cut(6)
        cluster.move_leader("lines", 0, 2)
        async with producer(cluster, batch_size=1) as sender:
            for number in range(12):
                await sender.send("lines", b"new %d" % number)
        async with member(cluster, "lines", auto_offset_reset=auto_offset_reset) as successor:
            if auto_offset_reset == "none":
                with pytest.raises(LogTruncatedError, match="truncated to offset 6"):
                    await settle(successor, turns=60)
                successor.seek(place, 6)
            records = await settle(successor, turns=60)
            assert [record.value for record in records] == [b"new %d" % number for number in range(12)]
        groups.stop()

    run(story)


def test_kip_320_a_committed_epoch_whose_leader_wrote_nothing_cuts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The offset is the end of a log that its new leader has not written to; the next one knows no such epoch."""

    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 6)
        cluster.move_leader("lines", 0, 2)
        place = TopicPartition("lines", 0)
        async with member(cluster, "lines", auto_offset_reset="latest") as reader:
            await settle(reader, turns=60)
        async with member(cluster) as look:
            assert (await look.committed([place]))[place] == OffsetAndMetadata(6, leader_epoch=2)
        cluster.move_leader("lines", 0, 3)
        await fill(cluster, "lines", 1)
        async with member(cluster, "lines", auto_offset_reset="none") as successor:
            assert [record.offset for record in await settle(successor, turns=60)] == [6]
        groups.stop()

    run(story)
    assert "truncated" not in caplog.text


def test_who_would_wait_for_ever_may() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        place = TopicPartition("lines", 0)
        async with member(cluster) as reader:
            reader.assign([place])
            await reader.commit({place: 3}, timeout=inf)
            assert (await reader.committed([place], timeout=inf))[place] == OffsetAndMetadata(3)
        groups.stop()

    run(story)


async def asks(reader: Consumer, record: Any) -> None:
    place = TopicPartition(record.topic, record.partition)
    assert await reader.position(place) == record.offset + 1
    assert place in reader.assignment() and reader.paused() == [] and reader.high_watermark(place) == 100
    reader.resume()
    await reader.committed([place])


async def commits_it(reader: Consumer, record: Any) -> None:
    await reader.commit(record)


async def commits_where_it_stands(reader: Consumer, record: Any) -> None:
    await reader.commit()


@pytest.mark.parametrize("call", [asks, commits_it, commits_where_it_stands])
def test_a_call_for_each_record_of_an_iteration_takes_none_of_them_twice(call: Any) -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=2)
        await fill(cluster, "lines", 200)
        async with member(cluster, "lines", auto_commit=False) as reader, member(cluster) as look:
            seen: dict[TopicPartition, int] = dict.fromkeys((TopicPartition("lines", 0), TopicPartition("lines", 1)), 0)
            await reader.poll(timeout=0)
            assert reader._consuming is not None
            fetcher, takes = reader._consuming.fetcher, 0
            take = fetcher.take

            def counted(count_max: int) -> list[Any]:
                nonlocal takes
                records = take(count_max)
                takes += bool(records)
                return records

            fetcher.take = counted  # type: ignore[method-assign]
            while sum(seen.values()) < 200:
                record = await anext(reader)
                place = TopicPartition(record.topic, record.partition)
                assert record.offset == seen[place]
                seen[place] += 1
                await call(reader, record)
                if call is not asks:
                    found = (await look.committed([place]))[place]
                    assert found == OffsetAndMetadata(seen[place], leader_epoch=1)
            assert takes <= 4
        groups.stop()

    run(story)
