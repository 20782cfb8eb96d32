"""What administrators ask in Kafka's protocol, down to a real controller: translations, order, and every refusal."""

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from broker.kafka.api import ApiKey
from broker.kafka.list_partition_reassignments import ListPartitionReassignments
from broker.kafka.messages import alter_partition_reassignments as reassign
from broker.kafka.messages import create_partitions as grow
from broker.kafka.messages import delete_topics as delete
from broker.kafka.messages import describe_cluster as cluster
from broker.kafka.messages import describe_configs as configs
from broker.kafka.messages import describe_log_dirs as log_dirs
from broker.kafka.messages import describe_quorum as quorum
from broker.kafka.messages import describe_topic_partitions as pages
from broker.kafka.messages import elect_leaders as elect
from broker.kafka.messages import incremental_alter_configs as alter
from broker.kafka.messages import list_partition_reassignments as moves
from broker.kafka.messages.add_raft_voter import AddRaftVoterRequest
from broker.kafka.messages.alter_configs import AlterableConfig, AlterConfigsRequest, AlterConfigsResource
from broker.kafka.messages.create_topics import CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest
from broker.kafka.messages.delete_records import DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic
from broker.kafka.messages.describe_producers import DescribeProducersRequest
from broker.kafka.messages.describe_producers import TopicRequest as ProducersTopic
from broker.kafka.messages.init_producer_id import InitProducerIdRequest
from broker.kafka.messages.list_config_resources import ListConfigResourcesRequest
from broker.kafka.messages.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from broker.kafka.messages.sasl_handshake import SaslHandshakeRequest
from broker.kafka.messages.unregister_broker import UnregisterBrokerRequest
from broker.kafka.messages.update_features import FeatureUpdateKey, UpdateFeaturesRequest
from broker.metadata.records import PartitionChangeRecord, broker_resource, topic_resource
from kraftpy.error_codes import class_for
from kraftpy.errors import (
    BrokerIdNotRegisteredError,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    ElectionNotNeededError,
    FencedLeaderEpochError,
    IllegalSaslStateError,
    InconsistentClusterIdError,
    InvalidConfigError,
    InvalidPartitionsError,
    InvalidReplicaAssignmentError,
    InvalidReplicationFactorError,
    InvalidRequestError,
    InvalidTopicError,
    InvalidUpdateVersionError,
    KraftpyError,
    MismatchedEndpointTypeError,
    NoReassignmentInProgressError,
    NotControllerError,
    NotLeaderOrFollowerError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    TopicDeletionDisabledError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
    UnsupportedVersionError,
)
from log_store.producer_state import ProducerEntry
from tests.kafka.door_of_a_node import WALL_MS, Bed, classes, wanted

# --- topics ----------------------------------------------------------------------------------------------------------


def test_each_topic_is_created_or_refused_for_itself() -> None:
    bed = Bed()
    assigned = CreatableTopic(
        name="assigned",
        partitions=-1,
        replication_factor=-1,
        assignments=(
            CreatableReplicaAssignment(partition=1, broker_ids=(3, 1)),
            CreatableReplicaAssignment(partition=0, broker_ids=(2, 3)),
        ),
        configs=(),
    )
    both = CreatableTopic(
        name="both", partitions=2, replication_factor=-1, assignments=assigned.assignments, configs=()
    )
    topics = (wanted("a", 2, retention_ms="9"), wanted("b", retention_ms=None), both, assigned, wanted("no name"))
    told = bed.ask(ApiKey.CREATE_TOPICS, CreateTopicsRequest(topics=topics)).topics
    assert [each.name for each in told] == ["a", "b", "both", "assigned", "no name"]
    assert classes(told) == [None, InvalidConfigError, InvalidRequestError, None, InvalidTopicError]
    assert (told[0].partitions, told[0].replication_factor) == (2, 1)
    settings = {each.name: (each.value, each.config_source) for each in told[0].configs}
    assert settings["retention.ms"] == ("9", 1) and settings["cleanup.policy"] == ("delete", 5)
    image = bed.node.image
    topic = image.topic("assigned")
    assert topic is not None and [each.replicas for each in topic.partitions] == [(2, 3), (3, 1)]
    assert classes(bed.ask(ApiKey.CREATE_TOPICS, CreateTopicsRequest(topics=topics[:1])).topics) == [
        TopicAlreadyExistsError
    ]


@pytest.mark.parametrize("version", range(2, 8))
def test_only_validating_creates_nothing(version: int) -> None:
    bed = Bed()
    request = CreateTopicsRequest(topics=(wanted("a"),), validate_only=True)
    assert classes(bed.ask(ApiKey.CREATE_TOPICS, request, version).topics) == [None]
    assert bed.node.image.topic("a") is None


def test_topics_go_by_name_or_id() -> None:
    bed = Bed()
    first, second, _ = bed.create("a", "b", "c")
    states = (
        delete.DeleteTopicState(name=None, topic_id=second),
        delete.DeleteTopicState(name="a", topic_id=None),
        delete.DeleteTopicState(name=None, topic_id=UUID(int=5)),
        delete.DeleteTopicState(name="c", topic_id=first),
        delete.DeleteTopicState(name="missing", topic_id=None),
    )
    told = bed.ask(ApiKey.DELETE_TOPICS, delete.DeleteTopicsRequest(topics=states, timeout_ms=100)).responses
    assert [each.name for each in told] == ["b", "a", None, "c", "missing"]
    assert classes(told) == [None, None, UnknownTopicIdError, InvalidRequestError, UnknownTopicOrPartitionError]
    assert list(bed.node.image.topic_ids) == ["c"]
    by_name = delete.DeleteTopicsRequest(topic_names=("c",), timeout_ms=100)
    assert classes(bed.ask(ApiKey.DELETE_TOPICS, by_name, 5).responses) == [None]


@pytest.mark.parametrize("version", range(1, 7))
def test_where_topics_cannot_be_deleted_old_clients_hear_what_they_know(version: int) -> None:
    bed = Bed()
    bed.controller_error = TopicDeletionDisabledError("delete.topic.enable is false")
    asked = delete.DeleteTopicsRequest(
        topic_names=("a",), topics=(delete.DeleteTopicState(name="a", topic_id=None),), timeout_ms=100
    )
    told = InvalidRequestError if version < 3 else TopicDeletionDisabledError
    assert classes(bed.ask(ApiKey.DELETE_TOPICS, asked, version).responses) == [told]


def test_topics_grow() -> None:
    bed = Bed()
    bed.create("a", "b", "c")
    assignment = (grow.CreatePartitionsAssignment(broker_ids=(2, 3)),)
    topics = (
        grow.CreatePartitionsTopic(name="a", count=3, assignments=None),
        grow.CreatePartitionsTopic(name="b", count=1, assignments=None),
        grow.CreatePartitionsTopic(name="c", count=2, assignments=assignment),
    )
    request = grow.CreatePartitionsRequest(topics=topics, timeout_ms=100, validate_only=False)
    told = bed.ask(ApiKey.CREATE_PARTITIONS, request).results
    assert classes(told[:2]) == [None, InvalidPartitionsError]
    topic = bed.node.image.topic("a")
    assert topic is not None and len(topic.partitions) == 3


def test_an_empty_list_of_replicas_is_no_leave_to_choose_them() -> None:
    bed = Bed()
    bed.create("a", "b")
    topics = (
        grow.CreatePartitionsTopic(name="a", count=3, assignments=()),
        grow.CreatePartitionsTopic(name="b", count=2, assignments=None),
    )
    request = grow.CreatePartitionsRequest(topics=topics, timeout_ms=100, validate_only=False)
    told = bed.ask(ApiKey.CREATE_PARTITIONS, request).results
    assert [each.name for each in told] == ["a", "b"]
    assert classes(told) == [InvalidReplicaAssignmentError, None]
    grown = [bed.node.image.topic(name) for name in ("a", "b")]
    assert [topic and len(topic.partitions) for topic in grown] == [1, 2]


def test_pages_of_partitions_go_on_where_the_last_ended() -> None:
    bed = Bed()
    bed.create("a", "b", partitions=3)
    cursor: Any = None
    seen = []
    for _ in range(9):
        request = pages.DescribeTopicPartitionsRequest(topics=(), response_partition_limit=2, cursor=cursor)
        told = bed.ask(ApiKey.DESCRIBE_TOPIC_PARTITIONS, request)
        seen += [(topic.name, each.partition) for topic in told.topics for each in topic.partitions]
        if told.next_cursor is None:
            break
        cursor = pages.Cursor(topic_name=told.next_cursor.topic_name, partition=told.next_cursor.partition)
    assert seen == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("b", 2)]
    named = (pages.TopicRequest(name="missing"), pages.TopicRequest(name="b"))
    told = bed.ask(ApiKey.DESCRIBE_TOPIC_PARTITIONS, pages.DescribeTopicPartitionsRequest(topics=named))
    assert [each.name for each in told.topics] == ["b", "missing"]
    assert classes(told.topics) == [None, UnknownTopicOrPartitionError]


@pytest.mark.parametrize(
    "cursor", [pages.Cursor(topic_name="a", partition=0), pages.Cursor(topic_name="b", partition=-1)]
)
def test_a_page_that_begins_at_what_was_not_asked_for(cursor: pages.Cursor) -> None:
    bed = Bed()
    bed.create("a", "b")
    named = (pages.TopicRequest(name="c"), pages.TopicRequest(name="b"))
    told = bed.ask(ApiKey.DESCRIBE_TOPIC_PARTITIONS, pages.DescribeTopicPartitionsRequest(topics=named, cursor=cursor))
    assert [(each.name, each.partitions) for each in told.topics] == [("c", ()), ("b", ())]
    assert classes(told.topics) == [InvalidRequestError] * 2


# --- settings --------------------------------------------------------------------------------------------------------


def change(name: str, operation: int, value: str | None) -> alter.AlterableConfig:
    return alter.AlterableConfig(name=name, config_operation=operation, value=value)


def test_settings_change_one_by_one() -> None:
    bed = Bed()
    bed.create("a", "b")

    def altered(kind: int, name: str, *changes: alter.AlterableConfig) -> Any:
        resource = alter.AlterConfigsResource(resource_type=kind, resource_name=name, configs=changes)
        request = alter.IncrementalAlterConfigsRequest(resources=(resource,), validate_only=False)
        (told,) = bed.ask(ApiKey.INCREMENTAL_ALTER_CONFIGS, request).responses
        return class_for(told.error) if told.error else None

    assert altered(2, "a", change("retention.ms", 0, "5"), change("cleanup.policy", 2, "compact")) is None
    assert bed.node.image.config(topic_resource("a")) == {"retention.ms": "5", "cleanup.policy": "delete,compact"}
    assert altered(2, "a", change("retention.ms", 1, None), change("cleanup.policy", 3, "delete")) is None
    assert bed.node.image.config(topic_resource("a")) == {"cleanup.policy": "compact"}
    assert altered(2, "a", change("retention.ms", 0, None)) is InvalidRequestError
    assert altered(2, "a", change("retention.ms", 0, "1"), change("retention.ms", 1, None)) is InvalidRequestError
    assert altered(2, "a", change("retention.ms", 9, "1")) is InvalidRequestError
    assert altered(2, "a", change("retention.ms", 2, "1")) is InvalidConfigError
    assert altered(2, "missing", change("retention.ms", 0, "1")) is UnknownTopicOrPartitionError
    assert altered(4, "9", change("log.retention.ms", 0, "1")) is BrokerIdNotRegisteredError
    for kind in (16, 99):
        assert altered(kind, "1", change("x", 0, "1")) is InvalidRequestError


def test_settings_are_replaced_as_a_whole() -> None:
    bed = Bed()
    bed.create("a")
    for value in ("5", None):
        given = (AlterableConfig(name="retention.ms", value=value), AlterableConfig(name="segment.ms", value="77"))
        resource = AlterConfigsResource(resource_type=2, resource_name="a", configs=given)
        request = AlterConfigsRequest(resources=(resource,), validate_only=False)
        told = bed.ask(ApiKey.ALTER_CONFIGS, request).responses
        assert classes(told) == [None if value else InvalidRequestError]
    one = AlterConfigsResource(resource_type=2, resource_name="a", configs=given[1:])
    assert classes(
        bed.ask(ApiKey.ALTER_CONFIGS, AlterConfigsRequest(resources=(one,), validate_only=False)).responses
    ) == [None]
    assert bed.node.image.config(topic_resource("a")) == {"segment.ms": "77"}


def test_settings_are_told_with_their_sources_types_and_synonyms() -> None:
    bed = Bed()
    bed.create("a")
    setting = (change("log.retention.ms", 0, "7"),)
    everywhere = alter.AlterConfigsResource(resource_type=4, resource_name="", configs=setting)
    request = alter.IncrementalAlterConfigsRequest(resources=(everywhere,), validate_only=False)
    assert classes(bed.ask(ApiKey.INCREMENTAL_ALTER_CONFIGS, request).responses) == [None]

    def described(kind: int, name: str, *keys: str) -> Any:
        resource = configs.DescribeConfigsResource(
            resource_type=kind, resource_name=name, configuration_keys=keys or None
        )
        asked = configs.DescribeConfigsRequest(resources=(resource,), include_synonyms=True, include_documentation=True)
        (told,) = bed.ask(ApiKey.DESCRIBE_CONFIGS, asked).results
        return told

    (told,) = described(2, "a", "retention.ms").configs
    assert (told.value, told.config_source, told.config_type) == ("7", 3, 5)
    assert [(each.name, each.source) for each in told.synonyms] == [("log.retention.ms", 3), ("log.retention.ms", 5)]
    assert "retained" in told.documentation or told.documentation
    own = {each.name: each for each in described(4, "1").configs}
    assert own["node.id"].read_only and own["node.id"].value == "1"
    assert [each.source for each in own["log.retention.ms"].synonyms] == [3, 5]
    assert class_for(described(2, "missing").error) is UnknownTopicOrPartitionError
    assert (described(16, "x").error, described(16, "x").configs) == (0, ())


def test_the_root_logger_is_the_brokers_log_level() -> None:
    """What is listed as loggers can be described and altered (KIP-412)."""
    bed = Bed()
    listed = bed.ask(ApiKey.LIST_CONFIG_RESOURCES, ListConfigResourcesRequest(resource_types=(8,))).config_resources
    assert [(each.resource_type, each.resource_name) for each in listed] == [(8, "1"), (8, "2"), (8, "3")]

    def told(name: str = "1", *keys: str) -> Any:
        resource = configs.DescribeConfigsResource(resource_type=8, resource_name=name, configuration_keys=keys or None)
        asked = configs.DescribeConfigsRequest(resources=(resource,), include_synonyms=True)
        (result,) = bed.ask(ApiKey.DESCRIBE_CONFIGS, asked).results
        assert (result.resource_type, result.resource_name) == (8, name)
        assert classes([result]) == ([None] if name else [InvalidRequestError])
        return [(each.name, each.value, each.config_source, each.read_only, each.synonyms) for each in result.configs]

    def altered(*changes: alter.AlterableConfig, name: str = "1", validates: bool = False) -> Any:
        resource = alter.AlterConfigsResource(resource_type=8, resource_name=name, configs=changes)
        request = alter.IncrementalAlterConfigsRequest(resources=(resource,), validate_only=validates)
        (result,) = bed.ask(ApiKey.INCREMENTAL_ALTER_CONFIGS, request).responses
        assert (result.resource_type, result.resource_name) == (8, name)
        return class_for(result.error) if result.error else None

    assert told() == told("1", "root") == [("root", "INFO", 6, False, ())]
    assert told("1", "log.level") == told("") == []
    assert altered(change("root", 0, "DEBUG"), validates=True) is None and told()[0][1] == "INFO"
    assert altered(change("root", 0, "WARN")) is None and told() == [("root", "WARN", 6, False, ())]
    assert bed.node.image.config(broker_resource(1)) == {"log.level": "WARNING"}
    for level in ("WARNING", "TRACE", "warn"):
        assert altered(change("root", 0, level)) is InvalidConfigError
    assert altered(change("kafka.server", 0, "INFO")) is InvalidConfigError
    assert altered(change("root", 1, None)) is InvalidRequestError
    assert altered(change("root", 2, "INFO")) is altered(change("root", 3, "INFO")) is InvalidRequestError
    assert altered(change("root", 0, "INFO"), name="") is InvalidRequestError
    assert altered(change("root", 0, "INFO"), name="9") is BrokerIdNotRegisteredError
    whole = AlterConfigsResource(
        resource_type=8, resource_name="1", configs=(AlterableConfig(name="root", value="INFO"),)
    )
    request = AlterConfigsRequest(resources=(whole,), validate_only=False)
    assert classes(bed.ask(ApiKey.ALTER_CONFIGS, request).responses) == [InvalidRequestError]
    assert bed.node.image.config(broker_resource(1)) == {"log.level": "WARNING"}


def test_groups_have_the_settings_of_their_brokers() -> None:
    """Kafka's tools describe them (KIP-848); they are set in the brokers' files."""
    bed = Bed()
    resources = tuple(configs.DescribeConfigsResource(resource_type=32, resource_name=name) for name in ("g", ""))
    asked = configs.DescribeConfigsRequest(resources=resources, include_synonyms=True, include_documentation=True)
    group, nameless = bed.ask(ApiKey.DESCRIBE_CONFIGS, asked).results
    assert classes([group, nameless]) == [None, InvalidRequestError]
    assert [(each.name, each.value) for each in group.configs] == [
        ("consumer.heartbeat.interval.ms", "5000"),
        ("consumer.session.timeout.ms", "45000"),
    ]
    assert {(each.read_only, each.config_source, each.config_type) for each in group.configs} == {(True, 5, 3)}
    assert [each.name for each in group.configs[1].synonyms] == ["group.consumer.session.timeout.ms"]
    assert group.configs[1].documentation
    setting = (change("consumer.session.timeout.ms", 0, "50000"),)
    resource = alter.AlterConfigsResource(resource_type=32, resource_name="g", configs=setting)
    request = alter.IncrementalAlterConfigsRequest(resources=(resource,), validate_only=False)
    (refused,) = bed.ask(ApiKey.INCREMENTAL_ALTER_CONFIGS, request).responses
    assert classes([refused]) == [InvalidRequestError] and "group.consumer." in refused.error_message


def test_what_has_settings_is_listed() -> None:
    bed = Bed()
    bed.create("a")
    told = bed.ask(ApiKey.LIST_CONFIG_RESOURCES, ListConfigResourcesRequest(resource_types=(2, 4)))
    assert [(each.resource_type, each.resource_name) for each in told.config_resources] == [
        (2, "a"),
        (4, "1"),
        (4, "2"),
        (4, "3"),
    ]
    assert len(bed.ask(ApiKey.LIST_CONFIG_RESOURCES, ListConfigResourcesRequest()).config_resources) == 7
    assert bed.ask(ApiKey.LIST_CONFIG_RESOURCES, ListConfigResourcesRequest(), 0).config_resources == ()
    refused = bed.ask(ApiKey.LIST_CONFIG_RESOURCES, ListConfigResourcesRequest(resource_types=(77,)))
    assert class_for(refused.error) is UnsupportedVersionError


# --- the cluster -----------------------------------------------------------------------------------------------------


def test_the_cluster_and_its_fenced_brokers() -> None:
    bed = Bed()
    bed.node.harness.fence(3)
    request = cluster.DescribeClusterRequest(include_cluster_authorized_operations=True)
    told = bed.ask(ApiKey.DESCRIBE_CLUSTER, request)
    assert ([each.broker_id for each in told.brokers], told.controller_id) == ([1, 2], 1)
    assert told.cluster_authorized_operations > 0
    fenced = cluster.DescribeClusterRequest(include_cluster_authorized_operations=False, include_fenced_brokers=True)
    assert [each.is_fenced for each in bed.ask(ApiKey.DESCRIBE_CLUSTER, fenced).brokers] == [False, False, True]
    controllers = cluster.DescribeClusterRequest(include_cluster_authorized_operations=False, endpoint_type=2)
    assert class_for(bed.ask(ApiKey.DESCRIBE_CLUSTER, controllers).error) is MismatchedEndpointTypeError


@pytest.mark.parametrize("version", range(3))
def test_the_quorum(version: int) -> None:
    partitions = (quorum.AskedPartition(partition=0), quorum.AskedPartition(partition=1))
    topic = quorum.AskedTopic(topic_name="__cluster_metadata", partitions=partitions)
    told = Bed().ask(ApiKey.DESCRIBE_QUORUM, quorum.DescribeQuorumRequest(topics=(topic,)), version)
    first, second = told.topics[0].partitions
    assert classes([first, second]) == [None, UnknownTopicOrPartitionError]
    assert first.leader_id == 1 and [each.replica_id for each in first.current_voters]
    if version >= 1:
        assert first.current_voters[0].last_fetch_timestamp in range(-1, WALL_MS + 1)


def test_moves_are_listed() -> None:
    bed = Bed()
    topic_id, _ = bed.create("a", "b", partitions=2)
    image = bed.node.image
    change = PartitionChangeRecord(topic_id, 1, replicas=(1, 2, 3), adding_replicas=(3,), removing_replicas=(2,))
    moving, _ = image.apply([change], image.end_offset + 1, 1)

    def listed(*asked: moves.ListPartitionReassignmentsTopics, everything: bool = False) -> Any:
        view: Any = SimpleNamespace(image=moving)
        api = ListPartitionReassignments(view).api()
        request = moves.ListPartitionReassignmentsRequest(topics=None if everything else asked)
        answer = bed.ask_of(api, request, 0)
        return [
            (topic.name, each.partition, each.adding_replicas) for topic in answer.topics for each in topic.partitions
        ]

    assert listed(everything=True) == [("a", 1, (3,))]
    named = moves.ListPartitionReassignmentsTopics
    assert listed(named(name="a", partitions=(0, 1)), named(name="missing", partitions=(0,))) == [("a", 1, (3,))]
    assert listed(named(name="a", partitions=(0,))) == []


def test_partitions_move_and_move_back() -> None:
    bed = Bed()
    bed.create("a", "b")

    def move(topic: str, partition: int, replicas: tuple[int, ...] | None, version: int = 1, **fields: Any) -> Any:
        wanted = reassign.ReassignablePartition(partition=partition, replicas=replicas)
        topics = (reassign.ReassignableTopic(name=topic, partitions=(wanted,)),)
        request = reassign.AlterPartitionReassignmentsRequest(topics=topics, **fields)
        told = bed.ask(ApiKey.ALTER_PARTITION_REASSIGNMENTS, request, version)
        assert [each.name for each in told.responses] == [topic] and told.error == 0
        return classes(told.responses[0].partitions)

    state = bed.node.image.partition("a", 0)
    assert state is not None
    other = next(each for each in (1, 2) if each != state.replicas[0])
    assert move("a", 0, (other,)) == [None]
    listing = moves.ListPartitionReassignmentsRequest(topics=None)
    (listed,) = bed.ask(ApiKey.LIST_PARTITION_REASSIGNMENTS, listing).topics
    assert (listed.name, listed.partitions[0].adding_replicas) == ("a", (other,))
    assert move("a", 0, None, version=0) == [None]
    assert bed.ask(ApiKey.LIST_PARTITION_REASSIGNMENTS, listing).topics == ()
    assert move("a", 0, None) == [NoReassignmentInProgressError]
    assert move("a", 7, (1,)) == [UnknownTopicOrPartitionError]
    assert move("b", 0, (1, 1)) == [InvalidReplicaAssignmentError]
    assert move("b", 0, (1, 2), allow_replication_factor_change=False) == [InvalidReplicationFactorError]
    bed.controller_error = NotControllerError("nobody leads")
    refused = reassign.AlterPartitionReassignmentsRequest(topics=())
    assert class_for(bed.ask(ApiKey.ALTER_PARTITION_REASSIGNMENTS, refused).error) is NotControllerError


def test_elections() -> None:
    bed = Bed()
    bed.create("a")
    asked = (elect.TopicPartitions(topic="a", partitions=(0, 7)),)
    told = bed.ask(ApiKey.ELECT_LEADERS, elect.ElectLeadersRequest(topic_partitions=asked))
    assert classes(told.topics[0].partitions) == [ElectionNotNeededError, UnknownTopicOrPartitionError]
    assert bed.ask(ApiKey.ELECT_LEADERS, elect.ElectLeadersRequest(topic_partitions=())).topics == ()
    odd = bed.ask(ApiKey.ELECT_LEADERS, elect.ElectLeadersRequest(topic_partitions=asked, election_type=5))
    assert class_for(odd.error) is InvalidRequestError
    assert classes(odd.topics[0].partitions) == [InvalidRequestError] * 2


def test_features_go_up_only() -> None:
    bed = Bed()
    for level, error in ((99, InvalidUpdateVersionError), (0, InvalidUpdateVersionError)):
        update = FeatureUpdateKey(feature="metadata.version", max_version_level=level)
        request = UpdateFeaturesRequest(feature_updates=(update,))
        told = bed.ask(ApiKey.UPDATE_FEATURES, request)
        assert told.error and class_for(told.error) in (error, InvalidRequestError)
        old = bed.ask(ApiKey.UPDATE_FEATURES, request, 1)
        assert old.error == 0 and old.results[0].error == told.error
    twice = UpdateFeaturesRequest(feature_updates=())
    assert class_for(bed.ask(ApiKey.UPDATE_FEATURES, twice).error) is InvalidRequestError


def test_brokers_and_voters() -> None:
    bed = Bed()
    told = bed.ask(ApiKey.UNREGISTER_BROKER, UnregisterBrokerRequest(broker_id=9))
    assert class_for(told.error) is BrokerIdNotRegisteredError
    request = AddRaftVoterRequest(
        cluster_id="another", timeout_ms=100, voter_id=4, voter_directory_id=None, listeners=()
    )
    assert class_for(bed.ask(ApiKey.ADD_RAFT_VOTER, request).error) is InconsistentClusterIdError


# --- this broker -----------------------------------------------------------------------------------------------------


def test_log_directories() -> None:
    bed = Bed()
    told = bed.ask(ApiKey.DESCRIBE_LOG_DIRS, log_dirs.DescribeLogDirsRequest(topics=None)).results
    assert [each.log_dir for each in told] == ["/data", "/gone"]
    assert not any(each.is_cordoned for each in told)
    assert told[1].error and [each.partition for each in told[0].topics[0].partitions] == [0, 1]
    only = (log_dirs.DescribableLogDirTopic(topic="a", partitions=(1,)),)
    told = bed.ask(ApiKey.DESCRIBE_LOG_DIRS, log_dirs.DescribeLogDirsRequest(topics=only)).results
    assert [each.is_future_key for each in told[0].topics[0].partitions] == [True]
    cordon = alter.AlterConfigsResource(
        resource_type=4, resource_name="1", configs=(change("cordoned.log.dirs", 0, "*"),)
    )
    request = alter.IncrementalAlterConfigsRequest(resources=(cordon,), validate_only=False)
    assert classes(bed.ask(ApiKey.INCREMENTAL_ALTER_CONFIGS, request).responses) == [None]
    told = bed.ask(ApiKey.DESCRIBE_LOG_DIRS, log_dirs.DescribeLogDirsRequest(topics=None)).results
    assert all(each.is_cordoned for each in told)


@pytest.mark.parametrize(
    "error", [None, NotLeaderOrFollowerError("x"), OffsetOutOfRangeError("x"), FencedLeaderEpochError("x")]
)
def test_what_leaders_answer_about_their_logs(error: KraftpyError | None) -> None:
    bed = Bed()
    bed.replica_error = error
    expected = [None if error is None else type(error)]
    partition = DeleteRecordsPartition(partition=0, offset=5)
    deleted = bed.ask(
        ApiKey.DELETE_RECORDS,
        DeleteRecordsRequest(topics=(DeleteRecordsTopic(name="a", partitions=(partition,)),), timeout_ms=1),
    ).topics[0]
    assert classes(deleted.partitions) == expected
    assert deleted.partitions[0].low_watermark == (5 if error is None else -1)
    asked = OffsetForLeaderPartition(partition=0, leader_epoch=3)
    epochs = bed.ask(
        ApiKey.OFFSET_FOR_LEADER_EPOCH,
        OffsetForLeaderEpochRequest(topics=(OffsetForLeaderTopic(topic="a", partitions=(asked,)),)),
    ).topics[0]
    assert classes(epochs.partitions) == expected
    assert epochs.partitions[0].end_offset == (99 if error is None else -1)
    bed.producers = [ProducerEntry(7, 1, 8, 13, 3, 60, -1, 3)]
    found = bed.ask(
        ApiKey.DESCRIBE_PRODUCERS, DescribeProducersRequest(topics=(ProducersTopic(name="a", partitions=(0,)),))
    ).topics[0]
    assert classes(found.partitions) == expected
    told = [
        (each.producer_id, each.last_sequence, each.current_txn_start_offset)
        for each in found.partitions[0].active_producers
    ]
    assert told == ([(7, 8, 3)] if error is None else [])


def test_a_partition_that_is_named_again_tells_its_producers_once() -> None:
    bed = Bed()
    bed.producers = [ProducerEntry(7, 1, 8, 13, 3, 60, -1, 3)]
    topics = tuple(ProducersTopic(name=name, partitions=(0, 1, 0)) for name in ("a", "b", "a"))
    told = bed.ask(ApiKey.DESCRIBE_PRODUCERS, DescribeProducersRequest(topics=topics)).topics
    places = [(topic.name, each.partition) for topic in told for each in topic.partitions]
    assert places == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_producer_ids() -> None:
    bed = Bed()

    def ask(**fields: Any) -> Any:
        request = InitProducerIdRequest(**{"transactional_id": None, "transaction_timeout_ms": 1, **fields})
        return bed.ask(ApiKey.INIT_PRODUCER_ID, request)

    assert (ask().producer_id, ask().producer_epoch) == (4_711, 0)
    assert ask(producer_id=5, producer_epoch=2).producer_id == 4_711, "an idempotent producer begins anew"
    assert class_for(ask(producer_id=5).error) is InvalidRequestError
    assert class_for(ask(transactional_id="t").error) is CoordinatorNotAvailableError, "who it is the coordinator says"
    bed.id_error = CoordinatorLoadInProgressError("later")
    assert (class_for(ask().error), ask().producer_id) == (CoordinatorLoadInProgressError, -1)


def test_nobody_authenticates() -> None:
    told = Bed().ask(ApiKey.SASL_HANDSHAKE, SaslHandshakeRequest(mechanism="PLAIN"))
    assert (class_for(told.error), told.mechanisms) == (IllegalSaslStateError, ())


def test_where_no_controller_is_known_every_item_says_so() -> None:
    bed = Bed()
    bed.create("a")
    bed.controller_error = NotControllerError("nobody leads")
    created = bed.ask(ApiKey.CREATE_TOPICS, CreateTopicsRequest(topics=(wanted("b"), wanted("c", x=None)))).topics
    assert classes(created) == [NotControllerError, InvalidConfigError]
    states = (delete.DeleteTopicState(name="a", topic_id=None),)
    deleted = bed.ask(ApiKey.DELETE_TOPICS, delete.DeleteTopicsRequest(topics=states, timeout_ms=1)).responses
    assert classes(deleted) == [NotControllerError]
    topics = (grow.CreatePartitionsTopic(name="a", count=3, assignments=None),)
    growing = grow.CreatePartitionsRequest(topics=topics, timeout_ms=1, validate_only=False)
    assert classes(bed.ask(ApiKey.CREATE_PARTITIONS, growing).results) == [NotControllerError]
    resource = alter.AlterConfigsResource(resource_type=2, resource_name="a", configs=(change("retention.ms", 0, "1"),))
    altering = alter.IncrementalAlterConfigsRequest(resources=(resource,), validate_only=False)
    assert classes(bed.ask(ApiKey.INCREMENTAL_ALTER_CONFIGS, altering).responses) == [NotControllerError]
    asked = (elect.TopicPartitions(topic="a", partitions=(0,)),)
    elected = bed.ask(ApiKey.ELECT_LEADERS, elect.ElectLeadersRequest(topic_partitions=asked))
    assert class_for(elected.error) is NotControllerError
    assert classes(elected.topics[0].partitions) == [NotControllerError]
    topic = quorum.AskedTopic(topic_name="__cluster_metadata", partitions=(quorum.AskedPartition(partition=0),))
    told = bed.ask(ApiKey.DESCRIBE_QUORUM, quorum.DescribeQuorumRequest(topics=(topic,)))
    assert class_for(told.error) is NotControllerError
    unregistered = bed.ask(ApiKey.UNREGISTER_BROKER, UnregisterBrokerRequest(broker_id=1))
    assert class_for(unregistered.error) is NotControllerError
