"""The assignors: everything is assigned once, to who reads it; evenly; and as little moves as that needs.

The table of `range` is worked out by hand from the rule of Kafka's RangeAssignor; it is the SDK's assignor of that name
that was compared with Java's (`tests/client/assignors`).
"""

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.coordinator.groups.assignors import ASSIGNORS, MemberToAssign, assign_range, assign_uniform
from broker.coordinator.groups.consumer_group import places
from broker.coordinator.groups.consumer_records import Partitions

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


def test_a_large_group_is_assigned_in_time() -> None:
    """1,000 members and 10,000 partitions; the clock is not asked, the work is bounded by the test's own time-out."""
    topics = {UUID(int=number): 100 for number in range(1, 101)}
    reads = [frozenset(topics)] * 1_000
    assert loads(assign_uniform(members(reads), topics)) == [10] * 1_000
