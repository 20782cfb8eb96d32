"""What must hold of every assignment, whoever else would decide alike."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftpy.client.assignors import (
    DEFAULT_ASSIGNORS,
    CooperativeStickyAssignor,
    RangeAssignor,
    RoundRobinAssignor,
    StickyAssignor,
    Subscription,
    assignors_of,
)
from kraftpy.client.assignors.java_hash import HashOrder, in_hash_order, string_hash
from kraftpy.client.assignors.model import Assignment, Assignor, Topics
from kraftpy.client.assignors.protocol_codec import read_assignment, read_subscription, write_subscription
from kraftpy.client.values import TopicPartition
from kraftpy.errors import ConfigurationError, CorruptRecordError

ALL: list[Assignor] = [RangeAssignor(), RoundRobinAssignor(), StickyAssignor(), CooperativeStickyAssignor()]
STICKY: list[Assignor] = [StickyAssignor(), CooperativeStickyAssignor()]

topic_tables = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.lists(st.frozensets(st.sampled_from(["r0", "r1", "r2"]), max_size=2), max_size=8),
    min_size=1,
)


@st.composite
def groups(draw: st.DrawFn, *, equal: bool = False) -> tuple[Topics, dict[str, Subscription]]:
    topics = draw(topic_tables)
    names = st.lists(st.sampled_from(sorted([*topics, "absent"])), unique=True, max_size=5).map(tuple)
    count = draw(st.integers(1, 7))
    racks = st.sampled_from([None, None, "r0", "r1"])
    return topics, {
        f"m{number}": Subscription(tuple(topics) if equal else draw(names), rack=draw(racks)) for number in range(count)
    }


def again(assignor: Assignor, members: dict[str, Subscription], assignment: Assignment, generation: int) -> Any:
    """The members as they come to the next rebalance."""
    return {
        member_id: Subscription(
            member.topics,
            tuple(assignment[member_id]),
            generation,
            member.rack,
            member.instance_id,
            assignor.user_data(assignment[member_id], generation),
        )
        for member_id, member in members.items()
    }


def check(topics: Topics, members: dict[str, Subscription], assignment: Assignment, *, whole: bool) -> None:
    given_places = [place for places in assignment.values() for place in places]
    assert len(given_places) == len(set(given_places)), "a partition twice"
    for member_id, places in assignment.items():
        assert all(place.topic in members[member_id].topics for place in places), "a partition that was not wanted"
    if whole:
        for name, partitions in topics.items():
            if any(name in member.topics for member in members.values()):
                assert sum(place.topic == name for place in given_places) == len(partitions), "a partition forgotten"


@pytest.mark.parametrize("assignor", ALL, ids=lambda assignor: assignor.name)
@settings(max_examples=60)
@given(group=groups())
def test_every_partition_once_and_to_whoever_wants_it(assignor: Assignor, group: Any) -> None:
    topics, members = group
    assignment = assignor.assign(topics, members)
    assert list(assignment) and set(assignment) == set(members)
    check(topics, members, assignment, whole=True)


@pytest.mark.parametrize("assignor", ALL[1:], ids=lambda assignor: assignor.name)
@settings(max_examples=60)
@given(group=groups(equal=True))
def test_equal_wishes_get_equal_shares(assignor: Assignor, group: Any) -> None:
    topics, members = group
    counts = [len(places) for places in assignor.assign(topics, members).values()]
    assert max(counts) - min(counts) <= 1


@settings(max_examples=60)
@given(group=groups(equal=True))
def test_range_shares_each_topic_equally(group: Any) -> None:
    topics, members = group
    assignment = RangeAssignor().assign(topics, members)
    for name in topics:
        counts = [sum(place.topic == name for place in places) for places in assignment.values()]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("assignor", STICKY, ids=lambda assignor: assignor.name)
@settings(max_examples=60)
@given(group=groups())
def test_nothing_moves_without_a_reason(assignor: Assignor, group: Any) -> None:
    """The same group again; with racks, what first found its balance far away may come home once."""
    topics, members = group
    members = {member_id: Subscription(member.topics) for member_id, member in members.items()}
    first = assignor.assign(topics, members)
    second = assignor.assign(topics, again(assignor, members, first, 1))
    assert {member_id: set(places) for member_id, places in second.items()} == {
        member_id: set(places) for member_id, places in first.items()
    }


@pytest.mark.parametrize("assignor", STICKY, ids=lambda assignor: assignor.name)
@settings(max_examples=60)
@given(group=groups(equal=True), data=st.data())
def test_whoever_stays_keeps_as_much_as_is_fair(assignor: Assignor, group: Any, data: st.DataObject) -> None:
    topics, members = group
    members = {member_id: Subscription(member.topics) for member_id, member in members.items()}
    first = assignor.assign(topics, members)
    after = again(assignor, members, first, 1)
    if len(after) > 1 and data.draw(st.booleans()):
        del after[data.draw(st.sampled_from(sorted(after)))]
    else:
        after["newcomer"] = Subscription(tuple(topics))
    second = assignor.assign(topics, after)
    total = sum(len(partitions) for partitions in topics.values())
    fewest = total // len(after)
    for member_id, member in after.items():
        kept = set(second[member_id]) & set(member.owned)
        assert len(kept) >= min(len(member.owned), fewest)


@settings(max_examples=60)
@given(group=groups(), data=st.data())
def test_cooperative_members_never_share_a_partition_and_end_even(group: Any, data: st.DataObject) -> None:
    """What changes hands is with nobody for one rebalance; after at most one more everything is with somebody."""
    assignor = CooperativeStickyAssignor()
    topics, members = group
    members = {member_id: Subscription(member.topics) for member_id, member in members.items()}
    held = assignor.assign(topics, members)
    members["newcomer"] = Subscription(tuple(topics))
    held["newcomer"] = []
    for generation in range(1, 4):
        after = assignor.assign(topics, again(assignor, members, held, generation))
        check(topics, members, after, whole=False)
        for member_id, places in after.items():
            for other, before in held.items():
                assert other == member_id or not set(places) & set(before), "given away before it was given up"
        held = after
    check(topics, members, held, whole=True)


def test_two_that_claim_one_partition() -> None:
    """Of one generation: neither is believed. Of two: the newer one."""
    topics = {"a": [frozenset[str]()] * 2}
    place = TopicPartition("a", 0)
    assignor = CooperativeStickyAssignor()
    for generations, holders in (((5, 5), Counter()), ((5, 4), Counter({"m0": 1}))):
        members = {
            f"m{number}": Subscription(("a",), (place,), generation) for number, generation in enumerate(generations)
        }
        found = Counter(member_id for member_id, places in assignor.assign(topics, members).items() if place in places)
        assert found == holders


def test_choosing_assignors() -> None:
    assert [assignor.name for assignor in assignors_of(DEFAULT_ASSIGNORS)] == ["range", "cooperative-sticky"]
    assert [assignor.name for assignor in assignors_of("sticky, roundrobin")] == ["sticky", "roundrobin"]
    java = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"
    assert [assignor.name for assignor in assignors_of([java, RangeAssignor, StickyAssignor()])] == [
        "cooperative-sticky",
        "range",
        "sticky",
    ]
    for wrong in ("", "fair", ["range", "range"], [7]):
        with pytest.raises(ConfigurationError):
            assignors_of(wrong)


def test_the_order_of_java() -> None:
    assert string_hash("hello") == 99162322
    assert string_hash("😀") == 1772899  # two code units
    table: HashOrder[int] = HashOrder(lambda number: number)
    for number in (33, 1, 17, 2):
        table.add(number)
    assert table.keys() == [33, 1, 17, 2]
    for number in range(100, 110):
        table.add(number)  # it grows to 32 buckets, and 17 has one of its own
    assert table.keys()[:2] == [33, 1] and table.first() == 33
    table.remove(33)
    assert table.first() == 1 and len(table) == 13
    assert in_hash_order(["b", "a"]) == ["a", "b"]


@settings(max_examples=100)
@given(data=st.binary(max_size=60))
def test_damaged_metadata_is_refused_not_misread(data: bytes) -> None:
    whole = write_subscription(Subscription(("a", "b"), (TopicPartition("a", 1),), 3, "r", None, data))
    assert read_subscription(whole).user_data == data
    for read in (read_subscription, read_assignment):
        try:
            read(data)
        except CorruptRecordError:
            pass
    with pytest.raises(CorruptRecordError):
        read_subscription(whole[:-1])
