"""Static members (KIP-345) that come back while their group, or its coordinator, is about something else."""

from typing import Any

import pytest

from broker.coordinator.groups.commands import Heartbeat, Joined, MemberKey
from kraftpy.errors import CoordinatorNotAvailableError, IllegalGenerationError
from tests.coordinator.groups.members import Member, described, settle
from tests.coordinator.groups.stage import GROUP, Stage, join, offers, sync

OTHER_TOPICS = offers(range=("t", "u"))


def settled(*instance_ids: str) -> tuple[Stage, list[Joined]]:
    """A stable group of static members, the first of which leads; each is assigned its own name."""
    stage = Stage()
    tickets = [stage.join(instance_id=each) for each in instance_ids]
    stage.settle()
    members: list[Joined] = [stage.answers[ticket] for ticket in tickets]
    given = tuple((member.member_id, name.encode()) for member, name in zip(members, instance_ids, strict=True))
    stage.ask(sync(members[0], given, instance_id=instance_ids[0]))
    return stage, members


def heartbeat(stage: Stage, member: Joined, instance_id: str) -> Any:
    return stage.ask(Heartbeat(GROUP, MemberKey(member.member_id, instance_id), member.generation))


@pytest.mark.parametrize("has_left", [False, True])
def test_who_comes_back_in_a_rebalance_is_known_to_the_next_coordinator(has_left: bool) -> None:
    """Also one whose old self is no member any more: the log knows no newer generation."""
    stage, (a, b) = settled("a", "b")
    if has_left:
        stage.leave(MemberKey("", "b"))
    tickets = [stage.join(instance_id="b", protocols=OTHER_TOPICS), stage.join(a.member_id, instance_id="a")]
    stage.settle()
    back, a = (stage.answers[ticket] for ticket in tickets)
    assert back.generation == 2 and back.member_id != b.member_id
    stage.fail_over()
    assert isinstance(heartbeat(stage, back, "b"), IllegalGenerationError), "it is not fenced"
    tickets = [
        stage.join(back.member_id, instance_id="b", protocols=OTHER_TOPICS),
        stage.join(a.member_id, instance_id="a"),
    ]
    stage.settle()
    assert [stage.answers[ticket].generation for ticket in tickets] == [2, 2]


def test_a_leader_that_comes_back_in_a_rebalance_leads_by_its_new_id() -> None:
    stage, (a, b) = settled("a", "b")
    ticket = stage.join(instance_id="a", protocols=OTHER_TOPICS)
    assert stage.waiting() == [ticket]
    stage.fail_over()
    stored = stage.core.stored[GROUP]
    assert stored.leader_id == stored.members[0].member_id != a.member_id
    assert [each.assignment for each in stored.members] == [b"a", b"b"] and stored.generation == 1
    assert heartbeat(stage, b, "b") is None


def test_who_comes_back_in_a_rebalance_and_cannot_be_stored_comes_again() -> None:
    stage, (a, _) = settled("a", "b")
    stage.join(a.member_id, instance_id="a", protocols=OTHER_TOPICS)
    stage.refusal = CoordinatorNotAvailableError("too few replicas")
    assert isinstance(stage.ask(join(instance_id="b")), CoordinatorNotAvailableError), "nobody else is awaited"
    stage.refusal = None
    tickets = [stage.join(instance_id="b"), stage.join(a.member_id, instance_id="a")]
    stage.settle()
    back = stage.answers[tickets[0]]
    assert isinstance(back, Joined) and back.generation == 3
    stage.fail_over()
    assert isinstance(heartbeat(stage, back, "b"), IllegalGenerationError), "it is not fenced"


def test_who_comes_back_while_others_are_awaited_and_cannot_be_stored_comes_again() -> None:
    stage, _ = settled("a", "b")
    stage.refusal = CoordinatorNotAvailableError("too few replicas")
    assert isinstance(stage.ask(join(instance_id="b", protocols=OTHER_TOPICS)), CoordinatorNotAvailableError)
    stage.refusal = None
    assert not stage.waiting() and stage.state() == "PreparingRebalance"
    assert stage.join(instance_id="b") in stage.waiting()


# --- consumer groups -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "reads"),
    [
        ({"topics": None, "pattern": "a.*", "assignor": "range"}, {"topics": ("b",)}, ["b"]),
        ({"topics": (), "pattern": "a.*"}, {"topics": ("b",)}, ["b"]),
        ({"topics": ("b",), "rack_id": "r"}, {"topics": None, "pattern": "a.*"}, ["a1", "a2"]),
    ],
)
def test_who_comes_back_reads_what_it_says_now(before: dict[str, Any], now: dict[str, Any], reads: list[str]) -> None:
    """Who joins says everything (KIP-848), so what it does not say is none. (Kafka keeps what its old self said.)"""
    stage = Stage()
    stage.topics.counts = {"a1": 1, "a2": 1, "b": 1}
    old = Member(stage, "old", "i", **before)
    settle(old)
    old.leave(for_a_while=True)
    new = Member(stage, "new", "i", **now)
    settle(new)
    assert sorted(map(stage.topics.name_of, new.owned), key=str) == reads
    (member,) = described(stage).members
    assert (member.member.assignor, member.member.rack_id, member.member.instance_id) == (None, None, "i")
    assert member.member.pattern == now.get("pattern")
