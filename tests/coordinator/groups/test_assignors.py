"""The assignors: everything is assigned once, to who reads it; evenly; and as little moves as that needs.

The table of `range` is worked out by hand from the rule of Kafka's RangeAssignor; it is the SDK's assignor of that name
that was compared with Java's (`tests/client/assignors`).
"""

from sys import setprofile
from types import FrameType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.coordinator.groups.assignors import ASSIGNORS, MemberToAssign, assign_range, assign_uniform
from broker.coordinator.groups.consumer_group import gathered, places
from broker.coordinator.groups.consumer_records import Partitions, Place

T, U, V = (UUID(int=number) for number in (1, 2, 3))
_TOPICS = st.dictionaries(st.sampled_from([T, U, V]), st.integers(0, 7))
_READS = st.lists(st.frozensets(st.sampled_from([T, U, V])), min_size=1, max_size=6)


def members(reads: list[frozenset[UUID]], before: dict[str, Partitions] | None = None) -> dict[str, MemberToAssign]:
    return {
        f"m{index}": MemberToAssign(None, each, (before or {}).get(f"m{index}", {})) for index, each in enumerate(reads)
    }


def check_whole(reads: list[frozenset[UUID]], topics: dict[UUID, int], assigned: dict[str, Partitions]) -> None:
    """Each partition that anybody reads has one owner, who reads it."""
    assert list(assigned) == [f"m{index}" for index in range(len(reads))]
    given_out = [place for each in assigned.values() for place in places(each)]
    wanted = [
        (topic, index)
        for topic, count in topics.items()
        if any(topic in each for each in reads)
        for index in range(count)
    ]
    assert sorted(given_out) == sorted(wanted)
    for each, has in zip(reads, assigned.values(), strict=True):
        assert all(topic in each and partitions == tuple(sorted(partitions)) for topic, partitions in has.items())


def loads(assigned: dict[str, Partitions]) -> list[int]:
    return [sum(map(len, each.values())) for each in assigned.values()]


@pytest.mark.parametrize("name", ASSIGNORS)
@settings(max_examples=100, deadline=None)
@given(reads=_READS, later=_READS, topics=_TOPICS, topics_later=_TOPICS)
def test_everything_is_assigned_once(
    name: str,
    reads: list[frozenset[UUID]],
    later: list[frozenset[UUID]],
    topics: dict[UUID, int],
    topics_later: dict[UUID, int],
) -> None:
    def existing(all_reads: list[frozenset[UUID]], counts: dict[UUID, int]) -> list[frozenset[UUID]]:
        return [frozenset(topic for topic in each if topic in counts) for each in all_reads]

    first = ASSIGNORS[name](members(existing(reads, topics)), topics)
    check_whole(existing(reads, topics), topics, first)
    second = ASSIGNORS[name](members(existing(later, topics_later), first), topics_later)
    check_whole(existing(later, topics_later), topics_later, second)
    again = ASSIGNORS[name](members(existing(later, topics_later), second), topics_later)
    assert again == second, "what is right stays"


@settings(max_examples=100, deadline=None)
@given(count=st.integers(1, 8), later=st.integers(1, 8), topics=_TOPICS)
def test_uniform_is_even_and_moves_no_more_than_it_must(count: int, later: int, topics: dict[UUID, int]) -> None:
    everything = frozenset(topics)
    total = sum(topics.values())
    first = assign_uniform(members([everything] * count), topics)
    assert max(loads(first)) - min(loads(first)) <= 1
    second = assign_uniform(members([everything] * later, first), topics)
    assert max(loads(second)) - min(loads(second)) <= 1
    kept = sum(len(set(places(first[name])) & set(places(second.get(name, {})))) for name in first)
    least, extra = divmod(total, later)
    quotas = sorted((least + (index < extra) for index in range(later)), reverse=True)
    staying = sorted((load for name, load in zip(first, loads(first), strict=True) if name in second), reverse=True)
    assert kept == sum(min(has, quota) for has, quota in zip(staying, quotas, strict=False))


@settings(max_examples=100, deadline=None)
@given(reads=_READS, topics=_TOPICS)
def test_uniform_cannot_be_more_even(reads: list[frozenset[UUID]], topics: dict[UUID, int]) -> None:
    existing = [frozenset(topic for topic in each if topic in topics) for each in reads]
    assigned = assign_uniform(members(existing), topics)
    load = dict(zip(assigned, loads(assigned), strict=True))
    for name, has in assigned.items():
        for topic in has:
            for index, each in enumerate(existing):
                assert topic not in each or load[name] <= load[f"m{index}"] + 1, "moving one would make two more equal"


def test_a_large_group_is_assigned_in_time() -> None:
    """1,000 members and 10,000 partitions; the clock is not asked, the work is bounded by the test's own time-out."""
    topics = {UUID(int=number): 100 for number in range(1, 101)}
    reads = [frozenset(topics)] * 1_000
    assert loads(assign_uniform(members(reads), topics)) == [10] * 1_000


def test_moves_of_many_members_cost_by_who_has_a_topic_and_not_by_who_reads_it() -> None:
    """Counted: for each topic, every reader was asked how much it has, and everything that it has was gone through."""
    topics = {UUID(int=number): 3 for number in range(200)}
    everything, less = frozenset(topics), frozenset(list(topics)[1:])
    reads = [less if index % 2 else everything for index in range(200)]
    settled = assign_uniform(members(reads), topics)
    calls = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    setprofile(note)
    try:
        assign_uniform(members([*reads, everything], settled), topics)
    finally:
        setprofile(None)
    assert calls < len(topics) * len(reads)


# --- a dumb twin -----------------------------------------------------------------------------------------------------


class DumbUniform:
    """The same rule, with everything looked at whenever something is asked."""

    def __init__(self, members: dict[str, MemberToAssign], topics: dict[UUID, int]) -> None:
        self.members = members
        self.topics = topics
        self.assigned: dict[str, list[Place]] = {}
        for member_id, member in members.items():
            taken = [place for each in self.assigned.values() for place in each]
            wanted = [(topic, index) for topic in member.topic_ids for index in range(topics.get(topic, 0))]
            self.assigned[member_id] = [each for each in places(member.target) if each in wanted and each not in taken]

    def readers(self, topic: UUID) -> list[str]:
        return [member_id for member_id, member in self.members.items() if topic in member.topic_ids]

    def load(self, member_id: str) -> int:
        return len(self.assigned[member_id])

    def run(self) -> dict[str, Partitions]:
        taken = [place for each in self.assigned.values() for place in each]
        order = sorted(self.topics, key=lambda topic: len(self.readers(topic)))
        for topic in order:
            for index in range(self.topics[topic]) if self.readers(topic) else ():
                if (topic, index) not in taken:
                    self.assigned[min(self.readers(topic), key=self.load)].append((topic, index))
        while sum(self.moves(topic) for topic in order):
            pass
        return {member_id: gathered(each) for member_id, each in self.assigned.items()}

    def moves(self, topic: UUID) -> bool:
        has_moved = False
        while True:
            givers = [each for each in self.readers(topic) if topic in dict(self.assigned[each])]
            if not givers:
                return has_moved
            giver, taker = max(givers, key=self.load), min(self.readers(topic), key=self.load)
            if self.load(giver) <= self.load(taker) + 1:
                return has_moved
            place = [each for each in self.assigned[giver] if each[0] == topic][-1]
            self.assigned[giver].remove(place)
            self.assigned[taker].append(place)
            has_moved = True


@settings(max_examples=200, deadline=None)
@given(reads=_READS, later=_READS, topics=_TOPICS, topics_later=_TOPICS)
def test_uniform_among_unequal_members_is_what_a_dumb_twin_makes_of_them(
    reads: list[frozenset[UUID]],
    later: list[frozenset[UUID]],
    topics: dict[UUID, int],
    topics_later: dict[UUID, int],
) -> None:
    before: dict[str, Partitions] = {}
    for each, counts in ((reads, topics), (later, topics_later)):
        existing = [frozenset(topic for topic in subscription if topic in counts) for subscription in each]
        found = assign_uniform(members(existing, before), counts)
        if len(set(existing)) > 1:
            dumb = DumbUniform(members(existing, before), counts).run()
            assert [list(has.items()) for has in found.values()] == [list(has.items()) for has in dumb.values()]
        before = found


# --- range -----------------------------------------------------------------------------------------------------------


def test_range_gives_neighbours_and_the_same_numbers_of_every_topic() -> None:
    both = frozenset((T, U))
    assert assign_range(members([both, both, frozenset((U,))]), {T: 3, U: 5}) == {
        "m0": {T: (0, 1), U: (0, 1)},
        "m1": {T: (2,), U: (2, 3)},
        "m2": {U: (4,)},
    }


def test_range_orders_by_instance_ids_before_member_ids() -> None:
    reads = frozenset((T,))
    named = {
        "a": MemberToAssign("z", reads, {}),
        "b": MemberToAssign(None, reads, {}),
        "c": MemberToAssign("a", reads, {}),
    }
    assert assign_range(named, {T: 3}) == {"c": {T: (0,)}, "b": {T: (1,)}, "a": {T: (2,)}}
