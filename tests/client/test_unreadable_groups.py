"""Groups of which a member says what nobody can read: poll() tells, and nobody waits for ever."""

import asyncio
from typing import Any

import pytest

from broker.coordinator.groups.commands import Joined, JoinGroup, MemberKey, ProtocolOffer, SyncGroup
from kraftpy.client.group.classic_member import ClassicMember
from kraftpy.errors import InconsistentGroupProtocolError, KraftpyError
from tests.client.fake_groups import FakeGroups
from tests.client.membership import cluster_with, member, settle
from tests.client.support import run

UNREADABLE = b"\xff"


async def joins(groups: FakeGroups, member_id: str = "") -> Joined:
    """Another client, which offers the same protocol and says what it likes."""
    offers = (ProtocolOffer("range", UNREADABLE),)
    command = JoinGroup("g", MemberKey(member_id), "other", "/10.0.0.1", "consumer", offers, 10_000, 60_000)
    joined = await groups.submit("g", command)
    assert isinstance(joined, Joined)
    return joined


def test_the_leader_is_told_that_it_cannot_read_what_another_subscribes_to() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=2)
        leader = member(cluster, "lines", assignors="range")
        await settle(leader, until=lambda: len(leader.assignment()) == 2)
        other = asyncio.ensure_future(joins(groups))
        with pytest.raises(InconsistentGroupProtocolError, match="cannot be read"):
            await settle(leader)
        assert not leader.assignment()
        await other
        await leader.close()
        groups.stop()

    run(story)


def test_a_member_is_told_that_it_cannot_read_what_the_leader_assigned() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=2)
        leader = await joins(groups)
        one = member(cluster, "lines", assignors="range")
        polling = asyncio.ensure_future(settle(one))
        await asyncio.sleep(1)
        joined = await joins(groups, leader.member_id)
        assigned = tuple((each.key.member_id, UNREADABLE) for each in joined.members)
        await groups.submit("g", SyncGroup("g", MemberKey(leader.member_id), joined.generation, assignments=assigned))
        with pytest.raises(InconsistentGroupProtocolError, match="cannot be read"):
            await polling
        await one.close()
        groups.stop()

    run(story)


def test_an_answer_that_a_bug_does_not_survive_ends_the_membership_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("a bug")

    async def story() -> None:
        cluster, groups = await cluster_with(lines=2)
        monkeypatch.setattr(ClassicMember, "answered", fail)
        one = member(cluster, "lines", assignors="range")
        with pytest.raises(KraftpyError, match="which is a bug"):
            await settle(one)
        await one.close()
        groups.stop()

    run(story)
