"""AlterPartition: every check by its name, in Kafka's order."""

from uuid import UUID

import pytest

from broker.controller.commands import AlteredPartition, AlterPartition, IsrMember, IsrProposal
from kraftpy.errors import InvalidRequestError
from tests.controller.harness import Harness


@pytest.fixture
def harness() -> Harness:
    """Partition 0 of "t" is led by 1; 3 has left the ISR and is live again; leader epoch 0, partition epoch 1."""
    harness = Harness()
    harness.start(1, 2, 3, 4)
    harness.create("t", (1, 2, 3))
    harness.fence(3)
    harness.beat(3)
    return harness


def propose(
    harness: Harness,
    *isr: int,
    broker_id: int = 1,
    leader_epoch: int = 0,
    partition_epoch: int = 1,
    epochs: dict[int, int] | None = None,
    recovering: bool = False,
    topic_id: UUID | None = None,
    partition: int = 0,
) -> AlteredPartition:
    known = {number: broker.epoch for number, broker in harness.image.brokers.items()} | (epochs or {})
    members = tuple(IsrMember(number, known.get(number, -1)) for number in isr)
    topic_id = topic_id or harness.image.topic_ids["t"]
    proposal = IsrProposal(topic_id, partition, leader_epoch, partition_epoch, members, recovering)
    epoch = harness.image.brokers[broker_id].epoch
    return harness.submit(AlterPartition(broker_id, epoch, (proposal,))).partitions[0]


def test_r04_a_replica_that_has_caught_up_is_taken_back(harness: Harness) -> None:
    altered = propose(harness, 1, 2, 3)
    state = harness.partition("t")
    assert altered.error is None and altered.state == state
    assert (state.isr, state.leader_epoch, state.partition_epoch) == ((1, 2, 3), 0, 2)


def test_r03_a_replica_that_lags_is_put_out(harness: Harness) -> None:
    assert propose(harness, 1).error is None
    assert harness.partition("t").isr == (1,)


def test_the_same_set_again_is_no_change(harness: Harness) -> None:
    before = harness.image
    assert propose(harness, 1, 2).state == harness.partition("t")
    assert harness.image == before


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"topic_id": UUID(int=5)}, "UNKNOWN_TOPIC_ID"),
        ({"partition": 1}, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"partition": -1}, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"leader_epoch": 1}, "NOT_CONTROLLER"),
        ({"partition_epoch": 2}, "NOT_CONTROLLER"),
        ({"leader_epoch": -1}, "FENCED_LEADER_EPOCH"),
        ({"leader_epoch": -1, "broker_id": 2}, "FENCED_LEADER_EPOCH"),
        ({"broker_id": 2}, "INVALID_REQUEST"),
        ({"partition_epoch": 0}, "INVALID_UPDATE_VERSION"),
        ({"recovering": True}, "INVALID_REQUEST"),
        ({"epochs": {3: 0}}, "INELIGIBLE_REPLICA"),
        ({"epochs": {2: 0}}, "INELIGIBLE_REPLICA"),
    ],
)
def test_checks(harness: Harness, changes: dict[str, object], name: str) -> None:
    before = harness.image
    altered = propose(harness, 1, 2, 3, **changes)  # type: ignore[arg-type]
    assert altered.error is not None and altered.error.name == name
    assert altered.state is None and harness.image == before


@pytest.mark.parametrize(("isr", "says"), [((1, 1), "twice"), ((1, 4), "not part"), ((2,), "without"), ((), "without")])
def test_sets_that_cannot_be(harness: Harness, isr: tuple[int, ...], says: str) -> None:
    error = propose(harness, *isr).error
    assert isinstance(error, InvalidRequestError) and says in str(error)


def test_an_unknown_epoch_is_taken_on_trust_as_kafka_does(harness: Harness) -> None:
    assert propose(harness, 1, 2, 3, epochs={3: -1}).error is None


def test_a_partition_that_recovers_settles_before_it_grows() -> None:
    harness = Harness()
    harness.start(1, 2)
    harness.create("t", (1, 2), config={"unclean.leader.election.enable": "true"})
    harness.fence(2)
    harness.beat(2)
    harness.fence(1)
    state = harness.partition("t")
    assert (state.leader, state.isr, state.recovering) == (2, (2,), True)
    harness.beat(1)
    epochs = {"leader_epoch": state.leader_epoch, "partition_epoch": state.partition_epoch}
    refused = propose(harness, 2, 1, broker_id=2, recovering=True, **epochs)  # type: ignore[arg-type]
    assert isinstance(refused.error, InvalidRequestError)
    settled = propose(harness, 2, 1, broker_id=2, **epochs)  # type: ignore[arg-type]
    assert settled.error is None
    assert (harness.partition("t").isr, harness.partition("t").recovering) == ((2, 1), False)


def test_one_partition_of_a_request_may_fail_alone(harness: Harness) -> None:
    harness.create("u", (1, 2))
    members = (IsrMember(1, -1),)
    good = IsrProposal(harness.image.topic_ids["u"], 0, 0, 0, members)
    bad = IsrProposal(harness.image.topic_ids["t"], 0, 0, 0, members)
    altered = harness.submit(AlterPartition(1, harness.image.brokers[1].epoch, (bad, good))).partitions
    assert [item.error.name if item.error else None for item in altered] == ["INVALID_UPDATE_VERSION", None]
    assert harness.partition("u").isr == (1,)


def test_a_request_that_names_a_partition_twice_is_refused_whole(harness: Harness) -> None:
    proposal = IsrProposal(harness.image.topic_ids["t"], 0, 0, 1, (IsrMember(1, -1),))
    with pytest.raises(InvalidRequestError):
        harness.submit(AlterPartition(1, harness.image.brokers[1].epoch, (proposal, proposal)))
