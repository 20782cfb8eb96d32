"""Partitions move to other brokers (KIP-455), as stories."""

import pytest

from broker.controller.commands import (
    AlterConfigs,
    AlterPartitionReassignments,
    ConfigAlteration,
    ConfigChange,
    IsrMember,
    Operation,
    Reassignment,
)
from broker.controller.result import ReassignmentBegun, ReassignmentEnded
from broker.metadata.features import METADATA_VERSION
from broker.metadata.records import NO_LEADER, FeatureLevelRecord, broker_resource
from broker.metadata.state import PartitionState
from kraftpy.errors import (
    InvalidReplicaAssignmentError,
    InvalidReplicationFactorError,
    InvalidRequestError,
    KraftpyError,
    NewLeaderElectedError,
    NoReassignmentInProgressError,
    UnknownTopicOrPartitionError,
    UnsupportedVersionError,
)
from tests.controller.harness import Harness


@pytest.fixture
def six() -> Harness:
    """Brokers 1 to 6; `t` lies on the first three, min.insync.replicas=2."""
    harness = Harness()
    harness.start(1, 2, 3, 4, 5, 6)
    harness.create("t", (1, 2, 3), config={"min.insync.replicas": "2"})
    return harness


def move(harness: Harness, *target: int, keep: bool = False) -> KraftpyError | None:
    command = AlterPartitionReassignments((Reassignment("t", 0, target),), keep)
    return harness.submit(command).partitions[0].error


def cancel(harness: Harness) -> KraftpyError | None:
    return harness.submit(AlterPartitionReassignments((Reassignment("t", 0, None),))).partitions[0].error


def at_rest(state: PartitionState, *replicas: int) -> bool:
    return state.replicas == replicas and not (
        state.is_reassigning or state.adding_replicas or state.removing_replicas or state.eligible_replicas
    )


def test_a_move_begins_with_the_new_ones_outside_the_isr(six: Harness) -> None:
    assert move(six, 4, 2, 3) is None
    state = six.partition("t")
    assert state.replicas == (4, 2, 3, 1)
    assert (state.adding_replicas, state.removing_replicas) == ((4,), (1,))
    assert (state.isr, state.leader, state.leader_epoch) == ((1, 2, 3), 1, 0)
    assert ReassignmentBegun("t", 0, (4,), (1,)) in six.facts


def test_nothing_moves_below_the_metadata_version_that_has_words_for_it() -> None:
    harness = Harness()
    harness.put(FeatureLevelRecord(METADATA_VERSION, 2))
    harness.start(1, 2)
    harness.create("t", (1,))
    with pytest.raises(
        UnsupportedVersionError, match=r"needs metadata\.version=3, and the cluster works with 2: .*upgrade"
    ):
        move(harness, 2)
    with pytest.raises(UnsupportedVersionError):
        cancel(harness)
    assert at_rest(harness.partition("t"), 1)


def test_kip_1066_nothing_moves_to_a_cordoned_broker_and_what_is_there_may_stay(six: Harness) -> None:
    change = ConfigChange("cordoned.log.dirs", Operation.SET, "*")
    for broker_id in (3, 4):
        six.submit(AlterConfigs((ConfigAlteration(broker_resource(broker_id), (change,)),)))
    refused = move(six, 4, 2, 3)
    assert isinstance(refused, InvalidReplicaAssignmentError) and "broker 4 is cordoned" in str(refused)
    assert move(six, 5, 2, 3) is None
    assert cancel(six) is None
    assert move(six, 5, 1, 2) is None
    assert cancel(six) is None
    assert at_rest(six.partition("t"), 1, 2, 3), "back to where it was is nothing new"


def test_a_move_is_complete_when_every_target_is_in_sync(six: Harness) -> None:
    move(six, 4, 5, 6)
    six.propose_isr("t", 0, 1, 2, 3, 4)
    six.propose_isr("t", 0, 1, 2, 3, 4, 5)
    assert six.partition("t").replicas == (4, 5, 6, 1, 2, 3)
    error = six.propose_isr("t", 0, 1, 2, 3, 4, 5, 6)
    assert isinstance(error, NewLeaderElectedError)
    state = six.partition("t")
    assert at_rest(state, 4, 5, 6) and state.isr == (4, 5, 6)
    assert (state.leader, state.leader_epoch) == (4, 1)
    assert ReassignmentEnded("t", 0, (4, 5, 6)) in six.facts


def test_a_leader_that_stays_goes_on_in_a_new_epoch(six: Harness) -> None:
    """So that nobody listens to the replica that has gone."""
    move(six, 1, 2, 4)
    six.propose_isr("t", 0, 1, 2, 3, 4)
    state = six.partition("t")
    assert at_rest(state, 1, 2, 4) and (state.leader, state.leader_epoch) == (1, 1)


def test_the_replication_factor_is_raised_and_lowered(six: Harness) -> None:
    move(six, 1, 2, 3, 4)
    state = six.partition("t")
    assert (state.adding_replicas, state.replication_factor) == ((4,), 3)
    six.propose_isr("t", 0, 1, 2, 3, 4)
    state = six.partition("t")
    assert at_rest(state, 1, 2, 3, 4) and state.leader_epoch == 0, "nobody has gone: the epoch goes on"
    assert move(six, 2, 4) is None
    state = six.partition("t")
    assert at_rest(state, 2, 4) and state.isr == (2, 4) and state.leader == 2


def test_replicas_go_only_once_the_others_are_in_sync(six: Harness) -> None:
    six.fence(2)
    move(six, 2, 3)
    assert six.partition("t").removing_replicas == (1,)
    six.beat(2)
    six.propose_isr("t", 0, 1, 2, 3)
    assert at_rest(six.partition("t"), 2, 3)


def test_another_order_of_the_same_replicas_is_there_at_once(six: Harness) -> None:
    assert move(six, 3, 1, 2) is None
    state = six.partition("t")
    assert at_rest(state, 3, 1, 2) and (state.leader, state.leader_epoch) == (1, 0)
    records = len(six.records)
    assert move(six, 3, 1, 2) is None
    assert len(six.records) == records, "nothing to do is nothing written"


def test_a_cancelled_move_leaves_everything_as_it_was(six: Harness) -> None:
    six.create("u", (3, 1, 2))
    before = six.partition("t")
    move(six, 4, 3, 2, 5)
    six.propose_isr("t", 0, 1, 2, 3, 4)
    assert cancel(six) is None
    state = six.partition("t")
    assert at_rest(state, 1, 2, 3)
    assert (state.isr, state.leader) == (before.isr, before.leader)
    assert state.leader_epoch == 1, "4 has gone"
    assert isinstance(cancel(six), NoReassignmentInProgressError)


def test_a_cancellation_gives_the_leadership_back(six: Harness) -> None:
    move(six, 4, 2, 3)
    six.propose_isr("t", 0, 1, 2, 4)
    six.fence(1)
    assert six.partition("t").leader == 4
    assert isinstance(cancel(six), InvalidReplicaAssignmentError), "2 alone would be below min.insync.replicas"
    six.beat(1)
    six.propose_isr("t", 0, 1, 2, 4)
    assert cancel(six) is None
    state = six.partition("t")
    assert at_rest(state, 1, 2, 3) and state.isr == (1, 2) and state.leader == 1


def test_what_alone_has_everything_cannot_be_cancelled_away(six: Harness) -> None:
    move(six, 4, 5, 6)
    six.propose_isr("t", 0, 1, 4)
    six.fence(1)
    assert six.partition("t").isr == (4,)
    assert isinstance(cancel(six), InvalidReplicaAssignmentError)
    assert isinstance(move(six, 1, 2, 5), InvalidReplicaAssignmentError)
    assert six.partition("t").isr == (4,)


def test_what_alone_has_everything_cannot_be_cancelled_away_while_it_is_down() -> None:
    harness = Harness()
    harness.start(1, 2, 3, 4, 5, 6)
    harness.create("t", (1, 2, 3), config={"min.insync.replicas": "1"})
    move(harness, 4, 5, 6)
    harness.propose_isr("t", 0, 1, 4)
    harness.fence(1)
    harness.fence(4)
    before = harness.partition("t")
    assert (before.isr, before.eligible_replicas) == ((), (4,))
    assert isinstance(cancel(harness), InvalidReplicaAssignmentError)
    assert isinstance(move(harness, 1, 2, 5), InvalidReplicaAssignmentError)
    assert harness.partition("t") == before
    assert move(harness, 4, 2, 3) is None, "it stays"


def test_another_target_replaces_the_first(six: Harness) -> None:
    move(six, 4, 2, 3)
    six.propose_isr("t", 0, 1, 2, 3, 4)
    assert at_rest(six.partition("t"), 4, 2, 3)
    move(six, 5, 6, 3)
    six.propose_isr("t", 0, 4, 2, 3, 5)
    assert move(six, 6, 1, 3) is None
    state = six.partition("t")
    assert state.replicas == (6, 1, 3, 4, 2) and state.isr == (4, 2, 3)
    assert (state.adding_replicas, state.removing_replicas) == ((6, 1), (4, 2))
    assert cancel(six) is None
    assert at_rest(six.partition("t"), 4, 2, 3)


def test_a_target_that_dies_in_mid_move_is_waited_for(six: Harness) -> None:
    move(six, 4, 2, 3)
    six.fence(4)
    assert six.partition("t").is_reassigning
    six.fence(1)
    state = six.partition("t")
    assert (state.leader, state.isr) == (2, (2, 3))
    six.beat(4)
    six.propose_isr("t", 0, 2, 3, 4)
    assert at_rest(six.partition("t"), 4, 2, 3)


def test_the_target_takes_over_when_the_others_die_in_mid_move(six: Harness) -> None:
    move(six, 4, 5, 6)
    six.propose_isr("t", 0, 1, 2, 3, 4, 5)
    for broker_id in (1, 2, 3):
        six.fence(broker_id)
    state = six.partition("t")
    assert (state.leader, state.isr) == (4, (4, 5))
    six.propose_isr("t", 0, 4, 5, 6)
    state = six.partition("t")
    assert at_rest(state, 4, 5, 6) and state.leader == 4


def test_a_move_counts_min_isr_without_the_ones_that_are_being_added(six: Harness) -> None:
    """KIP-966: nobody is eligible by a minimum that the partition had not to keep before the move."""
    six.create("one", (1,), config={"min.insync.replicas": "3"})
    six.submit(AlterPartitionReassignments((Reassignment("one", 0, (1, 2, 3)),)))
    state = six.partition("one")
    assert (state.isr, state.eligible_replicas, state.replication_factor) == ((1,), (), 1)


def test_a_partition_without_a_leader_can_be_given_other_replicas(six: Harness) -> None:
    for broker_id in (3, 2, 1):
        six.fence(broker_id)
    assert move(six, 2, 4, 5) is None
    state = six.partition("t")
    assert state.leader == NO_LEADER and state.eligible_replicas == (2, 1)
    six.beat(1)
    assert six.partition("t").leader == 1


def test_a_new_controller_goes_on_with_moves(six: Harness) -> None:
    move(six, 4, 2, 3)
    six.fail_over()
    six.propose_isr("t", 0, 1, 2, 3, 4)
    assert at_rest(six.partition("t"), 4, 2, 3)


def test_the_factor_can_be_kept(six: Harness) -> None:
    assert isinstance(move(six, 1, 2, keep=True), InvalidReplicationFactorError)
    assert move(six, 4, 2, 1, keep=True) is None
    assert isinstance(move(six, 4, 2, keep=True), InvalidReplicationFactorError), "also in mid-move"


@pytest.mark.parametrize(
    ("target", "sentence"),
    [((), "at least one"), ((1, 1), "twice"), ((1, 2, 9), "broker 9 is not registered; 1, 2, 3, 4, 5, 6 are")],
)
def test_nonsense_is_refused(six: Harness, target: tuple[int, ...], sentence: str) -> None:
    error = move(six, *target)
    assert isinstance(error, InvalidReplicaAssignmentError) and sentence in str(error)


def test_each_item_stands_alone(six: Harness) -> None:
    items = (Reassignment("t", 1, (1,)), Reassignment("t", 0, (4, 2, 3)), Reassignment("t", 0, (5, 2, 3)))
    errors = [item.error for item in six.submit(AlterPartitionReassignments(items)).partitions]
    assert isinstance(errors[0], UnknownTopicOrPartitionError)
    assert errors[1] is None and isinstance(errors[2], InvalidRequestError)


def test_kip_903_a_new_life_of_the_target_does_not_complete_a_move(six: Harness) -> None:
    move(six, 4, 2, 3)
    old_epoch = six.image.brokers[4].epoch
    six.start(4, life=2)
    error = six.propose_isr("t", 0, 1, 2, 3, members=(IsrMember(4, old_epoch),))
    assert error is not None and six.partition("t").is_reassigning
