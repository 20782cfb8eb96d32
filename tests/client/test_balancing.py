"""Plans of rebalancing: tables, then whatever cluster there may be."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftpy.client.admin_values import NodeDescription, PartitionDescription, TopicDescription
from kraftpy.client.balancing import RebalancePlan, plan_rebalance
from kraftpy.errors import InvalidReplicationFactorError


def node(
    node_id: int, rack: str | None = None, host: str = "", fenced: bool = False, cordoned: bool = False
) -> NodeDescription:
    return NodeDescription(node_id, "h", 1, rack, fenced, "h", 2, host, cordoned)


def topic(name: str, *replicas: tuple[int, ...]) -> TopicDescription:
    partitions = tuple(PartitionDescription(index, each[0], 0, each, each, ()) for index, each in enumerate(replicas))
    return TopicDescription(name, "", False, partitions)


def after(topics: list[TopicDescription], plan: RebalancePlan) -> list[TopicDescription]:
    moved = {(move.topic, move.partition): move.after for move in plan.moves}
    return [
        topic(each.name, *[moved.get((each.name, part.partition), part.replicas) for part in each.partitions])
        for each in topics
    ]


def shares(topics: list[TopicDescription]) -> tuple[Counter[int], Counter[int]]:
    """(replicas, preferred leaderships) by broker."""
    replicas = [part.replicas for each in topics for part in each.partitions]
    return Counter(node_id for each in replicas for node_id in each), Counter(each[0] for each in replicas)


def test_an_even_cluster_needs_nothing() -> None:
    plan = plan_rebalance([node(1), node(2), node(3)], [topic("t", (1, 2), (2, 3), (3, 1))])
    assert plan.moves == () and plan.copies == 0


def test_a_new_broker_gets_its_share_by_the_fewest_copies() -> None:
    topics = [topic("t", *[(1, 2, 3), (2, 3, 1), (3, 1, 2)] * 4)]
    plan = plan_rebalance([node(1), node(2), node(3), node(4)], topics)
    replicas, leaders = shares(after(topics, plan))
    assert plan.copies == 9
    assert set(replicas.values()) == {9} and set(leaders.values()) == {3}
    assert [share.replicas_after for share in plan.shares] == [9, 9, 9, 9]


def test_leaders_are_evened_without_copying() -> None:
    topics = [topic("t", (1, 2, 3), (1, 3, 2), (1, 2, 3))]
    plan = plan_rebalance([node(1), node(2), node(3)], topics)
    assert plan.copies == 0 and set(shares(after(topics, plan))[1].values()) == {1}


def test_leaderships_go_on_over_others_where_they_must() -> None:
    """1 shares nothing with 3, so 2 hands one on."""
    topics = [topic("t", (1, 2), (1, 2), (2, 3), (2, 3)), topic("u", (3, 4), (4, 3), (4, 1), (1, 2))]
    plan = plan_rebalance([node(each) for each in (1, 2, 3, 4)], topics)
    replicas, leaders = shares(after(topics, plan))
    assert set(leaders.values()) == {2} and max(replicas.values()) - min(replicas.values()) <= 1


def test_a_broker_is_emptied() -> None:
    topics = [topic("t", (1, 2), (2, 3), (3, 1))]
    plan = plan_rebalance([node(1), node(2), node(3), node(4)], topics, empty=[3])
    replicas, _ = shares(after(topics, plan))
    assert replicas[3] == 0 and set(replicas.values()) - {0} == {2}


def test_a_broker_that_nobody_knows_is_emptied_too() -> None:
    topics = [topic("t", (9, 1))]
    plan = plan_rebalance([node(1), node(2)], topics)
    assert plan.moves[0].after in ((2, 1), (1, 2))


def test_there_must_be_room_for_what_is_moved_away() -> None:
    with pytest.raises(InvalidReplicationFactorError, match="start one more, or lower the replication factor"):
        plan_rebalance([node(1), node(2)], [topic("t", (1, 2))], empty=[2])


def test_nothing_goes_to_or_from_a_broker_that_is_out_of_service() -> None:
    topics = [topic("t", (1, 2), (1, 2), (1, 2), (1, 2))]
    plan = plan_rebalance([node(1), node(2, fenced=True), node(3)], topics)
    replicas, _ = shares(after(topics, plan))
    assert replicas == Counter({2: 4, 1: 2, 3: 2})


def test_nothing_goes_to_a_cordoned_broker_and_what_it_has_stays_unless_it_is_to_be_emptied() -> None:
    topics = [topic("t", *[(1, 2), (2, 1), (1, 3)] * 4)]
    nodes = [node(1), node(2), node(3, cordoned=True), node(4)]
    replicas, _ = shares(after(topics, plan_rebalance(nodes, topics)))
    assert replicas[3] == 4 and {replicas[1], replicas[2], replicas[4]} == {6, 7}
    replicas, _ = shares(after(topics, plan_rebalance(nodes, topics, empty=[3])))
    assert replicas[3] == 0 and {replicas[1], replicas[2], replicas[4]} == {8}


def test_replicas_on_one_host_part() -> None:
    brokers = [node(1, host="a"), node(2, host="a"), node(3, host="b"), node(4, host="b")]
    topics = [topic("t", (1, 2), (3, 4))]
    plan = plan_rebalance(brokers, topics)
    for part in after(topics, plan)[0].partitions:
        assert {each <= 2 for each in part.replicas} == {True, False}


def test_racks_are_kept_apart_while_counts_are_evened() -> None:
    brokers = [node(1, "x"), node(2, "y"), node(3, "x"), node(4, "y")]
    topics = [topic("t", *[(1, 2)] * 6)]
    plan = plan_rebalance(brokers, topics)
    assert set(shares(after(topics, plan))[0].values()) == {3}
    for part in after(topics, plan)[0].partitions:
        assert {each % 2 for each in part.replicas} == {0, 1}


def test_a_topic_is_spread_where_the_choice_is_free() -> None:
    topics = [topic("a", *[(1,)] * 4), topic("b", *[(2,)] * 4)]
    plan = plan_rebalance([node(1), node(2), node(3), node(4)], topics)
    for each in after(topics, plan):
        assert max(Counter(part.replicas[0] for part in each.partitions).values()) == 2


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_cluster_there_is(seed: int) -> None:
    random = Random(seed)
    ids = list(range(1, random.randint(2, 7)))
    brokers = [
        node(
            each,
            random.choice([None, "x", "y"]),
            random.choice(["", "", "a", "b"]),
            fenced=len(ids) > 3 and random.random() < 0.1,
        )
        for each in ids
    ]
    topics = []
    for name in "abc":
        factor = random.randint(1, len(ids))
        topics.append(topic(name, *[tuple(random.sample(ids, factor)) for _ in range(random.randint(1, 8))]))
    empty = random.sample(ids, 1) if random.random() < 0.3 else []
    try:
        plan = plan_rebalance(brokers, topics, empty)
    except InvalidReplicationFactorError:
        assert empty
        return
    planned = after(topics, plan)
    replicas, leaders = shares(planned)
    for old, new in zip(topics, planned, strict=True):
        for before, now in zip(old.partitions, new.partitions, strict=True):
            assert len(set(now.replicas)) == len(now.replicas) == len(before.replicas)
    assert not any(replicas[each] for each in empty)
    usable = [each.node_id for each in brokers if not each.fenced and each.node_id not in empty]
    if not any(each.rack or each.host_label or each.fenced for each in brokers):
        counts = [replicas[each] for each in usable]
        assert max(counts) - min(counts) <= 1
    assert plan.copies == sum(len(move.adding) for move in plan.moves)
    assert plan_rebalance(brokers, planned, empty).copies == 0, "a plan for what a plan has made is empty"
    assert plan_rebalance(brokers, topics, empty) == plan
    assert sum(leaders.values()) == sum(len(each.partitions) for each in topics)
