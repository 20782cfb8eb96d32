"""Members of a group, against the broker's own coordinator on virtual time."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import chain
from typing import Any

import pytest

from broker.coordinator.groups.commands import (
    LeaveGroup,
    MemberKey,
)
from kraftpy.client.assignors import CooperativeStickyAssignor
from kraftpy.client.values import OffsetAndMetadata, TopicPartition
from kraftpy.errors import (
    ConcurrentUseError,
    ConfigurationError,
    FencedInstanceIdError,
    GroupMaxSizeReachedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    SubscriptionError,
)
from tests.client.membership import COOPERATIVE, cluster_with, fill, member, settle, shares
from tests.client.support import consumer, run


def test_one_member_reads_everything_and_commits_where_it_is() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=3)
        await fill(cluster, "lines", 30)
        async with member(cluster, "lines", auto_commit=False) as reader:
            seen: list[Any] = []
            while len(seen) < 30:
                seen += await reader.poll(timeout=1)
            assert len({record.value for record in seen}) == 30
            assert reader.subscription() == ["lines"]
            places = [TopicPartition("lines", index) for index in range(3)]
            assert await reader.committed(places) == dict.fromkeys(places)
            await reader.commit()
            assert await reader.committed(places) == dict.fromkeys(places, OffsetAndMetadata(10, leader_epoch=1))
            await reader.commit({("lines", 0): OffsetAndMetadata(4, "so far"), ("lines", 1): 5})
            await reader.commit(seen[0])
            found = await reader.committed([("lines", 0), ("lines", 1)])
            first = TopicPartition(seen[0].topic, seen[0].partition)
            read = OffsetAndMetadata(1, leader_epoch=1)
            assert found.get(TopicPartition("lines", 1)) == (read if first.partition == 1 else OffsetAndMetadata(5))
        async with member(cluster, "lines") as other:
            again: list[Any] = []
            while len(again) < 10:
                again += await other.poll(timeout=1)
            assert {record.partition for record in again} <= {0, 1}
        groups.stop()

    run(story)


def test_two_members_share_and_take_over() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=4)
        log: list[tuple[str, str, list[int]]] = []

        def noting(who: str) -> dict[str, Any]:
            def note(what: str) -> Callable[[list[TopicPartition]], None]:
                return lambda places: log.append((who, what, sorted(place.partition for place in places)))

            return {"on_assign": note("assign"), "on_revoke": note("revoke"), "on_lost": note("lost")}

        one, two = member(cluster), member(cluster)
        one.subscribe(["lines"], **noting("one"))
        await settle(one, until=lambda: len(one.assignment()) == 4)
        assert log == [("one", "assign", [0, 1, 2, 3])]
        two.subscribe("lines", **noting("two"))
        await settle(one, two, until=lambda: sorted(map(len, shares(one, two))) == [2, 2])
        assert sorted(chain(*shares(one, two))) == [0, 1, 2, 3]
        assert ("one", "revoke", [0, 1, 2, 3]) in log, "an eager member gives up everything first"
        await two.close()
        assert log[-1][:2] == ("two", "revoke")
        await settle(one, until=lambda: len(one.assignment()) == 4)
        await one.close()
        assert not any(what == "lost" for _, what, _ in log)
        groups.stop()

    run(story)


def test_cooperative_members_keep_what_stays() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=6)
        revoked: list[list[int]] = []
        assigned: list[list[int]] = []
        one = member(cluster, **COOPERATIVE)
        two = member(cluster, "lines", assignors=[CooperativeStickyAssignor])
        one.subscribe(
            ["lines"],
            on_assign=lambda places: assigned.append([place.partition for place in places]),
            on_revoke=lambda places: revoked.append([place.partition for place in places]),
        )
        await settle(one, until=lambda: len(one.assignment()) == 6)
        gaps: list[int] = []
        for _ in range(100):
            await one.poll(timeout=0.05)
            await two.poll(timeout=0.05)
            gaps.append(len(one.assignment()))
            if shares(one, two) and sorted(map(len, shares(one, two))) == [3, 3]:
                break
        assert sorted(chain(*shares(one, two))) == list(range(6))
        assert min(gaps) == 3, "it never stopped reading what it keeps"
        assert [len(places) for places in revoked] == [3]
        assert assigned[0] == list(range(6)) and all(not places for places in assigned[1:])
        await one.close()
        await two.close()
        groups.stop()

    run(story)


def test_surplus_members_wait_and_take_over() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        members = [member(cluster, "lines") for _ in range(3)]
        await settle(*members, until=lambda: sorted(map(len, shares(*members))) == [0, 0, 1])
        await asyncio.sleep(20)
        await settle(*members, turns=3)
        assert sorted(map(len, shares(*members))) == [0, 0, 1]
        busy = next(each for each in members if each.assignment())
        rest = [each for each in members if each is not busy]
        for each in rest:
            each.pause()  # all of an empty share
        await busy.close()
        await settle(*rest, until=lambda: sorted(map(len, shares(*rest))) == [0, 1])
        for each in rest:
            await each.close()
        groups.stop()

    run(story)


@pytest.mark.parametrize("settings", [{}, COOPERATIVE], ids=["eager", "cooperative"])
def test_the_coordinator_moves_and_nobody_notices(settings: dict[str, Any]) -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=4)
        revoked: list[Any] = []
        one, two = member(cluster, **settings), member(cluster, "lines", **settings)
        one.subscribe("lines", on_revoke=revoked.append)
        await settle(one, two, until=lambda: sorted(map(len, shares(one, two))) == [2, 2])
        before, revoked[:] = shares(one, two), []
        for node in (2, 3, 1):
            groups.move(node)
            for _ in range(8):
                await asyncio.sleep(0.5)
                await settle(one, two, turns=1)
            await one.commit({("lines", one.assignment()[0].partition): node})
        assert shares(one, two) == before and not revoked
        place = one.assignment()[0]
        assert (await two.committed([place]))[place] == OffsetAndMetadata(1)
        await one.close()
        await two.close()
        groups.stop()

    run(story)


def test_a_member_that_the_coordinator_forgot_joins_anew() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=2)
        lost: list[Any] = []
        one = member(cluster)
        one.subscribe("lines", on_lost=lost.append)
        await settle(one, until=lambda: len(one.assignment()) == 2)
        first = one.group_metadata()
        groups.log.batches.clear()
        groups.log.end_offset = groups.log.committed = 0
        groups.move(2)
        await asyncio.sleep(4)
        await settle(one, until=lambda: bool(lost) and len(one.assignment()) == 2)
        assert [len(places) for places in lost] == [2]
        assert one.group_metadata().member_id != first.member_id
        await one.close()
        groups.stop()

    run(story)


@pytest.mark.parametrize("settings", [{}, COOPERATIVE])
def test_what_a_member_is_handed_when_its_place_is_lost_is_lost_before_it_joins_again(settings: dict[str, Any]) -> None:
    """The callback takes longer than the session: what it was told of has another owner meanwhile."""

    async def story() -> None:
        cluster, groups = await cluster_with(lines=2)
        told: list[tuple[str, int]] = []
        one = member(cluster, **settings)

        async def loses_its_place(places: list[TopicPartition]) -> None:
            told.append(("assigned", len(places)))
            if len(told) == 1:
                known = one.group_metadata()
                await groups.submit("g", LeaveGroup("g", (MemberKey(known.member_id, None),), ""))
                await asyncio.sleep(10)

        one.subscribe(
            "lines",
            on_assign=loses_its_place,
            on_revoke=lambda places: told.append(("revoked", len(places))),
            on_lost=lambda places: told.append(("lost", len(places))),
        )
        await settle(one, until=lambda: len(told) == 3)
        assert told == [("assigned", 2), ("lost", 2), ("assigned", 2)]
        await one.close()
        groups.stop()

    run(story)


def test_static_members_come_back_without_a_rebalance() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=2)
        revoked: list[Any] = []
        one = member(cluster, group_instance_id="one")
        one.subscribe("lines", on_revoke=revoked.append)
        two = member(cluster, "lines", group_instance_id="two")
        await settle(one, two, until=lambda: sorted(map(len, shares(one, two))) == [1, 1])
        revoked.clear()
        had = shares(two)
        await two.close()
        again = member(cluster, "lines", group_instance_id="two")
        await settle(one, again, until=lambda: bool(again.assignment()))
        assert shares(again) == had and not revoked
        usurper = member(cluster, "lines", group_instance_id="one")
        await settle(usurper, until=lambda: bool(usurper.assignment()))
        with pytest.raises(FencedInstanceIdError):
            await settle(one, turns=100)
        assert shares(one) == [[]]
        for _ in range(3):  # it does not take its place back by itself
            with pytest.raises(FencedInstanceIdError):
                await one.poll(timeout=1)
        await usurper.close()
        await one.unsubscribe()
        one.subscribe("lines")
        await settle(one, until=lambda: bool(one.assignment()))
        await one.close()
        await again.close()
        groups.stop()

    run(story)


def test_patterns_follow_topics_that_come_and_partitions_that_grow() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(logs_a=1, other=1)
        one = member(cluster, metadata_max_age_ms=1_000)
        one.subscribe(pattern="^logs_")
        await settle(one, until=lambda: len(one.assignment()) == 1)
        cluster.create("logs_b", 2)
        await settle(one, until=lambda: len(one.assignment()) == 3)
        assert one.subscription() == ["logs_a", "logs_b"]
        cluster.topics["logs_a"] += cluster.topics["logs_a"]
        await settle(one, until=lambda: len(one.assignment()) == 4)
        del cluster.topics["logs_b"]
        await settle(one, until=lambda: len(one.assignment()) == 2)
        await one.unsubscribe()
        assert one.assignment() == [] and one.subscription() == []
        one.subscribe("other")
        await settle(one, until=lambda: one.assignment() == [TopicPartition("other", 0)])
        await one.close()
        groups.stop()

    run(story)


def test_a_topic_that_does_not_exist_yet_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        leader, other = member(cluster, "lines"), member(cluster, "lines", "later")
        await settle(leader, other, turns=60)
        assert sorted(map(len, shares(leader, other))) == [0, 1]
        cluster.create("later", 1)
        await fill(cluster, "later", 1)
        assert [record.value for record in await settle(leader, other, turns=60)] == [b"0"]
        await leader.close()
        await other.close()
        groups.stop()

    run(story)
    said = [record.getMessage() for record in caplog.records if "waiting for it" in record.getMessage()]
    assert said == ["topic later: UNKNOWN_TOPIC_OR_PARTITION; waiting for it"] * 2, "each of them says it once"


def test_without_a_group_a_pattern_reads_everything_that_matches() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(logs_a=2, other=1)
        async with consumer(cluster, metadata_max_age_ms=1_000) as one:
            one.subscribe(pattern="logs")
            await settle(one, until=lambda: len(one.assignment()) == 2)
            one.subscribe(["other"])
            await settle(one, until=lambda: one.assignment() == [TopicPartition("other", 0)])
            with pytest.raises(InvalidGroupIdError, match="no group_id"):
                await one.commit()
        groups.stop()

    run(story)


def test_what_a_group_cannot_agree_on_is_raised() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=2)
        one = member(cluster, "lines", assignors="range")
        await settle(one, until=lambda: len(one.assignment()) == 2)
        other = member(cluster, "lines", assignors="sticky")
        with pytest.raises(InconsistentGroupProtocolError):
            await settle(other, turns=20)
        with pytest.raises(SubscriptionError):
            one.assign([("lines", 0)])
        by_hand = member(cluster)
        by_hand.assign([("lines", 0)])
        with pytest.raises(SubscriptionError):
            by_hand.subscribe("lines")
        for wrong in ({"topics": ["a"], "pattern": "b"}, {}, {"pattern": "("}):
            with pytest.raises(ConfigurationError):
                by_hand.subscribe(**wrong)
        for each in (one, other, by_hand):
            await each.close()
        groups.stop()

    run(story)


def test_who_was_refused_is_told_at_every_poll_and_joins_once_it_may() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=2)
        await fill(cluster, "lines", 10)
        one = member(cluster, "lines", assignors="range")
        await settle(one, until=lambda: len(one.assignment()) == 2)
        other = member(cluster, "lines", assignors="sticky", retry_backoff_ms=500, retry_backoff_max_ms=500)
        for _ in range(3):
            with pytest.raises(InconsistentGroupProtocolError):
                await settle(other, turns=20)
        groups.calls.clear()
        ends = asyncio.get_running_loop().time() + 5
        while asyncio.get_running_loop().time() < ends:
            with suppress(InconsistentGroupProtocolError):
                await other.poll(timeout=0.01)
        assert [method for _, method in groups.calls].count("JoinGroup") in range(5, 12), "with pauses"
        await one.close()
        with suppress(InconsistentGroupProtocolError):  # of the last attempt before
            await other.poll(timeout=1)
        await settle(other, until=lambda: len(other.assignment()) == 2)
        await other.close()
        groups.stop()

    run(story)


@pytest.mark.parametrize("method", ["JoinGroup", "SyncGroup"])
def test_an_iteration_that_was_refused_once_goes_on(method: str) -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 1)
        groups.refuse(method, GroupMaxSizeReachedError())
        async with member(cluster, "lines") as reader:
            with pytest.raises(GroupMaxSizeReachedError):
                await anext(reader)
            async with asyncio.timeout(60):
                assert (await anext(reader)).value == b"0"
        groups.stop()

    run(story)


def test_who_has_unsubscribed_and_assigns_by_hand_still_finds_new_leaders() -> None:
    """Without hints of brokers (KIP-951) only metadata tells of them, and nothing has to look for a first offset."""

    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        cluster.hints = False
        async with member(cluster) as earlier:
            await earlier.commit({("lines", 0): 0})
        reader = member(cluster, "lines")
        await settle(reader, until=lambda: len(reader.assignment()) == 1)
        await reader.unsubscribe()
        reader.assign([("lines", 0)])
        await settle(reader, turns=10)
        cluster.move_leader("lines", 0, 2)
        await fill(cluster, "lines", 1)
        assert [record.value for record in await settle(reader, turns=100)] == [b"0"]
        await reader.close()
        groups.stop()

    run(story)


def test_callbacks_may_use_the_consumer_but_not_poll_it() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 10)
        place = TopicPartition("lines", 0)
        reader = member(cluster, auto_commit=False)
        said: list[str] = []

        async def assigned(places: list[TopicPartition]) -> None:
            for each in places:
                reader.seek(each, 7)
            try:
                await reader.poll(timeout=0)
            except ConcurrentUseError:
                said.append("not here")

        async def revoked(places: Iterable[TopicPartition]) -> None:
            await reader.commit()

        reader.subscribe("lines", on_assign=assigned, on_revoke=revoked)
        records = await settle(reader, until=lambda: bool(said), turns=30)
        while not records:
            records = await reader.poll(timeout=1)
        assert records[0].offset == 7 and said == ["not here"]
        await reader.close()
        async with member(cluster) as look:
            assert (await look.committed([place]))[place] == OffsetAndMetadata(10, leader_epoch=1)
        groups.stop()

    run(story)


def test_a_callback_that_fails_is_raised_from_poll_and_the_rebalance_goes_on() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)

        def fails(places: list[TopicPartition]) -> None:
            raise LookupError("of the user")

        reader = member(cluster)
        reader.subscribe("lines", on_assign=fails)
        with pytest.raises(LookupError):
            await settle(reader)
        await settle(reader, turns=2)
        assert len(reader.assignment()) == 1
        await reader.close()
        groups.stop()

    run(story)
