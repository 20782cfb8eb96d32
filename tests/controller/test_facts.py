"""Facts as an operator reads them in a node's log: sentences."""

import pytest

from broker.controller.result import (
    BrokerAppeared,
    BrokerFenced,
    BrokerShuttingDown,
    BrokerUnfenced,
    ControllerStalled,
    Fact,
    LeadersRebalanced,
    TopicCreated,
    TopicDeleted,
    UncleanElection,
)

SENTENCES: list[tuple[Fact, str]] = [
    (BrokerAppeared(3, False), "broker 3 registered"),
    (BrokerAppeared(3, True), "broker 3 registered, with a new disk: its replicas are copied anew"),
    (BrokerUnfenced(3, 0), "broker 3 is in service"),
    (BrokerUnfenced(3, 2), "broker 3 is in service; 2 partitions have a leader again"),
    (
        BrokerFenced(3, "nobody listens there", 4, 0),
        "broker 3 is out of service: nobody listens there; 4 leaderships moved",
    ),
    (BrokerFenced(3, "it has shut down", 0, 0), "broker 3 is out of service: it has shut down"),
    (BrokerShuttingDown(3, 1, 2), "broker 3 is shutting down; 1 leaderships moved, 2 have none now"),
    (UncleanElection("t", 0, 2, (1, 3)), "t-0 is led by broker 2, which was not in sync (in sync: 1, 3)"),
    (LeadersRebalanced(7), "7 leaderships went back to their preferred replicas"),
    (TopicCreated("t", 6, 3), "topic t created: 6 partitions, replication factor 3"),
    (TopicDeleted("t"), "topic t deleted"),
    (ControllerStalled(900), "this node stood still for 900 ms: every broker is forgiven as long a silence"),
]


@pytest.mark.parametrize(("fact", "sentence"), SENTENCES, ids=[type(fact).__name__ for fact, _ in SENTENCES])
def test_it_is_a_sentence(fact: Fact, sentence: str) -> None:
    assert str(fact) == sentence
