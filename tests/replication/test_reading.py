"""Fetches as a leader serves them: limits, turns, sessions."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from types import SimpleNamespace
from uuid import UUID

import pytest

from broker.metadata.records import PartitionRecord
from broker.replication.config import ReplicationConfig
from broker.replication.fetch_types import (
    NEW_SESSION_EPOCH,
    FetchAnswer,
    FetchQuery,
    FetchTarget,
    ForgottenPartition,
    IsolationLevel,
    OffsetSpec,
    OffsetsQuery,
    OffsetTarget,
)
from broker.replication.sessions import EVICTABLE_AFTER_MS, PARTITIONS_MAX, Sessions
from kraftpy.errors import (
    FetchSessionIdNotFoundError,
    InvalidFetchSessionEpochError,
    InvalidRequestError,
    OffsetOutOfRangeError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from kraftpy.record import Record, encode_batch
from log_store.integrity import Damage
from tests.replication.cluster import TOPIC, Cluster, play


def target(cluster: Cluster, partition: int, offset: int = 0, max_bytes: int = 1 << 20) -> FetchTarget:
    return FetchTarget(cluster.controller.image.topic_ids[TOPIC], TOPIC, partition, -1, offset, -1, -1, max_bytes)


def query(*targets: FetchTarget, max_bytes: int = 1 << 20, session: tuple[int, int] = (0, -1)) -> FetchQuery:
    uncommitted = IsolationLevel.READ_UNCOMMITTED
    return FetchQuery(
        -1, -1, 0, 1, max_bytes, uncommitted, list(targets), session_id=session[0], session_epoch=session[1]
    )


def sizes(answer: FetchAnswer) -> dict[int, int]:
    return {each.target.partition: each.size_bytes for each in answer.partitions}


async def fill(cluster: Cluster, partitions: int, batches: int = 1) -> int:
    """Partitions 0 … with batches of one size, all led by broker 1; gives that size."""
    topic_id = cluster.controller.image.topic_ids[TOPIC]
    cluster.controller.commit(
        *[PartitionRecord(topic_id, index, (1, 2, 3), (1, 2, 3), 1, 0, 0) for index in range(1, partitions)]
    )
    await cluster.until(lambda: len(cluster.brokers[1].replicas.describe()) == partitions)
    cluster.sent = 1_000  # values of one length
    for _ in range(batches):
        for index in range(partitions):
            assert (await cluster.produce(1, index)).error is None
    return cluster.replica(1).log.size_bytes // batches


def test_the_first_batch_is_sent_however_small_the_limits_are() -> None:
    async def story(cluster: Cluster) -> None:
        size = await fill(cluster, 2, batches=3)
        one = query(target(cluster, 0, max_bytes=1), target(cluster, 1), max_bytes=1)
        assert sizes(await cluster.fetch(1, one)) == {0: size, 1: 0}
        two = query(target(cluster, 0, max_bytes=2 * size), target(cluster, 1), max_bytes=3 * size)
        assert sizes(await cluster.fetch(1, two)) == {0: 2 * size, 1: size}
        narrow = query(target(cluster, 0), target(cluster, 1, max_bytes=size - 1), max_bytes=100 * size)
        assert sizes(await cluster.fetch(1, narrow)) == {0: 3 * size, 1: 0}
        opening = query(target(cluster, 0, max_bytes=0), max_bytes=1, session=(0, NEW_SESSION_EPOCH))
        opened = await cluster.fetch(1, opening)
        assert sizes(opened) == {0: size}
        further = query(target(cluster, 0, 1, max_bytes=0), max_bytes=1, session=(opened.session_id, 1))
        assert sizes(await cluster.fetch(1, further)) == {0: size}

    play(story)


def test_without_a_session_every_target_is_answered_in_order() -> None:
    async def story(cluster: Cluster) -> None:
        await fill(cluster, 3)
        unknown = target(cluster, 0)._replace(topic_id=UUID(int=5), topic="")
        nameless = target(cluster, 0)._replace(topic_id=None, topic="nothing")
        asked = [
            target(cluster, 2, 1),
            unknown,
            target(cluster, 0, 99),
            nameless,
            target(cluster, 1),
            target(cluster, 7),
        ]
        answer = await cluster.fetch(1, query(*asked))
        assert [each.target for each in answer.partitions] == asked
        assert [each.error for each in answer.partitions] == [
            None,
            UnknownTopicIdError,
            OffsetOutOfRangeError,
            UnknownTopicOrPartitionError,
            None,
            UnknownTopicOrPartitionError,
        ]

    play(story)


def test_a_session_tells_only_what_has_something_to_say() -> None:
    async def story(cluster: Cluster) -> None:
        await fill(cluster, 3)
        opening = query(*[target(cluster, index, 1) for index in range(3)], session=(0, NEW_SESSION_EPOCH))
        opened = await cluster.fetch(1, opening)
        session = opened.session_id
        assert session and sizes(opened) == {0: 0, 1: 0, 2: 0}, "a new session names everything once"
        assert sizes(await cluster.fetch(1, query(session=(session, 1)))) == {}
        await cluster.produce(1, 1)
        answer = await cluster.fetch(1, query(session=(session, 2)))
        assert list(sizes(answer)) == [1]
        again = await cluster.fetch(1, query(session=(session, 3)))
        assert sizes(again) == sizes(answer), "it was not asked for from further on, so it may have been lost"
        assert sizes(await cluster.fetch(1, query(target(cluster, 1, 2), session=(session, 4)))) == {}
        forgotten = ForgottenPartition(cluster.controller.image.topic_ids[TOPIC], TOPIC, 2)
        await cluster.fetch(1, query(session=(session, 5))._replace(forgotten=[forgotten]))
        await cluster.produce(1, 2)
        assert sizes(await cluster.fetch(1, query(session=(session, 6)))) == {}

    play(story)


def test_news_that_a_follower_passed_over_are_told_again() -> None:
    """Found by the simulated cluster (cluster-wiped, seed 40343): a follower's high watermark stayed behind."""

    async def story(cluster: Cluster) -> None:
        await fill(cluster, 1, batches=3)
        follower = target(cluster, 0, 3)._replace(log_start_offset=0)
        opening = query(follower._replace(high_watermark=1), session=(0, NEW_SESSION_EPOCH))
        opened = await cluster.fetch(1, opening)
        assert [each.high_watermark for each in opened.partitions] == [3]
        session = opened.session_id
        assert (await cluster.fetch(1, query(session=(session, 1)))).partitions == [], "it was told"
        behind = query(follower._replace(high_watermark=2), session=(session, 2))
        assert [each.high_watermark for each in (await cluster.fetch(1, behind)).partitions] == [3]
        knowing = query(follower._replace(high_watermark=3), session=(session, 3))
        assert (await cluster.fetch(1, knowing)).partitions == []

    play(story)


def test_news_of_a_fetch_that_a_later_one_has_overtaken_do_not_count_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both wait for a disk, and the later one says that the follower's log has moved: it passes over the earlier."""

    async def story(cluster: Cluster) -> None:
        await fill(cluster, 2, batches=3)
        known = [target(cluster, at, 3)._replace(log_start_offset=0, high_watermark=3) for at in range(2)]
        opened = await cluster.fetch(1, query(*known, session=(0, NEW_SESSION_EPOCH)))
        session = opened.session_id
        assert (await cluster.fetch(1, query(session=(session, 1)))).partitions == []

        await cluster.produce(1, 1)
        reading, cold, may_read = cluster.brokers[1].replicas._reading, cluster.replica(1, 1), asyncio.Event()

        async def run(work: object) -> Sequence[Damage]:
            await may_read.wait()
            return ()

        monkeypatch.setattr(cold, "prefetch", lambda *_: cold.log.prefetch(0, 1_000, cached_too=True, newest_too=True))
        monkeypatch.setattr(reading, "_disk", SimpleNamespace(run=run))
        fetches = [query(session=(session, 2)), query(known[0]._replace(high_watermark=2), session=(session, 3))]
        waiting = [cluster.in_lane(1, cluster.brokers[1].replicas.fetch(each)) for each in fetches]
        await asyncio.sleep(0.01)
        may_read.set()
        earlier, later = [await each for each in waiting]
        assert {each.target.partition: each.high_watermark for each in later.partitions} == {0: 3, 1: 4}
        assert sizes(earlier) == sizes(later)
        assert list(sizes(await cluster.fetch(1, query(session=(session, 4))))) == [1], "the other was told"

    play(story)


def test_a_follower_counts_that_knew_of_a_leadership_before_its_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its fetch is too early to count, and waits for a disk; when it is answered there is nothing that it lacks."""

    async def story(cluster: Cluster) -> None:
        await fill(cluster, 2)
        await cluster.until(lambda: cluster.in_sync(1, 2, 3) and cluster.same_logs(1, 3))
        cluster.crash(3)
        replicas, leader, cold = cluster.brokers[1].replicas, cluster.replica(1), cluster.replica(1, 1)
        may_read = asyncio.Event()

        async def run(work: object) -> Sequence[Damage]:
            await may_read.wait()
            return ()

        def asked(*targets: FetchTarget, session: tuple[int, int]) -> FetchQuery:
            epoch = cluster.controller.image.brokers[3].epoch
            return query(*targets, session=session)._replace(replica_id=3, replica_epoch=epoch)

        known = [target(cluster, at, 1)._replace(log_start_offset=0, high_watermark=1) for at in range(2)]
        session = (await cluster.fetch(1, asked(*known, session=(0, NEW_SESSION_EPOCH)))).session_id
        await cluster.produce(1, 1, acks=1)
        monkeypatch.setattr(cold, "prefetch", lambda *_: cold.log.prefetch(0, 1_000, cached_too=True, newest_too=True))
        monkeypatch.setattr(replicas._reading, "_disk", SimpleNamespace(run=run))
        next_epoch = leader.state.leader_epoch + 1
        early = known[0]._replace(current_leader_epoch=next_epoch)
        fetching = cluster.in_lane(1, replicas.fetch(asked(early, session=(session, 1))))
        await asyncio.sleep(0.01)
        cluster.controller.change(leader=1)
        await cluster.until(lambda: leader.state.leader_epoch == next_epoch)
        may_read.set()
        await fetching
        await cluster.fetch(1, asked(session=(session, 2)))
        assert leader.leadership is not None and leader.leadership.followers[3].end_offset == 1

    play(story)


def test_a_session_goes_round_among_busy_partitions() -> None:
    async def story(cluster: Cluster) -> None:
        size = await fill(cluster, 3, batches=8)
        opening = query(*[target(cluster, at) for at in range(3)], max_bytes=size, session=(0, NEW_SESSION_EPOCH))
        opened = await cluster.fetch(1, opening)
        served, offsets = [0], [1, 0, 0]
        moved = target(cluster, 0, 1)
        for epoch in range(1, 6):
            answer = await cluster.fetch(1, query(moved, max_bytes=size, session=(opened.session_id, epoch)))
            index = next(index for index, size_bytes in sizes(answer).items() if size_bytes)
            served.append(index)
            offsets[index] += 1
            moved = target(cluster, index, offsets[index])
        assert sorted(served[:3]) == [0, 1, 2] and sorted(served[3:]) == [0, 1, 2]

    play(story)


@pytest.mark.parametrize("is_committed", [False, True], ids=["uncommitted", "committed"])
@pytest.mark.parametrize(
    ("answer_batches", "partition_batches"), [(1.5, 100), (100, 0.9), (2.5, 1.5)], ids=["answer", "partition", "both"]
)
def test_a_session_comes_back_to_what_did_not_fit(
    answer_batches: float, partition_batches: float, is_committed: bool
) -> None:
    """A first batch that was larger than what was left of an answer was forgotten, and its partition with it."""

    async def story(cluster: Cluster) -> None:
        size = await fill(cluster, 4, batches=3)
        offsets = [0] * 4
        asked = query(max_bytes=int(answer_batches * size))
        if is_committed:
            asked = asked._replace(isolation_level=IsolationLevel.READ_COMMITTED)
        session_id, moved = 0, list(range(4))
        for epoch in range(12):
            targets = [target(cluster, at, offsets[at], int(partition_batches * size)) for at in moved]
            fetch = asked._replace(partitions=targets, session_id=session_id, session_epoch=epoch)
            answer = await cluster.fetch(1, fetch)
            session_id, served = answer.session_id, sizes(answer)
            moved = [at for at, size_bytes in served.items() if size_bytes]
            assert moved, f"{offsets} of 3 in each partition, and nothing comes"
            for at in moved:
                offsets[at] += served[at] // size
            if offsets == [3] * 4:
                return
        raise AssertionError(f"after 12 fetches it has come to {offsets}")

    play(story)


def test_who_has_more_than_fits_does_not_wait_for_more() -> None:
    async def story(cluster: Cluster) -> None:
        size = await fill(cluster, 2)
        loop = asyncio.get_running_loop()
        asked = query(*[target(cluster, at) for at in range(2)], max_bytes=3 * size // 2)
        began = loop.time()
        answer = await cluster.fetch(1, asked._replace(min_bytes=3 * size // 2, max_wait_ms=500))
        assert sizes(answer) == {0: size, 1: 0} and loop.time() - began < 0.4
        narrow = [target(cluster, 0, 1), target(cluster, 1, max_bytes=1)]
        waits = query(*narrow)._replace(min_bytes=2 * size, max_wait_ms=500)
        began = loop.time()
        assert sizes(await cluster.fetch(1, waits)) == {0: 0, 1: size} and loop.time() - began > 0.4, "there is room"

    play(story)


def test_a_follower_that_returns_catches_up_with_whatever_does_not_fit_into_one_answer() -> None:
    async def story(cluster: Cluster) -> None:
        await fill(cluster, 6)
        await cluster.stop(3)
        cluster.controller.fence(3)
        for _ in range(20):
            for index in range(6):
                assert (await cluster.produce(1, index)).error is None
        await cluster.start(3)
        for index in range(6):
            await cluster.until(lambda index=index: cluster.in_sync(1, 2, 3, partition=index), within_ms=5_000)  # type: ignore[misc]
            assert cluster.same_logs(1, 3, partition=index)

    play(story, config=ReplicationConfig(fetch_response_bytes_max=250, fetch_partition_bytes_max=180))


def test_wrong_session_ids_and_epochs_are_refused() -> None:
    async def story(cluster: Cluster) -> None:
        opened = await cluster.fetch(1, query(target(cluster, 0), session=(0, NEW_SESSION_EPOCH)))
        assert (await cluster.fetch(1, query(session=(opened.session_id, 7)))).error is InvalidFetchSessionEpochError
        assert (await cluster.fetch(1, query(session=(opened.session_id + 1, 1)))).error is FetchSessionIdNotFoundError
        await cluster.fetch(1, query(target(cluster, 0), session=(opened.session_id, -1)))
        assert (await cluster.fetch(1, query(session=(opened.session_id, 1)))).error is FetchSessionIdNotFoundError

    play(story)


def test_the_cache_of_sessions_is_bounded_and_followers_come_first() -> None:
    sessions = Sessions(Random(1), 2, lambda: 1)
    asked = FetchTarget(UUID(int=1), "", 0, -1, 0, -1, -1, 1)
    consumer = query(asked, session=(0, NEW_SESSION_EPOCH))
    first, second, third = (sessions.admit(consumer, now_ms) for now_ms in (0, 1, 2))
    assert first.session_id and second.session_id and not third.session_id
    follower = consumer._replace(replica_id=2)
    assert sessions.admit(follower, 3).session_id
    assert not first.interests, "the longest unused consumer made room"
    assert sessions.admit(follower, 4).session_id and len(sessions) == 2, "its former session has ended"
    assert not sessions.admit(consumer, 5).session_id
    assert sessions.admit(consumer, 5 + EVICTABLE_AFTER_MS).session_id


def test_a_session_grows_no_further_than_there_can_be_partitions() -> None:
    """An unknown one is answered at each fetch: a quarter of a million of them held up everybody for seconds."""

    async def story(cluster: Cluster) -> None:
        def unknown(*numbers: int) -> list[FetchTarget]:
            return [target(cluster, 1_000 + number) for number in range(*numbers)]

        opened = await cluster.fetch(1, query(*unknown(4_000), session=(0, NEW_SESSION_EPOCH)))
        session = opened.session_id
        assert len(opened.partitions) == 4_000
        grown = await cluster.fetch(1, query(*unknown(4_000, PARTITIONS_MAX), session=(session, 1)))
        assert len(grown.partitions) == PARTITIONS_MAX
        assert len((await cluster.fetch(1, query(session=(session, 2)))).partitions) == PARTITIONS_MAX
        refused = await cluster.fetch(1, query(target(cluster, 0), session=(session, 3)))
        assert refused.error is InvalidRequestError
        assert (await cluster.fetch(1, query(session=(session, 4)))).error is FetchSessionIdNotFoundError
        at_once = await cluster.fetch(1, query(*unknown(PARTITIONS_MAX + 1), session=(0, NEW_SESSION_EPOCH)))
        assert at_once.error is InvalidRequestError

    play(story)


def test_a_reader_of_all_partitions_is_never_refused() -> None:
    """Nor while all of them are deleted and made anew, or fewer than it has already are left."""
    present = [30_000]
    sessions = Sessions(Random(1), 2, lambda: present[0])

    def targets(*numbers: int) -> list[FetchTarget]:
        return [FetchTarget(UUID(int=1), "", number, -1, 0, -1, -1, 1) for number in range(*numbers)]

    reader = sessions.admit(query(*targets(30_000), session=(0, NEW_SESSION_EPOCH)), 0)
    sessions.admit(query(*targets(30_000, 60_000), session=(reader.session_id, 1)), 1)
    assert len(reader.interests) == 60_000
    with pytest.raises(InvalidRequestError, match="60001 partitions"):
        sessions.admit(query(*targets(60_001)), 2)
    present[0] = 1
    gone = [ForgottenPartition(UUID(int=1), "", number) for number in range(100)]
    asked = query(*targets(60_000, 60_050), session=(reader.session_id, 2))._replace(forgotten=gone)
    assert sessions.admit(asked, 3) is reader and len(reader.interests) == 59_950


def test_a_session_that_was_opened_before_the_topic_came_wakes_for_it() -> None:
    async def story(cluster: Cluster) -> None:
        topic_id = cluster.controller.image.topic_ids[TOPIC]
        opened = await cluster.fetch(1, query(target(cluster, 1), session=(0, NEW_SESSION_EPOCH)))
        assert opened.partitions[0].error is UnknownTopicOrPartitionError
        cluster.controller.commit(PartitionRecord(topic_id, 1, (1, 2, 3), (1, 2, 3), 1, 0, 0))
        await cluster.until(lambda: len(cluster.brokers[1].replicas.describe()) == 2)
        waiting = cluster.in_lane(
            1,
            cluster.brokers[1].replicas.fetch(query(session=(opened.session_id, 1))._replace(max_wait_ms=20_000)),
        )
        await cluster.produce(1, 1)
        assert sizes(await waiting)[1] > 0

    play(story)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (OffsetSpec.LATEST, (4, -1, 0)),
        (OffsetSpec.EARLIEST, (1, -1, 0)),
        (OffsetSpec.EARLIEST_LOCAL, (1, -1, 0)),
        (OffsetSpec.MAX_TIMESTAMP, (1, 1_000, 0)),
        (OffsetSpec.LATEST_TIERED, (-1, -1, -1)),
        (1_000, (1, 1_000, 0)),
        (1_001, (-1, -1, -1)),
    ],
)
def test_offsets_by_time_and_by_name(asked: int, expected: tuple[int, int, int]) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=4)
        replicas = cluster.brokers[1].replicas
        assert await cluster.in_lane(1, replicas.delete_records(TOPIC, 0, 1, 10_000)) == 1
        with pytest.raises(OffsetOutOfRangeError):
            await cluster.in_lane(1, replicas.delete_records(TOPIC, 0, 5, 10_000))
        asking = OffsetsQuery(-1, IsolationLevel.READ_COMMITTED, [OffsetTarget(TOPIC, 0, -1, asked)])
        found = (await cluster.in_lane(1, replicas.list_offsets(asking)))[0]
        assert (found.error, found.offset, found.timestamp_ms, found.leader_epoch) == (None, *expected)

    play(story)


def test_what_is_read_ahead_is_no_damage_where_the_log_was_cut_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk thread that meets batches of after the cut judges them by the epochs of before."""

    async def story(cluster: Cluster) -> None:
        cluster.world.isolate("n1")
        for _ in range(2):
            await cluster.produce(1, acks=1)
        partition, reading = cluster.replica(1), cluster.brokers[1].replicas._reading
        log, may_read = partition.log, asyncio.Event()
        found: list[Sequence[Damage]] = []

        async def run(work: Callable[[], Sequence[Damage]]) -> Sequence[Damage]:
            await may_read.wait()
            found.append(work())
            return found[-1]

        monkeypatch.setattr(partition, "prefetch", lambda *_: log.prefetch(0, 1_000, cached_too=True, newest_too=True))
        monkeypatch.setattr(reading, "_disk", SimpleNamespace(run=run))
        fetching = asyncio.create_task(cluster.fetch(1, cluster.query(0)))
        await asyncio.sleep(0.01)
        log.truncate(1)
        log.append_replicated(encode_batch([Record(0, 1_000, None, b"v", ())], base_offset=1, leader_epoch=5))
        may_read.set()
        await fetching
        assert any(found) and not log.damages

    play(story)
