"""The Admin service's own part: what is passed on as it came, and refusals where nobody has run it."""

import asyncio
from collections.abc import Callable
from typing import TypeVar, cast

import pytest
from google.protobuf.message import Message

from broker.config import NodeConfig
from broker.metadata.image import MetadataImage
from broker.metadata.records import ConfigRecord, broker_resource, topic_resource
from broker.rpc.admin_service import TIMEOUT_MAX_MS, TIMEOUT_MS, AdminService
from broker.rpc.describing_configs import METHOD
from broker.rpc.ports import Replicas
from kraftpy.error_codes import code_of
from kraftpy.errors import (
    BrokerIdNotRegisteredError,
    BrokerNotAvailableError,
    InvalidRequestError,
    KraftpyError,
    LeaderNotAvailableError,
    NotControllerError,
    NotLeaderOrFollowerError,
    OffsetOutOfRangeError,
    RequestTimedOutError,
)
from kraftpy.pb import admin_pb2 as pb
from kraftpy.runtime.ports import Address, BadRequest, Refused, Transport, Unreachable
from tests.controller.harness import Harness

M = TypeVar("M", bound=Message)


class Node:
    """Node 1 with its neighbours 2 and 3, a controller that does as it is told, and replicas that remember."""

    cluster_id = "test"
    has_joined = True
    controller_id: int | None = 3

    def __init__(self) -> None:
        harness = Harness()
        harness.start(1, 2)
        harness.register(3)
        harness.create("lines", (1, 2))
        self.image: MetadataImage = harness.image
        self.ran: list[tuple[str, bytes, int]] = []
        self.outcome: bytes | KraftpyError = b""
        self.deleted: list[tuple[str, int, int]] = []
        self.asked: list[tuple[Address, str, bytes]] = []
        self.neighbour: Callable[[bytes], bytes] = lambda request: b""
        config = NodeConfig(node_id=1, given={"node.id": "1"})
        service = AdminService(self, config, self, cast(Replicas, self), cast(Transport, self))
        self.methods = service.methods().unary

    async def run(self, method: str, payload: bytes, timeout_ms: int) -> bytes:
        self.ran.append((method, payload, timeout_ms))
        if isinstance(self.outcome, KraftpyError):
            raise self.outcome
        return self.outcome

    async def delete_records(self, topic: str, partition: int, before_offset: int, timeout_ms: int) -> int:
        self.deleted.append((topic, partition, before_offset))
        if partition:
            raise OffsetOutOfRangeError if partition == 1 else NotLeaderOrFollowerError
        return 42

    async def call(self, address: Address, method: str, request: bytes, timeout_ms: int) -> bytes:
        self.asked.append((address, method, request))
        return self.neighbour(request)

    def ask(self, method: str, request: Message, answer: type[M]) -> M:
        handler = self.methods["/kraftpy.pb.Admin/" + method]
        return answer.FromString(asyncio.run(_awaited(handler(request.SerializeToString()))))

    def describe(self, *resources: tuple[int, str], passed_on: bool = False) -> list[pb.DescribedConfigs]:
        asked = [pb.ConfigResource(type=kind, name=name) for kind, name in resources]
        request = pb.DescribeConfigsRequest(resources=asked, passed_on=passed_on)
        return list(self.ask("DescribeConfigs", request, pb.DescribeConfigsResponse).resources)


TOPIC_REQUESTS: list[tuple[str, Message]] = [
    ("CreateTopics", pb.CreateTopicsRequest(topics=[pb.NewTopic(name="a"), pb.NewTopic(name="b")])),
    ("DeleteTopics", pb.DeleteTopicsRequest(names=["a", "b"])),
    ("CreatePartitions", pb.CreatePartitionsRequest(topics=[pb.NewPartitions(name="a"), pb.NewPartitions(name="b")])),
]


async def _awaited(work: object) -> bytes:
    answer: bytes = await work  # type: ignore[misc]
    return answer


@pytest.mark.parametrize(("method", "request_message"), TOPIC_REQUESTS)
def test_requests_pass_as_they_came_and_so_do_answers(method: str, request_message: Message) -> None:
    node = Node()
    answer = pb.TopicResults(topics=[pb.TopicResult(name="a", partitions=3)])
    node.outcome = answer.SerializeToString()
    assert node.ask(method, request_message, pb.TopicResults) == answer
    assert node.ran == [(method, request_message.SerializeToString(), TIMEOUT_MS)]


@pytest.mark.parametrize(("method", "request_message"), TOPIC_REQUESTS)
def test_where_nobody_ran_it_every_topic_is_refused(method: str, request_message: Message) -> None:
    node = Node()
    node.outcome = NotControllerError("nobody leads")
    refused = node.ask(method, request_message, pb.TopicResults).topics
    assert [(each.name, each.error, each.error_message) for each in refused] == [
        (name, code_of(NotControllerError), "nobody leads") for name in ("a", "b")
    ]


def test_the_other_answers_say_it_too() -> None:
    node = Node()
    node.outcome = RequestTimedOutError("too slow")
    expected = (code_of(RequestTimedOutError), "too slow")
    resource = pb.ConfigResource(type=2, name="a")
    altering = pb.AlterConfigsRequest(resources=[pb.AlterConfigsResource(resource=resource)])
    (altered,) = node.ask("AlterConfigs", altering, pb.AlterConfigsResponse).resources
    assert (altered.error, altered.error_message) == expected and altered.resource == resource
    elected = node.ask("ElectLeaders", pb.ElectLeadersRequest(), pb.ElectLeadersResponse)
    assert (elected.error, elected.error_message) == expected
    quorum = node.ask("DescribeQuorum", pb.DescribeQuorumRequest(), pb.DescribeQuorumResponse)
    assert (quorum.error, quorum.error_message) == expected and quorum.leader_id == -1
    transfer = pb.TransferQuorumLeadershipRequest()
    handed_on = node.ask("TransferQuorumLeadership", transfer, pb.TransferQuorumLeadershipResponse)
    assert (handed_on.error, handed_on.error_message) == expected
    unregistered = node.ask("UnregisterBroker", pb.UnregisterBrokerRequest(), pb.UnregisterBrokerResponse)
    assert (unregistered.error, unregistered.error_message) == expected
    deletion = pb.DeleteTopicsRequest(names=["a"], topic_ids=[bytes(16)])
    assert [each.name for each in node.ask("DeleteTopics", deletion, pb.TopicResults).topics] == ["a", ""]


def test_times_are_clamped_and_garbage_is_not_passed_on() -> None:
    node = Node()
    for asked_ms, given_ms in ((-5, TIMEOUT_MS), (0, TIMEOUT_MS), (7, 7), (2**31 - 1, TIMEOUT_MAX_MS)):
        node.ask("CreateTopics", pb.CreateTopicsRequest(timeout_ms=asked_ms), pb.TopicResults)
        assert node.ran[-1][2] == given_ms
    count = len(node.ran)
    for handler in node.methods.values():
        with pytest.raises(BadRequest):
            asyncio.run(_awaited(handler(b"\xff\xff\xff")))
    assert len(node.ran) == count


def test_the_cluster_is_described() -> None:
    node = Node()
    described = node.ask("DescribeCluster", pb.DescribeClusterRequest(), pb.DescribeClusterResponse)
    assert (described.cluster_id, described.controller_id) == ("test", 3)
    assert [each.id for each in described.brokers] == [1, 2]
    assert described.metadata_offset == node.image.end_offset
    node.controller_id = None
    described = node.ask("DescribeCluster", pb.DescribeClusterRequest(include_fenced=True), pb.DescribeClusterResponse)
    assert [(each.id, each.fenced) for each in described.brokers] == [(1, False), (2, False), (3, True)]
    assert described.controller_id == -1


def test_a_node_that_has_not_joined_does_not_say_of_a_topic_that_there_is_none() -> None:
    """Restarted without a quorum it answers from nothing, or from an image of long ago."""
    node = Node()
    node.has_joined = False
    node.image = MetadataImage()
    told = node.describe((2, "lines"), (4, ""), (4, "1"))
    assert [each.error for each in told] == [code_of(LeaderNotAvailableError)] * 3
    assert {each.error_message for each in told} == {"the node has not joined the cluster yet"}


def test_records_are_deleted_partition_by_partition() -> None:
    node = Node()
    parts = [pb.DeleteRecordsPartition(topic="lines", partition=index, before_offset=-1) for index in (0, 1, 2)]
    deleted = node.ask("DeleteRecords", pb.DeleteRecordsRequest(partitions=parts), pb.DeleteRecordsResponse).partitions
    assert [(each.error, each.low_watermark) for each in deleted] == [
        (0, 42),
        (code_of(OffsetOutOfRangeError), -1),
        (code_of(NotLeaderOrFollowerError), -1),
    ]
    assert node.deleted == [("lines", index, -1) for index in (0, 1, 2)]


# --- settings --------------------------------------------------------------------------------------------------------


def test_nonsense_is_refused_resource_by_resource() -> None:
    node = Node()
    answers = node.describe((2, "lines"), (4, "1"), (4, "x"), (4, "-1"), (4, "9" * 30), (4, "9"), (7, "a"), (4, ""))
    assert [each.error for each in answers] == [
        0,
        0,
        code_of(InvalidRequestError),
        code_of(InvalidRequestError),
        code_of(InvalidRequestError),
        code_of(BrokerIdNotRegisteredError),
        code_of(InvalidRequestError),
        0,
    ]
    assert not answers[-1].entries and not node.asked


def test_a_setting_that_an_older_release_knew_is_still_shown() -> None:
    node = Node()
    record = ConfigRecord(topic_resource("lines"), "no.such.setting", "7")
    node.image, _ = node.image.apply([record], node.image.end_offset + 1, 1)
    entries = {entry.name: entry for entry in node.describe((2, "lines"))[0].entries}
    assert (entries["no.such.setting"].value, entries["no.such.setting"].source) == ("7", "dynamic-topic")


def test_another_broker_is_asked_once_and_answers_for_itself() -> None:
    node = Node()
    told = pb.DescribedConfigs(
        resource=pb.ConfigResource(type=4, name="2"), entries=[pb.ConfigEntry(name="node.id", value="2")]
    )
    node.neighbour = lambda request: pb.DescribeConfigsResponse(resources=[told]).SerializeToString()
    first, own, second = node.describe((4, "2"), (4, "1"), (4, "2"))
    assert first == second == told and len(own.entries) > 50
    ((address, method, request),) = node.asked
    assert (address, method) == (Address("localhost", 9093), METHOD)
    assert pb.DescribeConfigsRequest.FromString(request).passed_on


def test_a_broker_in_service_that_refuses_a_connection_is_asked_again() -> None:
    """Its peers' connections back off for a moment after it has come back."""
    node = Node()
    told = pb.DescribedConfigs(resource=pb.ConfigResource(type=4, name="2"))

    def refuses_once(request: bytes) -> bytes:
        if len(node.asked) == 1:
            raise Refused("connection refused")
        return pb.DescribeConfigsResponse(resources=[told]).SerializeToString()

    node.neighbour = refuses_once
    assert node.describe((4, "2")) == [told] and len(node.asked) == 2


def test_a_broker_out_of_service_that_refuses_a_connection_is_asked_once() -> None:
    def refuses(request: bytes) -> bytes:
        raise Refused("connection refused")

    node = Node()
    node.neighbour = refuses
    (answer,) = node.describe((4, "3"))
    assert answer.error == code_of(BrokerNotAvailableError) and len(node.asked) == 1


def test_a_question_that_was_passed_on_goes_no_further() -> None:
    node = Node()
    record = ConfigRecord(broker_resource(2), "log.roll.ms", "5")
    node.image, _ = node.image.apply([record], node.image.end_offset + 1, 1)
    (answer,) = node.describe((4, "2"), passed_on=True)
    assert [(entry.name, entry.value) for entry in answer.entries] == [("log.roll.ms", "5")] and not node.asked


def test_a_broker_that_does_not_answer_is_named_and_what_is_known_is_told() -> None:
    def refuses(request: bytes) -> bytes:
        raise Unreachable("connection refused")

    node = Node()
    record = ConfigRecord(broker_resource(2), "log.roll.ms", "5")
    node.image, _ = node.image.apply([record], node.image.end_offset + 1, 1)
    for neighbour in (refuses, lambda request: b"\xff\xff", lambda request: b""):
        node.neighbour = neighbour
        (answer,) = node.describe((4, "2"))
        assert answer.error == code_of(BrokerNotAvailableError) and "broker 2" in answer.error_message
    node.neighbour = refuses
    (answer,) = node.describe((4, "2"))
    assert "connection refused" in answer.error_message
    assert [entry.name for entry in answer.entries] == ["log.roll.ms"]
