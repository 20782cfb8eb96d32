"""Brokers tell of replicas that they cannot serve (KIP-112, KIP-858) or have lost; what becomes of the partitions."""

import pytest

from broker.controller.commands import (
    AlterPartition,
    AlterPartitionReassignments,
    DeleteTopics,
    ElectLeaders,
    Heartbeat,
    IsrMember,
    IsrProposal,
    Reassignment,
    ReplicaReport,
    ReportReplicas,
)
from broker.controller.config import ControllerConfig
from broker.controller.result import ReplicasReported, UncleanElection
from broker.metadata.features import ELIGIBLE_LEADER_REPLICAS_VERSION, METADATA_VERSION
from broker.metadata.records import NO_LEADER, FeatureLevelRecord, OfflineReplicasRecord
from broker.metadata.state import Standing
from kraftpy.errors import IneligibleReplicaError, InvalidRequestError, StaleBrokerEpochError
from tests.controller.harness import Harness
from tests.controller.test_brokers import brief

ONLINE, OFFLINE, LOST, DAMAGED = Standing


def report(harness: Harness, broker_id: int, standing: Standing, *partitions: int, topic: str = "t") -> None:
    topic_id = harness.image.topic_ids[topic]
    replicas = tuple(ReplicaReport(topic_id, partition, standing) for partition in partitions)
    harness.submit(ReportReplicas(broker_id, harness.image.brokers[broker_id].epoch, replicas))


@pytest.fixture
def three() -> Harness:
    """Brokers 1, 2, 3 and a topic "t" with partitions led by 1, 1, 2."""
    harness = Harness()
    harness.start(1, 2, 3)
    harness.create("t", (1, 2, 3), (1, 2, 3), (2, 3, 1))
    return harness


def test_kip_112_a_failed_directory_moves_its_own_leaders_only(three: Harness) -> None:
    report(three, 1, OFFLINE, 0, 2)
    assert brief(three.partition("t", 0)) == (2, (2, 3), 1)
    assert brief(three.partition("t", 1)) == (1, (1, 2, 3), 0), "in a directory that is well"
    assert brief(three.partition("t", 2)) == (2, (2, 3), 0)
    assert three.image.is_active(1)
    assert three.facts[-1] == ReplicasReported(1, 0, 2, 0, leaders_moved=1, left_without_leader=0)


def test_nodes_of_the_first_release_are_not_told_of_marks(three: Harness) -> None:
    three.core.replay([FeatureLevelRecord(METADATA_VERSION, 1)], len(three.records))
    three.records.append(FeatureLevelRecord(METADATA_VERSION, 1))
    report(three, 1, OFFLINE, 0)
    assert brief(three.partition("t", 0)) == (2, (2, 3), 1)
    assert not any(isinstance(record, OfflineReplicasRecord) for record in three.records)
    assert not three.image.brokers[1].offline


def test_a_report_that_is_repeated_changes_nothing(three: Harness) -> None:
    report(three, 1, OFFLINE, 0)
    before = three.image.end_offset
    report(three, 1, OFFLINE, 0)
    assert three.image.end_offset == before


def test_a_controller_that_died_between_the_marks_and_the_elections_is_repaired_by_the_next_report(
    three: Harness,
) -> None:
    topic_id = three.image.topic_ids["t"]
    command = ReportReplicas(1, three.image.brokers[1].epoch, (ReplicaReport(topic_id, 0, OFFLINE),))
    first = three.core.handle(command, three.now_ms).entries(1)[0]
    three.core.replay(first, len(three.records))
    three.records += first
    three.fail_over()
    report(three, 1, OFFLINE, 0)
    assert brief(three.partition("t", 0)) == (2, (2, 3), 1)


def test_an_offline_replica_is_not_taken_back_into_the_isr(three: Harness) -> None:
    report(three, 1, OFFLINE, 0)
    state = three.partition("t", 0)
    members = tuple(IsrMember(number, three.image.brokers[number].epoch) for number in (1, 2, 3))
    topic_id = three.image.topic_ids["t"]
    proposal = IsrProposal(topic_id, 0, state.leader_epoch, state.partition_epoch, members)
    altered = three.submit(AlterPartition(2, three.image.brokers[2].epoch, (proposal,))).partitions[0]
    assert isinstance(altered.error, IneligibleReplicaError)


@pytest.mark.parametrize("elr", [0, 1])
def test_the_last_member_stays_the_one_to_lead_while_it_is_offline_and_leads_nothing(three: Harness, elr: int) -> None:
    """It is eligible; without that feature it stays in the ISR."""
    three.put(FeatureLevelRecord(ELIGIBLE_LEADER_REPLICAS_VERSION, elr))
    three.create("alone", (1,))
    report(three, 1, OFFLINE, 0, topic="alone")
    state = three.partition("alone")
    assert state.leader == NO_LEADER, "its records may still be there"
    assert (state.isr, state.eligible_replicas) == (((), (1,)) if elr else ((1,), ()))
    three.fail_over()
    assert three.partition("alone").leader == NO_LEADER, "the next controller knows it, too"
    three.start(1, life=2)
    assert three.partition("alone").leader == 1, "a new life can read its directory, or says so before it is unfenced"


@pytest.mark.parametrize("elr", [0, 1])
def test_nothing_is_elected_that_a_starting_broker_has_lost(elr: int) -> None:
    """The operator removed the only copy while the broker was down."""
    harness = Harness()
    harness.put(FeatureLevelRecord(ELIGIBLE_LEADER_REPLICAS_VERSION, elr))
    harness.start(1)
    harness.create("t", (1,))
    epoch = harness.register(1, life=2)
    report(harness, 1, LOST, 0)
    assert not harness.submit(Heartbeat(1, epoch, harness.image.end_offset)).is_fenced
    assert brief(harness.partition("t"))[:2] == (NO_LEADER, ())
    assert harness.partition("t").eligible_replicas == harness.partition("t").last_known_elr == ()
    harness.submit(ElectLeaders((("t", 0),), unclean=True))
    assert brief(harness.partition("t"))[:2] == (1, (1,)), "by an explicit command only"
    assert harness.facts.count(UncleanElection("t", 0, 1, ())) == 1


def test_one_of_several_copies_lost_leaves_the_isr_and_may_come_back(three: Harness) -> None:
    report(three, 1, LOST, 0)
    assert brief(three.partition("t", 0)) == (2, (2, 3), 1)
    state = three.partition("t", 0)
    members = tuple(IsrMember(number, three.image.brokers[number].epoch) for number in (1, 2, 3))
    proposal = IsrProposal(three.image.topic_ids["t"], 0, state.leader_epoch, state.partition_epoch, members)
    assert three.submit(AlterPartition(2, three.image.brokers[2].epoch, (proposal,))).partitions[0].error is None


def test_a_lost_replica_is_not_eligible_and_an_offline_one_is_where_everything_was_flushed(three: Harness) -> None:
    """KIP-966 meets KIP-858: the two last replicas of t, and of u whose appends counted before they were flushed."""
    for name, config in (("safe", {}), ("fast", {"flush.messages": "1000"})):
        three.create(name, (1, 2), (1, 2), config={"min.insync.replicas": "2", **config})
    three.fence(2)
    assert [three.partition(name, 0).eligible_replicas for name in ("safe", "fast")] == [(2,), (2,)]
    three.beat(2)
    for name in ("safe", "fast"):
        report(three, 2, OFFLINE, 0, topic=name)
        report(three, 2, LOST, 1, topic=name)
    assert [three.partition("safe", number).eligible_replicas for number in (0, 1)] == [(2,), ()]
    assert [three.partition("fast", number).eligible_replicas for number in (0, 1)] == [(), ()]
    report(three, 2, ONLINE, 0, topic="safe")
    three.fence(1)
    assert brief(three.partition("safe", 0))[:2] == (2, (2,)), "it has everything that was acknowledged"
    assert brief(three.partition("safe", 1))[:2] == (NO_LEADER, ())


@pytest.mark.parametrize("replicas", [(1, 2), (1,)])
def test_what_a_broker_has_lost_that_holds_no_replica_is_nothing(three: Harness, replicas: tuple[int, ...]) -> None:
    """Its directory may be older than a reassignment."""
    three.create("u", replicas)
    three.advance(4_000, 3)
    for broker_id in replicas:
        three.register(broker_id, disk=2)
    before = three.partition("u")
    assert (before.leader, before.isr, before.eligible_replicas) == (NO_LEADER, (), ())
    three.beat(1)
    report(three, 3, LOST, 0, topic="u")
    three.fence(2)
    three.beat(2)
    assert three.partition("u") == before, "the disks are empty"
    assert not any(isinstance(fact, UncleanElection) for fact in three.facts)


def test_a_former_replica_takes_back_its_mark(three: Harness) -> None:
    three.create("u", (1, 2))
    report(three, 2, OFFLINE, 0, topic="u")
    topic_id = three.image.topic_ids["u"]
    three.submit(AlterPartitionReassignments((Reassignment("u", 0, (1, 3)),)))
    three.propose_isr("u", 0, 1, 3)
    assert three.partition("u").replicas == (1, 3)
    assert topic_id in three.image.brokers[2].offline
    report(three, 2, ONLINE, 0, topic="u")
    assert topic_id not in three.image.brokers[2].offline


def test_what_is_offline_of_a_topic_goes_with_the_topic(three: Harness) -> None:
    report(three, 1, OFFLINE, 0, 2)
    report(three, 2, OFFLINE, 1)
    three.submit(DeleteTopics(("t",)))
    assert not any(broker.offline for broker in three.image.brokers.values())


def test_a_replica_that_is_online_again_leads_what_had_no_leader(three: Harness) -> None:
    three.create("alone", (1,))
    report(three, 1, OFFLINE, 0, topic="alone")
    report(three, 1, ONLINE, 0, topic="alone")
    assert three.partition("alone").leader == 1
    assert not three.image.brokers[1].offline


def test_an_unclean_election_passes_over_an_offline_replica(three: Harness) -> None:
    three.create("u", (1, 2), config={"unclean.leader.election.enable": "true"})
    three.fence(2)
    report(three, 1, OFFLINE, 0, topic="u")
    assert brief(three.partition("u"))[:2] == (NO_LEADER, ())
    assert three.partition("u").eligible_replicas == (1,)
    three.advance(4_000, 1, 3)
    three.start(2, life=2)
    assert brief(three.partition("u"))[:2] == (2, (2,))


def test_a_preferred_leader_that_is_offline_gets_nothing_back(three: Harness) -> None:
    report(three, 1, OFFLINE, 0, 1)
    three.advance(ControllerConfig().leader_imbalance_check_interval_seconds * 1_000 + 1_000, 1, 2, 3)
    assert three.partition("t", 0).leader == 2


def test_reports_of_former_lives_and_of_what_is_gone(three: Harness) -> None:
    topic_id = three.image.topic_ids["t"]
    with pytest.raises(StaleBrokerEpochError):
        three.submit(ReportReplicas(1, three.image.brokers[1].epoch - 1, (ReplicaReport(topic_id, 0, OFFLINE),)))
    before = three.image.end_offset
    three.submit(ReportReplicas(1, three.image.brokers[1].epoch, (ReplicaReport(topic_id, 99, OFFLINE),)))
    assert three.image.end_offset == before
    many = tuple(ReplicaReport(topic_id, number, OFFLINE) for number in range(10_001))
    with pytest.raises(InvalidRequestError):
        three.submit(ReportReplicas(1, three.image.brokers[1].epoch, many))


# --- damage ----------------------------------------------------------------------------------------------------------


def marks(harness: Harness, broker_id: int) -> tuple[int, ...]:
    return harness.image.brokers[broker_id].offline.get(harness.image.topic_ids["t"], ())


def test_a_damaged_leader_hands_over_and_is_not_taken_back_before_it_says_so(three: Harness) -> None:
    report(three, 1, DAMAGED, 0, 2)
    assert brief(three.partition("t", 0)) == (2, (2, 3), 1)
    assert brief(three.partition("t", 2)) == (2, (2, 3), 0), "a follower leaves the ISR, nobody needs a new epoch"
    assert marks(three, 1) == (0, 2)
    assert three.facts[-1] == ReplicasReported(1, 0, 0, 0, leaders_moved=1, left_without_leader=0, damaged=2)
    state = three.partition("t", 0)
    proposal = IsrProposal(
        three.image.topic_ids["t"],
        0,
        state.leader_epoch,
        state.partition_epoch,
        tuple(IsrMember(broker_id, three.image.brokers[broker_id].epoch) for broker_id in (1, 2, 3)),
    )
    altered = three.submit(AlterPartition(2, three.image.brokers[2].epoch, (proposal,)))
    assert isinstance(altered.partitions[0].error, IneligibleReplicaError)
    report(three, 1, ONLINE, 0, 2)
    assert marks(three, 1) == ()
    altered = three.submit(AlterPartition(2, three.image.brokers[2].epoch, (proposal,)))
    assert altered.partitions[0].error is None


def test_the_last_one_in_sync_leads_on_although_it_is_damaged(three: Harness) -> None:
    for broker_id in (2, 3):
        three.fence(broker_id)
    before = brief(three.partition("t", 0))
    assert before[:2] == (1, (1,))
    report(three, 1, DAMAGED, 0)
    assert brief(three.partition("t", 0)) == before
    assert marks(three, 1) == ()
    three.beat(2)
    report(three, 1, DAMAGED, 0)
    assert brief(three.partition("t", 0)) == before, "nobody else is in sync yet"


def test_an_eligible_replica_leads_before_a_damaged_one() -> None:
    harness = Harness()
    harness.start(1, 2, 3)
    harness.create("t", (1, 2, 3), config={"min.insync.replicas": "2"})
    for broker_id in (3, 2):
        harness.fence(broker_id)
    state = harness.partition("t", 0)
    assert (state.isr, state.eligible_replicas) == ((1,), (2,))
    report(harness, 1, DAMAGED, 0)
    assert harness.partition("t", 0).leader == 1, "the eligible one is not there"
    harness.beat(2)
    report(harness, 1, DAMAGED, 0)
    state = harness.partition("t", 0)
    assert (state.leader, state.isr, state.eligible_replicas) == (2, (2,), ())
    assert marks(harness, 1) == (0,)


def test_a_damaged_replica_outside_of_the_in_sync_set_is_kept_there(three: Harness) -> None:
    three.fence(1)
    three.beat(1)
    before = brief(three.partition("t", 0))
    assert 1 not in before[1]
    report(three, 1, DAMAGED, 0)
    assert brief(three.partition("t", 0)) == before
    assert marks(three, 1) == (0,)


def test_where_nobody_leads_a_damaged_replica_is_not_marked(three: Harness) -> None:
    for broker_id in (1, 2, 3):
        three.fence(broker_id)
    state = three.partition("t", 0)
    assert (state.leader, state.isr, state.eligible_replicas) == (NO_LEADER, (), (3,))
    three.beat(1)
    before = brief(three.partition("t", 0))
    report(three, 1, DAMAGED, 0)
    assert brief(three.partition("t", 0)) == before
    assert marks(three, 1) == ()


def test_a_report_is_a_sentence() -> None:
    told = ReplicasReported(1, 0, 3, 1, leaders_moved=2, left_without_leader=1)
    assert str(told) == "broker 1 reports 3 replicas offline, 1 replicas lost; 2 leaderships moved, 1 have none now"
    assert (
        str(ReplicasReported(2, 4, 0, 0, leaders_moved=0, left_without_leader=0))
        == "broker 2 reports 4 replicas online"
    )
