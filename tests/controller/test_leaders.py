"""Elections on demand, and preferred leaders by themselves."""

from collections import Counter

import pytest

from broker.controller.commands import (
    AlterConfigs,
    AlterPartition,
    ConfigAlteration,
    ConfigChange,
    ElectedLeader,
    ElectLeaders,
    IsrMember,
    IsrProposal,
    NewTopic,
    Operation,
)
from broker.controller.config import ControllerConfig
from broker.controller.result import LeadersRebalanced, UncleanElection
from broker.metadata.records import NO_LEADER, topic_resource
from kraftpy.errors import (
    ElectionNotNeededError,
    EligibleLeadersNotAvailableError,
    PreferredLeaderNotAvailableError,
    UnknownTopicOrPartitionError,
)
from tests.controller.harness import Harness


def rejoin(harness: Harness) -> None:
    """Every leader takes every live replica back into its ISR."""
    for topic in harness.image.topics.values():
        for number, state in enumerate(topic.partitions):
            if not state.has_leader:
                continue
            live = [broker_id for broker_id in state.replicas if harness.image.is_active(broker_id)]
            members = tuple(IsrMember(broker_id, harness.image.brokers[broker_id].epoch) for broker_id in live)
            proposal = IsrProposal(topic.topic_id, number, state.leader_epoch, state.partition_epoch, members)
            leader_epoch = harness.image.brokers[state.leader].epoch
            altered = harness.submit(AlterPartition(state.leader, leader_epoch, (proposal,))).partitions[0]
            assert altered.error is None


def leaders(harness: Harness, name: str) -> Counter[int]:
    topic = harness.image.topic(name)
    assert topic is not None
    return Counter(state.leader for state in topic.partitions)


def bounced(config: ControllerConfig | None = None, partitions: int = 12) -> Harness:
    """Broker 1 was away and is in sync again, but leads nothing."""
    harness = Harness(config)
    harness.start(1, 2, 3)
    assert harness.try_create(NewTopic("t", partitions, 3)).error is None
    harness.start(1, life=2)
    rejoin(harness)
    assert 1 not in leaders(harness, "t")
    return harness


def elect(harness: Harness, *partitions: tuple[str, int], unclean: bool = False) -> tuple[ElectedLeader, ...]:
    return harness.submit(ElectLeaders(partitions or None, unclean)).partitions


def test_preferred_leaders_on_demand() -> None:
    harness = bounced()
    elected = elect(harness)
    assert len(elected) == 4 and all(item.error is None for item in elected)
    assert leaders(harness, "t") == {1: 4, 2: 4, 3: 4}
    assert elect(harness) == ()


def test_elections_that_cannot_be() -> None:
    harness = Harness()
    harness.start(1, 2)
    harness.create("t", (1, 2), (2, 1))
    harness.fence(1)
    names = (("t", 0), ("t", 1), ("t", 2), ("u", 0))
    errors = [item.error for item in elect(harness, *names)]
    assert [type(error) for error in errors] == [
        PreferredLeaderNotAvailableError,
        ElectionNotNeededError,
        UnknownTopicOrPartitionError,
        UnknownTopicOrPartitionError,
    ]


def test_an_unclean_election_by_the_operator() -> None:
    harness = Harness()
    harness.start(1, 2)
    harness.create("t", (1, 2))
    harness.fence(2)
    harness.fence(1)
    assert isinstance(elect(harness, ("t", 0), unclean=True)[0].error, EligibleLeadersNotAvailableError)
    harness.beat(2)
    assert harness.partition("t").leader == NO_LEADER, "nobody but the operator may have it elected"
    assert elect(harness, unclean=True) == (ElectedLeader("t", 0),)
    assert (harness.partition("t").leader, harness.partition("t").isr) == (2, (2,))
    assert UncleanElection("t", 0, 2, (1,)) in harness.facts
    assert isinstance(elect(harness, ("t", 0), unclean=True)[0].error, ElectionNotNeededError)


def test_unclean_election_switched_on_later_holds_for_the_next_change() -> None:
    harness = Harness()
    harness.start(1, 2)
    harness.create("t", (1, 2))
    harness.fence(2)
    harness.fence(1)
    change = ConfigChange("unclean.leader.election.enable", Operation.SET, "true")
    harness.submit(AlterConfigs((ConfigAlteration(topic_resource("t"), (change,)),)))
    harness.beat(2)
    assert harness.partition("t").leader == 2


def test_r08_r07_leaders_go_back_by_themselves_and_are_even_again() -> None:
    harness = bounced()
    harness.advance(299_000, 1, 2, 3)
    assert 1 not in leaders(harness, "t")
    harness.advance(2_000, 1, 2, 3)
    assert leaders(harness, "t") == {1: 4, 2: 4, 3: 4}
    assert LeadersRebalanced(4) in harness.facts


def test_r08_not_where_it_is_switched_off() -> None:
    harness = bounced(ControllerConfig(auto_leader_rebalance_enable=False))
    harness.advance(400_000, 1, 2, 3)
    assert 1 not in leaders(harness, "t")


@pytest.mark.parametrize(("percentage", "moves"), [(24, True), (25, False)])
def test_r09_only_above_the_share_that_is_given(percentage: int, moves: bool) -> None:
    """One of the four partitions that broker 1 is preferred for is elsewhere: 25 %."""
    harness = Harness(ControllerConfig(leader_imbalance_per_broker_percentage=percentage))
    harness.start(1, 2)
    harness.create("t", (1, 2), (1, 2), (1, 2), (1, 2))
    harness.start(1, life=2)
    rejoin(harness)
    elect(harness, ("t", 0), ("t", 1), ("t", 2))
    assert leaders(harness, "t") == {1: 3, 2: 1}
    harness.advance(301_000, 1, 2)
    assert leaders(harness, "t") == ({1: 4} if moves else {1: 3, 2: 1})


def test_a_large_rebalance_comes_in_shares() -> None:
    harness = bounced(ControllerConfig(leader_moves_max=3, leader_imbalance_check_interval_seconds=10), partitions=24)
    harness.advance(10_000, 1, 2, 3)
    moved = [leaders(harness, "t")[1]]
    for _ in range(3):
        harness.advance(1_000, 1, 2, 3)
        moved.append(leaders(harness, "t")[1])
    assert moved == [3, 6, 8, 8]
