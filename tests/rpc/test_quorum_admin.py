"""Admin's methods about voters and features, as the active controller answers them."""

import asyncio
from typing import Any, TypeVar
from uuid import UUID

import pytest
from google.protobuf.message import Message

from broker.controller.commands import Command
from broker.metadata.features import INITIAL_LEVELS, METADATA_VERSION, RELEASE, SUPPORTED_FEATURES, NodeRelease
from broker.metadata.image import MetadataImage
from broker.rpc.controller_admin import ControllerAdmin
from broker.rpc.quorum_admin import QuorumAdmin
from kraftpy.errors import (
    FeatureUpdateFailedError,
    InvalidRequestError,
    InvalidUpdateVersionError,
    InvalidVoterKeyError,
    KraftpyError,
    NotControllerError,
)
from kraftpy.pb import admin_pb2 as pb
from raft.errors import Overloaded
from raft.events import NodeId, ReplicaKey, Voter, VoterSet
from raft.status import QuorumStatus
from tests.controller.harness import Harness
from tests.rpc.cluster import PlainQuorum

R = TypeVar("R")
M = TypeVar("M", bound=Message)
VOTERS = VoterSet((Voter(ReplicaKey(NodeId(1), UUID(int=1)), "n1", 9093),))


class BusyQuorum(PlainQuorum):
    def status(self) -> QuorumStatus:
        raise Overloaded(5)


class Node:
    """The active controller's node: brokers 1 and 2 are registered, voter 3 is none; changes are only noted."""

    cluster_id = "test"
    has_joined = True
    controller_id = 1

    def __init__(self) -> None:
        self.harness = Harness()
        self.harness.start(1, 2)
        self.asked: list[tuple[Any, ...]] = []
        self.third: NodeRelease | None = NodeRelease(3, RELEASE, SUPPORTED_FEATURES)
        self.quorum = PlainQuorum()

    @property
    def image(self) -> MetadataImage:
        return self.harness.image

    async def submit(self, command: Command[R]) -> R:
        return self.harness.submit(command)

    async def add(self, node_id: int, directory_id: UUID | None, timeout_ms: int) -> VoterSet:
        self.asked.append(("add", node_id, directory_id, timeout_ms))
        return VOTERS

    async def remove(self, node_id: int, directory_id: UUID | None, timeout_ms: int, *, force: bool) -> VoterSet:
        self.asked.append(("remove", node_id, directory_id, timeout_ms, force))
        return VOTERS

    async def describe(self, voter: Voter, timeout_ms: int) -> NodeRelease | None:
        assert voter.key.node_id == 3, "brokers have registered what they support"
        return self.third

    def run(self, method: str, request: Message, answer: type[M]) -> M:
        more = QuorumAdmin(self, self.quorum, self, self, self.describe).methods
        admin = ControllerAdmin(self, self.quorum, self, more)
        return answer.FromString(asyncio.run(admin.run(method, request.SerializeToString())))

    def refusal(self, method: str, request: Message) -> KraftpyError:
        with pytest.raises(KraftpyError) as caught:
            self.run(method, request, pb.UpdateFeaturesResponse)
        return caught.value


def test_voters_are_added_and_removed() -> None:
    node = Node()
    directory_id = UUID(int=7)
    request = pb.AddRaftVoterRequest(node_id=4, directory_id=directory_id.bytes, timeout_ms=4_000)
    changed = node.run("AddRaftVoter", request, pb.VoterChangeResponse)
    assert [(each.node_id, each.host, each.port) for each in changed.voters] == [(1, "n1", 9093)]
    node.run("RemoveRaftVoter", pb.RemoveRaftVoterRequest(node_id=4, force=True), pb.VoterChangeResponse)
    assert node.asked == [("add", 4, directory_id, 3_500), ("remove", 4, None, 29_500, True)]


def test_a_directory_id_of_another_length_is_refused() -> None:
    node = Node()
    for request in (pb.AddRaftVoterRequest(directory_id=b"short"), pb.RemoveRaftVoterRequest(directory_id=b"short")):
        refused = node.refusal(type(request).__name__.removesuffix("Request"), request)
        assert isinstance(refused, InvalidVoterKeyError) and "16 bytes" in refused.message
    assert not node.asked


def test_a_node_id_below_zero_is_refused() -> None:
    node = Node()
    for request in (pb.AddRaftVoterRequest(node_id=-1), pb.RemoveRaftVoterRequest(node_id=-7)):
        refused = node.refusal(type(request).__name__.removesuffix("Request"), request)
        assert isinstance(refused, InvalidRequestError) and str(request.node_id) in refused.message
    assert not node.asked


def test_features_are_described_of_brokers_and_of_voters_that_are_none() -> None:
    node = Node()
    node.harness.fence(2)
    told = node.run("DescribeFeatures", pb.DescribeFeaturesRequest(), pb.DescribeFeaturesResponse)
    assert dict(told.finalized) == INITIAL_LEVELS
    assert [(each.node_id, each.in_service, each.is_voter, each.release) for each in told.nodes] == [
        (1, True, True, ""),
        (2, False, True, ""),
        (3, True, True, RELEASE),
    ]
    assert all(each.supported[METADATA_VERSION].max_level == INITIAL_LEVELS[METADATA_VERSION] for each in told.nodes)
    node.third = None
    silent = node.run("DescribeFeatures", pb.DescribeFeaturesRequest(), pb.DescribeFeaturesResponse).nodes[2]
    assert (silent.in_service, silent.release, len(silent.supported)) == (False, "", 0)


def test_features_are_raised_or_refused() -> None:
    node = Node()
    nothing = node.run("UpdateFeatures", pb.UpdateFeaturesRequest(release=RELEASE), pb.UpdateFeaturesResponse)
    assert not nothing.changes
    down = pb.UpdateFeaturesRequest(release="0.1")
    assert isinstance(node.refusal("UpdateFeatures", down), InvalidUpdateVersionError)
    unknown = node.refusal("UpdateFeatures", pb.UpdateFeaturesRequest(release="9"))
    assert isinstance(unknown, InvalidRequestError) and "known are 0.1, 0.2" in unknown.message
    both = pb.UpdateFeaturesRequest(release=RELEASE, levels={METADATA_VERSION: 2})
    assert isinstance(node.refusal("UpdateFeatures", both), InvalidRequestError)
    node.third = None
    silent = node.refusal("UpdateFeatures", pb.UpdateFeaturesRequest())
    assert isinstance(silent, FeatureUpdateFailedError) and "voters 3 do not answer" in silent.message


def test_a_quorum_that_cannot_answer_is_no_controller() -> None:
    node = Node()
    node.quorum = BusyQuorum()
    for method in ("DescribeFeatures", "UpdateFeatures"):
        assert isinstance(node.refusal(method, pb.UpdateFeaturesRequest()), NotControllerError)
