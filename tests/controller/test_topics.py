"""Topics: created, grown, deleted; what cannot be is refused by Kafka's error name and a sentence that helps."""

from uuid import UUID

import pytest

from broker.controller.commands import (
    AlterConfigs,
    AlterPartitionReassignments,
    ConfigAlteration,
    ConfigChange,
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    NewPartitions,
    NewTopic,
    Operation,
    Reassignment,
    TopicResult,
)
from broker.controller.config import ControllerConfig
from broker.metadata.records import broker_resource, topic_resource
from kraftpy.errors import InvalidConfigError, PolicyViolationError, TopicDeletionDisabledError
from tests.controller.harness import Harness


@pytest.fixture
def three() -> Harness:
    harness = Harness()
    harness.start(1, 2, 3)
    return harness


def grow(harness: Harness, name: str, total: int, *assignment: tuple[int, ...]) -> TopicResult:
    return harness.submit(CreatePartitions((NewPartitions(name, total, assignment),))).topics[0]


def delete(harness: Harness, *named: str | UUID) -> tuple[TopicResult, ...]:
    return harness.submit(DeleteTopics(named)).topics


def error_name(result: TopicResult) -> str | None:
    return result.error.name if result.error else None


# --- creation -------------------------------------------------------------------------------------------------------


def test_a_topic_has_what_was_asked_for(three: Harness) -> None:
    result = three.try_create(NewTopic("orders", 6, 3, {"min.insync.replicas": "2"}))
    topic = three.image.topic("orders")
    assert topic is not None
    assert (result.error, result.topic_id, result.partitions, result.replication_factor) == (None, topic.topic_id, 6, 3)
    assert topic.topic_id.version == 4
    assert three.image.config(topic_resource("orders")) == {"min.insync.replicas": "2"}
    for state in topic.partitions:
        assert state.isr == state.replicas and state.leader == state.preferred_leader
        assert (state.leader_epoch, state.partition_epoch) == (0, 0)


def cordon(harness: Harness, broker_id: int) -> None:
    change = ConfigChange("cordoned.log.dirs", Operation.SET, "*")
    command = AlterConfigs((ConfigAlteration(broker_resource(broker_id), (change,)),))
    assert harness.submit(command).resources[0].error is None


def test_kip_1066_a_cordoned_broker_takes_no_new_replicas_and_keeps_what_it_has(three: Harness) -> None:
    three.create("old", (3, 1))
    cordon(three, 3)
    assert three.partition("old").leader == 3 and three.partition("old").isr == (3, 1)
    assert three.try_create(NewTopic("new", 6, 2)).error is None
    assert all(3 not in three.partition("new", number).replicas for number in range(6))
    assert grow(three, "old", 3).error is None
    assert all(3 not in three.partition("old", number).replicas for number in (1, 2))
    wide = three.try_create(NewTopic("wide", 1, 3))
    assert error_name(wide) == "INVALID_REPLICATION_FACTOR" and "besides 1 cordoned" in str(wide.error)
    assert error_name(three.try_create(NewTopic("named", assignment=((1, 3),)))) == "INVALID_REPLICA_ASSIGNMENT"
    assert error_name(grow(three, "old", 4, (3, 2))) == "INVALID_REPLICA_ASSIGNMENT"


def test_a_topic_grows_by_the_replicas_that_it_will_have(three: Harness) -> None:
    """Not by those that are there while one of its partitions moves."""
    three.create("t", (1, 2))
    three.submit(AlterPartitionReassignments((Reassignment("t", 0, (3, 2)),)))
    assert len(three.partition("t").replicas) == 3
    assert grow(three, "t", 2).error is None
    assert len(three.partition("t", 1).replicas) == 2


def test_defaults_are_the_clusters() -> None:
    harness = Harness(ControllerConfig(num_partitions=4, default_replication_factor=2))
    harness.start(1, 2, 3)
    result = harness.try_create(NewTopic("orders"))
    assert (result.partitions, result.replication_factor) == (4, 2)


def test_a_dead_broker_gets_replicas_only_where_it_must(three: Harness) -> None:
    three.fence(3)
    three.create("t", (1, 2))
    assert three.try_create(NewTopic("two", 4, 2)).error is None
    assert all(3 not in three.partition("two", number).replicas for number in range(4))
    assert three.try_create(NewTopic("three", 4, 3)).error is None
    for number in range(4):
        state = three.partition("three", number)
        assert sorted(state.replicas) == [1, 2, 3] and sorted(state.isr) == [1, 2] and state.leader != 3


@pytest.mark.parametrize(
    ("topic", "name", "says"),
    [
        (NewTopic(""), "INVALID_TOPIC_EXCEPTION", "needs a name"),
        (NewTopic(".."), "INVALID_TOPIC_EXCEPTION", 'cannot be called ".."'),
        (NewTopic("x" * 250), "INVALID_TOPIC_EXCEPTION", "at most 249"),
        (NewTopic("a topic"), "INVALID_TOPIC_EXCEPTION", "other characters"),
        (NewTopic("sümmer"), "INVALID_TOPIC_EXCEPTION", "other characters"),
        (NewTopic("new\nline"), "INVALID_TOPIC_EXCEPTION", "other characters"),
        (NewTopic("taken"), "TOPIC_ALREADY_EXISTS", "exists already"),
        (NewTopic("web.log"), "INVALID_TOPIC_EXCEPTION", "cannot be told from web_log"),
        (NewTopic("t", 0, 1), "INVALID_PARTITIONS", "at least one"),
        (NewTopic("t", -2, 1), "INVALID_PARTITIONS", "at least one"),
        (NewTopic("t", 1, 0), "INVALID_REPLICATION_FACTOR", "at least 1"),
        (NewTopic("t", 1, 4), "INVALID_REPLICATION_FACTOR", "3 are registered: start 1 more, or ask for 3"),
        (NewTopic("t", 1, 1, {"retention.msec": "1"}), "INVALID_CONFIG", "did you mean retention.ms?"),
        (NewTopic("t", 1, 1, {"retention.ms": "soon"}), "INVALID_CONFIG", "it is a whole number"),
        (NewTopic("t", 1, 1, assignment=((1,),)), "INVALID_REQUEST", "not both"),
        (NewTopic("t", assignment=((1, 1),)), "INVALID_REPLICA_ASSIGNMENT", "twice"),
        (NewTopic("t", assignment=((1, 2), (1,))), "INVALID_REPLICA_ASSIGNMENT", "needs 2 replicas"),
        (NewTopic("t", assignment=((),)), "INVALID_REPLICA_ASSIGNMENT", "needs some replicas"),
        (NewTopic("t", assignment=((9,),)), "INVALID_REPLICA_ASSIGNMENT", "broker 9 is not registered"),
    ],
)
def test_what_cannot_be_created(three: Harness, topic: NewTopic, name: str, says: str) -> None:
    three.create("taken", (1,))
    three.create("web_log", (1,))
    before = three.image
    result = three.try_create(topic)
    assert error_name(result) == name
    assert says in str(result.error)
    assert three.image == before


def test_a_replica_list_needs_somebody_live(three: Harness) -> None:
    three.fence(1)
    assert error_name(three.try_create(NewTopic("t", assignment=((1,),)))) == "INVALID_REPLICA_ASSIGNMENT"
    assert three.try_create(NewTopic("t", assignment=((1, 2),))).error is None
    assert (three.partition("t").leader, three.partition("t").isr) == (2, (2,))


def test_each_topic_stands_or_falls_alone_and_later_ones_see_earlier_ones(three: Harness) -> None:
    topics = (NewTopic("a.b", 1, 1), NewTopic("a_b", 1, 1), NewTopic("c"), NewTopic("d"), NewTopic("c"))
    results = three.submit(CreateTopics(topics)).topics
    assert [error_name(result) for result in results] == [
        None,
        "INVALID_TOPIC_EXCEPTION",
        "INVALID_REQUEST",
        None,
        "INVALID_REQUEST",
    ]
    assert sorted(three.image.topic_ids) == ["a.b", "d"]


def test_r07_topics_of_one_request_spread_their_leaders_together(three: Harness) -> None:
    three.submit(CreateTopics(tuple(NewTopic(f"t{number}", 1, 3) for number in range(9))))
    leaders = [three.partition(f"t{number}").leader for number in range(9)]
    assert sorted(leaders.count(broker_id) for broker_id in (1, 2, 3)) == [3, 3, 3]


def test_validate_only_changes_nothing(three: Harness) -> None:
    before = three.image
    result = three.try_create(NewTopic("orders", 6, 3), validate_only=True)
    assert (result.error, result.partitions) == (None, 6)
    assert error_name(three.try_create(NewTopic("..", 6, 3), validate_only=True)) == "INVALID_TOPIC_EXCEPTION"
    assert three.image == before and three.image.topic("orders") is None


def test_a_request_has_a_limit(three: Harness) -> None:
    assert three.try_create(NewTopic("most", 10_000, 1)).error is None
    with pytest.raises(PolicyViolationError):
        three.try_create(NewTopic("more", 10_001, 1))
    with pytest.raises(PolicyViolationError):
        three.submit(CreateTopics(tuple(NewTopic(f"t{number}", 1_000, 1) for number in range(11))))
    with pytest.raises(PolicyViolationError):
        three.submit(CreatePartitions((NewPartitions("most", 20_001),)))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"delete.retention.ms": "21600000"}, "how long this topic keeps records is retention.ms"),
        ({"min.insync.replicas": "3"}, "more than the topic's 2 replicas"),
    ],
)
def test_s08_what_is_hardly_meant_is_said(three: Harness, config: dict[str, str], says: str) -> None:
    result = three.try_create(NewTopic("t", 1, 2, config))
    assert result.error is None
    assert says in "".join(result.warnings)


def test_no_warning_where_there_is_nothing_to_say(three: Harness) -> None:
    assert three.try_create(NewTopic("t", 1, 2, {"retention.ms": "1", "min.insync.replicas": "2"})).warnings == ()
    compacted = {"cleanup.policy": "compact", "delete.retention.ms": "1", "min.cleanable.dirty.ratio": "0.1"}
    assert three.try_create(NewTopic("u", 1, 2, compacted)).warnings == ()


def test_lags_that_contradict_each_other_are_refused(three: Harness) -> None:
    lags = {"min.compaction.lag.ms": "2", "max.compaction.lag.ms": "1"}
    error = three.try_create(NewTopic("t", 1, 2, lags)).error
    assert isinstance(error, InvalidConfigError)
    assert "max.compaction.lag.ms=1" in str(error)


# --- growth ---------------------------------------------------------------------------------------------------------


def test_l06_partitions_are_added_and_the_old_ones_stay(three: Harness) -> None:
    three.try_create(NewTopic("t", 2, 2))
    before = three.image.topic("t")
    assert grow(three, "t", 6).error is None
    topic = three.image.topic("t")
    assert before is not None and topic is not None
    assert topic.partitions[:2] == before.partitions and len(topic.partitions) == 6
    leaders = [state.leader for state in topic.partitions]
    assert sorted(leaders.count(broker_id) for broker_id in (1, 2, 3)) == [2, 2, 2]


def test_l07_partitions_cannot_be_taken_away(three: Harness) -> None:
    three.try_create(NewTopic("t", 3, 1))
    result = grow(three, "t", 2)
    assert error_name(result) == "INVALID_PARTITIONS"
    assert "has 3 partitions, and 2 would be fewer" in str(result.error)
    assert error_name(grow(three, "t", 3)) == "INVALID_PARTITIONS"
    assert error_name(grow(three, "u", 3)) == "UNKNOWN_TOPIC_OR_PARTITION"


def test_growth_by_hand(three: Harness) -> None:
    three.create("t", (1, 2))
    assert error_name(grow(three, "t", 3, (2, 3))) == "INVALID_REPLICA_ASSIGNMENT"
    assert error_name(grow(three, "t", 2, (2, 3, 1))) == "INVALID_REPLICA_ASSIGNMENT"
    assert grow(three, "t", 2, (3, 1)).error is None
    assert three.partition("t", 1).replicas == (3, 1)


# --- deletion -------------------------------------------------------------------------------------------------------


def test_a_deleted_topic_leaves_nothing_and_its_name_is_free_for_another(three: Harness) -> None:
    first = three.create("a.b", (1, 2), config={"retention.ms": "5"})
    assert [result.topic_id for result in delete(three, "a.b")] == [first]
    assert not three.image.topics and not three.image.configs
    second = three.create("a_b", (1, 2))
    assert second != first


def test_deletion_by_id_and_what_is_not_there(three: Harness) -> None:
    topic_id = three.create("t", (1,))
    results = delete(three, topic_id, "t", "u", UUID(int=5))
    assert [error_name(result) for result in results] == [
        None,
        "INVALID_REQUEST",
        "UNKNOWN_TOPIC_OR_PARTITION",
        "UNKNOWN_TOPIC_ID",
    ]
    assert not three.image.topics


def test_l05_deletion_can_be_disabled() -> None:
    harness = Harness(ControllerConfig(delete_topic_enable=False))
    with pytest.raises(TopicDeletionDisabledError):
        delete(harness, "t")


def test_a_topic_made_again_is_settled_like_a_new_one(three: Harness) -> None:
    """The index forgets deleted partitions: no failover of theirs, no count in the spread."""
    three.create("t", (1, 2), (1, 2), (1, 2))
    delete(three, "t")
    three.fence(1)
    three.beat(1)
    three.submit(CreateTopics((NewTopic("t", 3, 1),)))
    assert sorted(three.partition("t", number).leader for number in range(3)) == [1, 2, 3]


# --- settings -------------------------------------------------------------------------------------------------------


def test_a_setting_can_be_changed_later(three: Harness) -> None:
    three.create("t", (1, 2), config={"retention.ms": "5"})
    changes = (
        ConfigChange("retention.ms", Operation.SET, "7"),
        ConfigChange("segment.bytes", Operation.SET, "2097152"),
    )
    resource = topic_resource("t")
    assert three.submit(AlterConfigs((ConfigAlteration(resource, changes),))).resources[0].error is None
    assert three.image.config(resource) == {"retention.ms": "7", "segment.bytes": "2097152"}
    three.submit(AlterConfigs((ConfigAlteration(resource, (ConfigChange("retention.ms", Operation.DELETE),)),)))
    assert three.image.config(resource) == {"segment.bytes": "2097152"}
