"""Calls that come after later ones of the same broker."""

from dataclasses import replace
from uuid import UUID

import pytest

from broker.controller.commands import AlterPartition, IsrMember, IsrProposal, ReplicaReport, ReportReplicas
from broker.controller.turns import Turns
from broker.metadata.state import Standing
from kraftpy.errors import IneligibleReplicaError, InvalidRequestError, NotControllerError
from tests.controller.harness import Harness

EPOCH = 7


@pytest.fixture
def three() -> Harness:
    """Brokers 1, 2, 3 and a topic "t" with one partition, which 1 leads."""
    harness = Harness()
    harness.start(1, 2, 3)
    harness.create("t", (1, 2, 3))
    return harness


@pytest.mark.parametrize("kind", [ReportReplicas, AlterPartition])
def test_each_kind_of_call_in_its_order(kind: type[ReportReplicas] | type[AlterPartition]) -> None:
    turns = Turns(EPOCH)
    first, second = (kind(1, 5, (), EPOCH, number) for number in (1, 2))
    turns.take(second)
    for late in (first, second):
        with pytest.raises(InvalidRequestError, match="later"):
            turns.take(late)
    turns.take(replace(first, broker_id=2))
    turns.take(replace(first, broker_epoch=6))  # who begins a life numbers anew


def test_kinds_do_not_wait_for_each_other() -> None:
    turns = Turns(EPOCH)
    turns.take(ReportReplicas(1, 5, (), EPOCH, 2))
    turns.take(AlterPartition(1, 5, (), EPOCH, 1))


@pytest.mark.parametrize("epoch", [EPOCH - 1, EPOCH + 1])
def test_a_call_is_for_the_controller_of_one_epoch(epoch: int) -> None:
    with pytest.raises(NotControllerError):
        Turns(EPOCH).take(ReportReplicas(1, 5, (), epoch, 1))


def test_who_numbers_nothing_is_taken_as_it_comes() -> None:
    turns = Turns(EPOCH)
    for _ in range(2):
        turns.take(ReportReplicas(1, 5, ()))


def test_a_report_that_comes_after_a_later_one_is_refused(three: Harness) -> None:
    """The broker was answered the later one, so it would never tell again what this one undoes."""
    topic_id = three.image.topic_ids["t"]

    def report(number: int, standing: Standing) -> ReportReplicas:
        replicas = (ReplicaReport(topic_id, 0, standing),)
        return ReportReplicas(2, three.image.brokers[2].epoch, replicas, three.epoch, number)

    delayed = report(1, Standing.DAMAGED)
    three.submit(report(2, Standing.DAMAGED))
    three.submit(report(3, Standing.ONLINE))
    with pytest.raises(InvalidRequestError):
        three.submit(delayed)
    three.fail_over()
    with pytest.raises(NotControllerError):
        three.submit(delayed)
    assert not three.image.brokers[2].offline


def proposal(harness: Harness, topic_id: UUID, number: int) -> AlterPartition:
    """Of broker 1: that all three are in sync."""
    state = harness.partition("t")
    members = tuple(IsrMember(each, harness.image.brokers[each].epoch) for each in (1, 2, 3))
    item = IsrProposal(topic_id, 0, state.leader_epoch, state.partition_epoch, members)
    return AlterPartition(1, harness.image.brokers[1].epoch, (item,), harness.epoch, number)


@pytest.mark.parametrize("controllers", [1, 3])
def test_a_proposal_that_its_leader_counts_on_no_more_is_refused(three: Harness, controllers: int) -> None:
    """Told that broker 3 is not eligible, the leader acknowledges records without it; so what it sent before must not
    take it in, though neither the partition's epochs nor broker 3's have changed."""
    topic_id = three.image.topic_ids["t"]
    assert three.propose_isr("t", 0, 1, 2) is None
    delayed = proposal(three, topic_id, 1)
    three.fence(3)
    for _ in range(controllers // 2):
        three.fail_over()
        three.beat(1)
        three.beat(2)
    (answer,) = three.submit(proposal(three, topic_id, 2)).partitions
    assert isinstance(answer.error, IneligibleReplicaError)
    for _ in range(controllers // 2):
        three.fail_over()
    for each in (1, 2, 3):
        three.beat(each)
    assert three.image.is_active(3)
    with pytest.raises(InvalidRequestError if controllers == 1 else NotControllerError):
        three.submit(delayed)
    assert three.partition("t").isr == (1, 2)
    (answer,) = three.submit(proposal(three, topic_id, 3)).partitions
    assert answer.error is None
