"""A client's picture of the cluster never goes back."""

from kraftpy.client.cluster_view import ClusterView, Leader, PartitionView, TopicView
from kraftpy.runtime.ports import Address

BROKERS = {1: Address("a", 1), 2: Address("b", 2)}


def view(*epochs: int, leader: int = 1, topic_id: bytes = b"1") -> TopicView:
    return TopicView("t", topic_id, False, tuple(PartitionView(i, leader, epoch) for i, epoch in enumerate(epochs)))


def known(*topics: TopicView) -> ClusterView:
    return ClusterView().merged("c", 1, BROKERS, topics, {})


def test_an_older_epoch_changes_nothing_and_a_newer_one_does() -> None:
    first = known(view(5))
    assert first.merged("c", 1, BROKERS, [view(4, leader=2)], {}).leader("t", 0) == Leader(1, 5)
    assert first.merged("c", 1, BROKERS, [view(6, leader=2)], {}).leader("t", 0) == Leader(2, 6)


def test_a_topic_that_was_made_anew_begins_again() -> None:
    assert known(view(5)).merged("c", 1, BROKERS, [view(0, topic_id=b"2")], {}).leader("t", 0) == Leader(1, 0)


def test_a_hint_counts_only_when_it_is_news_and_can_be_followed() -> None:
    first = known(view(5))
    assert first.with_leader("t", 0, Leader(2, 6)).leader("t", 0) == Leader(2, 6)
    for leader in (Leader(2, 5), Leader(2, 4), Leader(3, 9)):
        assert first.with_leader("t", 0, leader) is first
    assert first.with_leader("t", 1, Leader(2, 6)) is first
    assert first.with_leader("u", 0, Leader(2, 6)) is first


def test_a_leader_that_is_gone_is_none() -> None:
    assert known(view(5, leader=3)).leader("t", 0) is None
    assert known(view(5, leader=-1)).leader("t", 0) is None
    assert known(view(5)).leader("t", 1) is None


def test_partitions_are_not_taken_away_by_a_node_that_lags() -> None:
    assert len(known(view(1, 1, 1)).merged("c", 1, BROKERS, [view(1)], {}).topics["t"].partitions) == 3


def test_a_missing_topic_is_an_error_until_it_is_found() -> None:
    missing = known(view(1)).merged("c", 1, BROKERS, [], {"t": 3})
    assert (dict(missing.topics), missing.errors) == ({}, {"t": 3})
    assert missing.merged("c", 1, BROKERS, [view(0)], {}).errors == {}
    assert missing.without(["t"]).errors == {}
