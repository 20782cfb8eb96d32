"""Admin's methods on the active controller: requests to commands, results to responses, refusals of each kind."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest
from google.protobuf.message import Message

from broker.controller.commands import Command
from broker.controller.config import ControllerConfig
from broker.metadata.image import MetadataImage
from broker.metadata.records import topic_resource
from broker.rpc.controller_admin import ControllerAdmin
from kraftpy.error_codes import code_of, error_for
from kraftpy.errors import (
    BrokerIdNotRegisteredError,
    EligibleLeadersNotAvailableError,
    InvalidConfigError,
    InvalidPartitionsError,
    InvalidReplicaAssignmentError,
    InvalidRequestError,
    KraftpyError,
    NotControllerError,
    PolicyViolationError,
    TopicAlreadyExistsError,
    TopicDeletionDisabledError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
    VoterNotFoundError,
)
from kraftpy.pb import admin_pb2 as pb
from raft.errors import Overloaded
from raft.events import NodeId
from raft.status import QuorumStatus
from tests.controller.harness import Harness
from tests.rpc.cluster import PlainQuorum

R = TypeVar("R")
M = TypeVar("M", bound=Message)


class Node:
    """The active controller's node, with brokers 1, 2 and 3 in service."""

    cluster_id = "test"
    has_joined = True
    controller_id = 1

    def __init__(self, config: ControllerConfig | None = None) -> None:
        self.harness = Harness(config)
        self.harness.start(1, 2, 3)
        self.quorum = PlainQuorum()
        self.admin = ControllerAdmin(self, self.quorum, self)

    @property
    def image(self) -> MetadataImage:
        return self.harness.image

    async def submit(self, command: Command[R]) -> R:
        return self.harness.submit(command)

    def run(self, method: str, request: Message, answer: type[M]) -> M:
        return answer.FromString(asyncio.run(self.admin.run(method, request.SerializeToString())))

    def create(self, *topics: pb.NewTopic, **fields: Any) -> list[pb.TopicResult]:
        request = pb.CreateTopicsRequest(topics=topics, **fields)
        return list(self.run("CreateTopics", request, pb.TopicResults).topics)

    def refusal(self, method: str, request: Message) -> KraftpyError:
        with pytest.raises(KraftpyError) as caught:
            self.run(method, request, pb.TopicResults)
        return caught.value


def topic(name: str, partitions: int = -1, replication_factor: int = -1, **config: str) -> pb.NewTopic:
    named = {key.replace("_", "."): value for key, value in config.items()}
    return pb.NewTopic(name=name, partitions=partitions, replication_factor=replication_factor, config=named)


def assignment(*placed: tuple[int, Sequence[int]]) -> list[pb.ReplicaAssignment]:
    return [pb.ReplicaAssignment(partition=partition, replicas=replicas) for partition, replicas in placed]


def errors(results: Sequence[Any]) -> list[type[KraftpyError] | None]:
    return [type(error_for(each.error)) if each.error else None for each in results]


def test_topics_are_created_each_for_itself() -> None:
    node = Node()
    results = node.create(
        topic("a", 3, 2, retention_ms="9", cleanup_policy="compact"),
        topic("b"),
        topic("b"),
        topic("c", 0),
        topic("d", -7),
        topic("e", 1, 1, retention_mss="1"),
    )
    assert [each.name for each in results] == ["a", "b", "b", "c", "d", "e"]
    assert errors(results) == [
        None,
        InvalidRequestError,
        InvalidRequestError,
        InvalidPartitionsError,
        InvalidPartitionsError,
        InvalidConfigError,
    ]
    created = node.image.topic("a")
    assert created is not None and created.topic_id.bytes == results[0].topic_id
    assert (results[0].partitions, results[0].replication_factor) == (3, 2)
    assert not results[0].warnings
    assert "did you mean retention.ms" in results[5].error_message
    assert errors(node.create(topic("a"))) == [TopicAlreadyExistsError]


def test_only_validating_changes_nothing() -> None:
    node = Node()
    assert errors(node.create(topic("a", 2), validate_only=True)) == [None]
    assert node.image.topic("a") is None


def test_an_assignment_may_come_in_any_order_but_must_be_whole() -> None:
    node = Node()
    given = {
        "good": assignment((1, [2, 3]), (0, [1, 2])),
        "gap": assignment((0, [1]), (2, [2])),
        "late": assignment((1, [1])),
        "twice": assignment((0, [1]), (0, [2])),
        "negative": assignment((-1, [1]), (0, [2])),
        "nobody": assignment((0, [])),
        "stranger": assignment((0, [9])),
    }
    new = [pb.NewTopic(name=name, assignment=placed) for name, placed in given.items()]
    results = node.create(*new)
    assert errors(results) == [None] + [InvalidReplicaAssignmentError] * 6
    created = node.image.topic("good")
    assert created is not None and [each.replicas for each in created.partitions] == [(1, 2), (2, 3)]
    both = pb.NewTopic(name="both", partitions=2, replication_factor=1, assignment=assignment((0, [1])))
    assert errors(node.create(both)) == [InvalidRequestError]


def test_topics_grow() -> None:
    node = Node()
    node.create(topic("a", 1, 1))

    def grow(total: int, *placed: tuple[int, Sequence[int]], name: str = "a") -> pb.TopicResult:
        wanted = pb.NewPartitions(name=name, total=total, assignment=assignment(*placed))
        return node.run("CreatePartitions", pb.CreatePartitionsRequest(topics=[wanted]), pb.TopicResults).topics[0]

    assert (grow(2).error, grow(4, (3, [2]), (2, [1])).error) == (0, 0)
    created = node.image.topic("a")
    assert created is not None and [each.replicas for each in created.partitions[2:]] == [(1,), (2,)]
    refused = [grow(4), grow(3), grow(-1), grow(5, (0, [1])), grow(6, (5, [1])), grow(6, (4, [1]), (6, [1]))]
    assert errors(refused) == [InvalidPartitionsError] * 3 + [InvalidReplicaAssignmentError] * 3
    assert errors([grow(5, name="b")]) == [UnknownTopicOrPartitionError]


def test_topics_are_deleted() -> None:
    node = Node()
    node.create(topic("a", 1, 1), topic("b", 1, 1))
    request = pb.DeleteTopicsRequest(names=["a", "x", "b", "b"])
    results = node.run("DeleteTopics", request, pb.TopicResults).topics
    assert errors(results) == [None, UnknownTopicOrPartitionError, None, InvalidRequestError]
    assert not node.image.topics


def test_topics_are_deleted_by_id_too() -> None:
    node = Node()
    created = node.create(topic("a", 1, 1), topic("b", 1, 1))
    request = pb.DeleteTopicsRequest(names=["a"], topic_ids=[created[1].topic_id, bytes(15) + b"9"])
    results = node.run("DeleteTopics", request, pb.TopicResults).topics
    assert [each.name for each in results] == ["a", "b", ""]
    assert errors(results) == [None, None, UnknownTopicIdError]
    assert not node.image.topics
    assert isinstance(node.refusal("DeleteTopics", pb.DeleteTopicsRequest(topic_ids=[b"short"])), InvalidRequestError)


def test_a_broker_that_is_gone_is_forgotten() -> None:
    node = Node()
    refusal = node.refusal("UnregisterBroker", pb.UnregisterBrokerRequest(broker_id=3))
    assert isinstance(refusal, InvalidRequestError) and "is live" in refusal.message
    refusal = node.refusal("UnregisterBroker", pb.UnregisterBrokerRequest(broker_id=9))
    assert isinstance(refusal, BrokerIdNotRegisteredError)
    node.harness.fence(3)
    node.run("UnregisterBroker", pb.UnregisterBrokerRequest(broker_id=3), pb.UnregisterBrokerResponse)
    assert sorted(node.image.brokers) == [1, 2]


def test_settings_that_are_lists_change_by_elements_and_a_resource_is_replaced_as_a_whole() -> None:
    node = Node()
    node.create(topic("a", 1, 1, retention_ms="9"))
    resource = pb.ConfigResource(type=2, name="a")
    added = pb.AlterConfigsResource(resource=resource, append={"cleanup.policy": "compact"})
    node.run("AlterConfigs", pb.AlterConfigsRequest(resources=[added]), pb.AlterConfigsResponse)
    assert node.image.config(topic_resource("a")) == {"retention.ms": "9", "cleanup.policy": "delete,compact"}
    taken = pb.AlterConfigsResource(resource=resource, subtract={"cleanup.policy": "delete"}, replace=True)
    node.run("AlterConfigs", pb.AlterConfigsRequest(resources=[taken]), pb.AlterConfigsResponse)
    assert node.image.config(topic_resource("a")) == {"cleanup.policy": "compact"}


def test_a_refusal_of_the_whole_is_raised() -> None:
    node = Node(ControllerConfig(delete_topic_enable=False, partitions_per_request_max=10))
    assert isinstance(node.refusal("DeleteTopics", pb.DeleteTopicsRequest(names=["a"])), TopicDeletionDisabledError)
    request = pb.CreateTopicsRequest(topics=[topic("a", 11, 1)])
    assert isinstance(node.refusal("CreateTopics", request), PolicyViolationError)


def test_settings_are_altered() -> None:
    node = Node()
    node.create(topic("a", 1, 1, retention_ms="5"))

    def alter(kind: int, name: str, unset: Sequence[str] = (), **values: str) -> pb.AlteredConfigs:
        named = {key.replace("_", "."): value for key, value in values.items()}
        resource = pb.AlterConfigsResource(resource=pb.ConfigResource(type=kind, name=name), set=named, unset=unset)
        request = pb.AlterConfigsRequest(resources=[resource])
        result = node.run("AlterConfigs", request, pb.AlterConfigsResponse).resources[0]
        assert (result.resource.type, result.resource.name) == (kind, name)
        return result

    altered = alter(2, "a", unset=["retention.ms"], min_insync_replicas="2")
    assert altered.error == 0 and "more than the topic's 1 replicas" in altered.warnings[0]
    assert {name: value for settings in node.image.configs.values() for name, value in settings.items()} == {
        "min.insync.replicas": "2"
    }
    assert errors(
        [
            alter(2, "b", retention_ms="1"),
            alter(3, "a", retention_ms="1"),
            alter(4, "9", log_roll_ms="1"),
            alter(4, "x", log_roll_ms="1"),
            alter(4, "1", num_partitions="1"),
            alter(2, "a", unset=["retention.ms"], retention_ms="1"),
        ]
    ) == [
        UnknownTopicOrPartitionError,
        InvalidRequestError,
        BrokerIdNotRegisteredError,
        InvalidRequestError,
        InvalidConfigError,
        InvalidConfigError,
    ]


def test_leaders_are_elected_where_asked_or_everywhere() -> None:
    node = Node()
    node.create(pb.NewTopic(name="a", assignment=assignment((0, [1, 2]), (1, [2, 1]))))
    node.harness.fence(1)
    node.harness.beat(1)
    for broker_id in (1, 2):
        node.harness.beat(broker_id)

    def elect(*partitions: tuple[str, int], unclean: bool = False) -> list[pb.ElectedLeader]:
        named = [pb.TopicPartition(topic=name, partition=index) for name, index in partitions]
        request = pb.ElectLeadersRequest(partitions=named, unclean=unclean)
        return list(node.run("ElectLeaders", request, pb.ElectLeadersResponse).partitions)

    refused = elect(("a", 0), ("a", 1), ("a", 7), ("b", 0))
    assert [each.error for each in refused][2:] == [code_of(UnknownTopicOrPartitionError)] * 2
    assert all(each.error and each.error_message for each in refused)
    assert [(each.topic, each.partition) for each in elect()] == [("a", 0)]
    assert elect(unclean=True) == []


def test_what_is_no_method_or_no_request_is_refused() -> None:
    node = Node()
    for method in ("", "Nonsense", "DescribeCluster", "__init__"):
        with pytest.raises(InvalidRequestError, match="knows no method"):
            asyncio.run(node.admin.run(method, b""))
    with pytest.raises(InvalidRequestError, match="3 bytes that are no request of CreateTopics"):
        asyncio.run(node.admin.run("CreateTopics", b"\xff\xff\xff"))


def test_empty_requests_do_nothing() -> None:
    node = Node()
    for method in ("CreateTopics", "DeleteTopics", "CreatePartitions"):
        assert asyncio.run(node.admin.run(method, b"")) == b""
    assert asyncio.run(node.admin.run("AlterConfigs", b"")) == b""


# --- the quorum ------------------------------------------------------------------------------------------------------


class StubbornQuorum(PlainQuorum):
    async def transfer_leadership(self, to: NodeId | None = None) -> None:
        return


class BusyQuorum(PlainQuorum):
    def status(self) -> QuorumStatus:
        raise Overloaded(5)


def test_leadership_of_the_quorum_is_handed_on() -> None:
    node = Node()

    def transfer(to: int) -> None:
        request = pb.TransferQuorumLeadershipRequest(to=to)
        node.run("TransferQuorumLeadership", request, pb.TransferQuorumLeadershipResponse)

    transfer(3)
    assert node.quorum.leader_id == 3
    transfer(3)  # it leads already
    assert node.quorum.epoch == 2
    transfer(-1)
    assert node.quorum.leader_id == 1
    with pytest.raises(VoterNotFoundError, match="the voters are 1, 2, 3"):
        transfer(4)


def test_a_transfer_that_does_not_happen_is_told() -> None:
    node = Node()
    node.admin = ControllerAdmin(node, StubbornQuorum(), node)
    refused = node.refusal("TransferQuorumLeadership", pb.TransferQuorumLeadershipRequest(to=2))
    assert isinstance(refused, EligibleLeadersNotAvailableError) and "node 2" in refused.message


def test_a_quorum_that_cannot_answer_is_no_controller() -> None:
    node = Node()
    node.admin = ControllerAdmin(node, BusyQuorum(), node)
    for method in ("DescribeQuorum", "TransferQuorumLeadership"):
        assert isinstance(node.refusal(method, pb.DescribeQuorumRequest()), NotControllerError)


def test_an_observer_is_found_by_its_registration() -> None:
    node = Node()
    node.harness.start(4)
    described = node.run("DescribeQuorum", pb.DescribeQuorumRequest(), pb.DescribeQuorumResponse)
    assert [(each.node_id, each.host, each.port) for each in described.observers] == [(4, "localhost", 9093)]
    assert [each.last_fetch_age_ms for each in described.voters] == [-1, 5, 5]
