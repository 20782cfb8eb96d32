"""Admin's methods on the active controller: the other end of Control.Forward.

    method, request ─→ command ─→ Controller.submit ─→ committed ─→ response

A refusal of the whole is raised, and travels as Forward's error; refusals of single items stand in the response. What
cannot be read, or is no method, is an `InvalidRequestError`: the node that forwarded it is of another version.
"""

from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Any

from google.protobuf.message import DecodeError, Message

from broker.controller.commands import (
    AlterConfigs,
    AlterPartitionReassignments,
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    ElectLeaders,
    TopicResult,
    UnregisterBroker,
)
from broker.rpc.admin_requests import (
    Items,
    altered_configs,
    altered_reassignments,
    config_alteration,
    elected_leaders,
    named_topics,
    new_partitions,
    new_topic,
    reassignment,
    topic_results,
)
from broker.rpc.methods import Handlers
from broker.rpc.ports import Commands, ImageSource, Quorum
from broker.rpc.quorum_answers import quorum_description
from kraftpy.errors import (
    EligibleLeadersNotAvailableError,
    InvalidRequestError,
    NotControllerError,
    VoterNotFoundError,
)
from kraftpy.pb import admin_pb2
from kraftpy.runtime.ports import Address
from raft.errors import RaftError
from raft.events import NodeId, ReplicaKey
from raft.status import QuorumStatus


class ControllerAdmin:
    """See the module's docstring."""

    def __init__(
        self,
        controller: Commands,
        quorum: Quorum,
        view: ImageSource,
        more: Handlers = MappingProxyType({}),
        address_of: Callable[[ReplicaKey], Address | None] = lambda key: None,
    ) -> None:
        """`more` methods join the table; `address_of` a replica, where it told."""
        self._controller = controller
        self._quorum = quorum
        self._view = view
        self._address_of = address_of
        self._methods: dict[str, tuple[type[Message], Callable[[Any], Awaitable[Message]]]] = {
            **more,
            "CreateTopics": (admin_pb2.CreateTopicsRequest, self._create_topics),
            "DeleteTopics": (admin_pb2.DeleteTopicsRequest, self._delete_topics),
            "CreatePartitions": (admin_pb2.CreatePartitionsRequest, self._create_partitions),
            "AlterConfigs": (admin_pb2.AlterConfigsRequest, self._alter_configs),
            "ElectLeaders": (admin_pb2.ElectLeadersRequest, self._elect_leaders),
            "AlterPartitionReassignments": (admin_pb2.AlterPartitionReassignmentsRequest, self._reassign),
            "UnregisterBroker": (admin_pb2.UnregisterBrokerRequest, self._unregister_broker),
            "DescribeQuorum": (admin_pb2.DescribeQuorumRequest, self._describe_quorum),
            "TransferQuorumLeadership": (admin_pb2.TransferQuorumLeadershipRequest, self._transfer_leadership),
        }

    async def run(self, method: str, payload: bytes) -> bytes:
        """The serialized response of Admin's `method` to the serialized request.

        Raises `NotControllerError` (this node does not lead the quorum, or lost it), `InvalidRequestError`, and what
        the controller refuses the whole request with.
        """
        if method not in self._methods:
            raise InvalidRequestError(f"the controller knows no method {method}")
        request_class, answer = self._methods[method]
        try:
            request = request_class.FromString(payload)
        except DecodeError:
            raise InvalidRequestError(f"{len(payload)} bytes that are no request of {method}") from None
        response = await answer(request)
        return response.SerializeToString(deterministic=True)

    # --- topics

    async def _create_topics(self, request: admin_pb2.CreateTopicsRequest) -> Message:
        items = Items(request.topics, new_topic)
        results = (await self._controller.submit(CreateTopics(tuple(items.wanted), request.validate_only))).topics
        return topic_results(items.merged(results, lambda at, error: TopicResult(request.topics[at].name, error)))

    async def _create_partitions(self, request: admin_pb2.CreatePartitionsRequest) -> Message:
        items = Items(request.topics, new_partitions)
        results = (await self._controller.submit(CreatePartitions(tuple(items.wanted), request.validate_only))).topics
        return topic_results(items.merged(results, lambda at, error: TopicResult(request.topics[at].name, error)))

    async def _delete_topics(self, request: admin_pb2.DeleteTopicsRequest) -> Message:
        return topic_results((await self._controller.submit(DeleteTopics(named_topics(request)))).topics)

    # --- settings and leaders

    async def _alter_configs(self, request: admin_pb2.AlterConfigsRequest) -> Message:
        items = Items(request.resources, config_alteration)
        altered = await self._controller.submit(AlterConfigs(tuple(items.wanted), request.validate_only))
        results = items.merged(altered.resources, lambda _, error: error)
        return altered_configs([each.resource for each in request.resources], results)

    async def _elect_leaders(self, request: admin_pb2.ElectLeadersRequest) -> Message:
        named = tuple((each.topic, each.partition) for each in request.partitions)
        return elected_leaders(await self._controller.submit(ElectLeaders(named or None, request.unclean)))

    # --- moves

    async def _reassign(self, request: admin_pb2.AlterPartitionReassignmentsRequest) -> Message:
        wanted = tuple(map(reassignment, request.partitions))
        command = AlterPartitionReassignments(wanted, request.keep_replication_factor)
        return altered_reassignments((await self._controller.submit(command)).partitions)

    async def _unregister_broker(self, request: admin_pb2.UnregisterBrokerRequest) -> Message:
        await self._controller.submit(UnregisterBroker(request.broker_id))
        return admin_pb2.UnregisterBrokerResponse()

    # --- the quorum

    async def _describe_quorum(self, request: admin_pb2.DescribeQuorumRequest) -> Message:
        return quorum_description(self._status(), self._view.image, self._address_of)

    async def _transfer_leadership(self, request: admin_pb2.TransferQuorumLeadershipRequest) -> Message:
        status = self._status()
        if not status.replicas:
            raise NotControllerError("this node does not lead the quorum")
        voters = [voter.key.node_id for voter in (status.voters.voters if status.voters else ())]
        if request.to >= 0 and request.to not in voters:
            raise VoterNotFoundError(f"node {request.to} is no voter; the voters are {', '.join(map(str, voters))}")
        if request.to != status.key.node_id:
            if len(voters) < 2:
                raise EligibleLeadersNotAvailableError("the quorum has no other voter that could lead")
            await self._transfer(None if request.to < 0 else NodeId(request.to))
        return admin_pb2.TransferQuorumLeadershipResponse()

    async def _transfer(self, to: NodeId | None) -> None:
        """Raises `EligibleLeadersNotAvailableError` where this node leads on: nobody took over in time."""
        epoch = self._status().epoch
        try:
            await self._quorum.transfer_leadership(to)
        except RaftError as error:
            raise NotControllerError(str(error)) from None
        status = self._status()
        if status.replicas and status.epoch == epoch:
            raise EligibleLeadersNotAvailableError(
                "no voter took over in time: "
                + ("none has caught up" if to is None else f"node {to} has not caught up, or cannot be reached")
            )

    def _status(self) -> QuorumStatus:
        try:
            return self._quorum.status()
        except RaftError as error:
            raise NotControllerError(str(error)) from None
