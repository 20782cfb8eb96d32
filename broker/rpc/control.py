"""The Control service: what brokers ask of the active controller, and `Ping`, which every node answers.

A node that is not the controller answers NOT_CONTROLLER and names whom it believes to be. That answer means that
nothing was done; what a controller that lost its epoch left open is answered REQUEST_TIMED_OUT.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from broker.controller.commands import (
    AllocateProducerIds,
    AlteredPartition,
    AlterPartition,
    BrokerUnreachable,
    Command,
    Heartbeat,
    IsrMember,
    IsrProposal,
    RegisterBroker,
    ReplicaReport,
    ReportReplicas,
)
from broker.metadata.codec import registration_from_message
from broker.metadata.state import Standing
from broker.rpc.methods import unary
from broker.rpc.ports import ImageSource
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import (
    InconsistentClusterIdError,
    InvalidRequestError,
    KraftpyError,
    NotControllerError,
    RequestTimedOutError,
)
from kraftpy.pb import control_pb2 as pb
from kraftpy.runtime.ports import Methods

SERVICE = "Control"
R = TypeVar("R")
M = TypeVar("M", bound=Message)


class Controller(Protocol):
    """`broker.controller.shell.Controller` is one."""

    @property
    def is_active(self) -> bool: ...

    async def submit(self, command: Command[R]) -> R: ...


class AdminRunner(Protocol):
    """Runs the Admin service's methods on the active controller: `broker.rpc.controller_admin.ControllerAdmin`."""

    async def run(self, method: str, payload: bytes) -> bytes: ...


class ControlService:
    """Both ends of every answer are here, so a broker on the controller's own node calls it without a wire."""

    def __init__(
        self,
        node_id: int,
        incarnation_id: UUID,
        view: ImageSource,
        controller: Controller,
        admin: AdminRunner,
        committed_offset: Callable[[], int],
    ) -> None:
        """`committed_offset()` is the quorum's high watermark."""
        self._node_id = node_id
        self._incarnation_id = incarnation_id
        self._view = view
        self._controller = controller
        self._admin = admin
        self._committed_offset = committed_offset
        self.handlers: Mapping[str, tuple[type[Message], Callable[[Any], Awaitable[Message]]]] = {
            "RegisterBroker": (pb.RegisterBrokerRequest, self._register),
            "Heartbeat": (pb.HeartbeatRequest, self._heartbeat),
            "AlterPartition": (pb.AlterPartitionRequest, self._alter_partition),
            "AllocateProducerIds": (pb.AllocateProducerIdsRequest, self._allocate_producer_ids),
            "ReportReplicas": (pb.ReportReplicasRequest, self._report_replicas),
            "ReportUnreachable": (pb.ReportUnreachableRequest, self._report_unreachable),
            "Forward": (pb.ForwardRequest, self._forward),
            "Ping": (pb.PingRequest, self._ping),
        }

    def methods(self) -> Methods:
        served = unary(SERVICE, self.handlers)
        return Methods(served, {}, frozenset(served))

    async def _register(self, request: pb.RegisterBrokerRequest) -> pb.RegisterBrokerResponse:
        response = pb.RegisterBrokerResponse(broker_epoch=-1)
        async with _Answering(self, response):
            self._check_active()  # first: a node that has just been started does not know its cluster yet
            if request.cluster_id != self._view.cluster_id:
                raise InconsistentClusterIdError(
                    f"broker {request.registration.broker_id} belongs to cluster {request.cluster_id}, "
                    f"this is cluster {self._view.cluster_id}"
                )
            registration = registration_from_message(request.registration)
            command = RegisterBroker(registration, request.replaced_epoch, request.clean_epoch_end - 1)
            response.broker_epoch = (await self._submit(command)).broker_epoch
        return response

    async def _heartbeat(self, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        response = pb.HeartbeatResponse()
        async with _Answering(self, response):
            answer = await self._submit(
                Heartbeat(
                    request.broker_id,
                    request.broker_epoch,
                    request.current_metadata_offset,
                    request.want_fence,
                    request.want_shut_down,
                    tuple(UUID(bytes=directory_id) for directory_id in request.failed_log_directories),
                )
            )
            response.is_fenced = answer.is_fenced
            response.should_shut_down = answer.should_shut_down
        return response

    async def _alter_partition(self, request: pb.AlterPartitionRequest) -> pb.AlterPartitionResponse:
        response = pb.AlterPartitionResponse()
        async with _Answering(self, response):
            proposals = tuple(map(_proposal, request.partitions))
            command = AlterPartition(
                request.broker_id, request.broker_epoch, proposals, request.controller_epoch, request.number
            )
            altered = await self._submit(command)
            response.partitions.extend(map(_altered, altered.partitions))
            response.metadata_offset = self._committed_offset()
        return response

    async def _allocate_producer_ids(self, request: pb.AllocateProducerIdsRequest) -> pb.AllocateProducerIdsResponse:
        response = pb.AllocateProducerIdsResponse()
        async with _Answering(self, response):
            block = await self._submit(AllocateProducerIds(request.broker_id, request.broker_epoch))
            response.first_producer_id, response.count = block.first_producer_id, block.count
        return response

    async def _report_replicas(self, request: pb.ReportReplicasRequest) -> pb.ReportReplicasResponse:
        response = pb.ReportReplicasResponse()
        async with _Answering(self, response):
            reports = tuple(
                ReplicaReport(UUID(bytes=item.topic_id), partition, Standing(item.standing))
                for item in request.replicas
                for partition in item.partitions
            )
            command = ReportReplicas(
                request.broker_id, request.broker_epoch, reports, request.controller_epoch, request.number
            )
            await self._submit(command)
        return response

    async def _report_unreachable(self, request: pb.ReportUnreachableRequest) -> pb.ReportUnreachableResponse:
        """Nobody waits for what comes of it, so there is nothing to refuse."""
        if self._controller.is_active:
            try:
                await self._submit(BrokerUnreachable(request.broker_id, request.broker_epoch))
            except KraftpyError:
                pass  # it will be reported again
        return pb.ReportUnreachableResponse()

    async def _forward(self, request: pb.ForwardRequest) -> pb.ForwardResponse:
        response = pb.ForwardResponse()
        async with _Answering(self, response):
            self._check_active()
            try:
                response.payload = await self._admin.run(request.method, request.payload)
            except NotControllerError as error:
                raise _unknown_fate(error) from None
            response.metadata_offset = self._committed_offset()
        return response

    async def _ping(self, request: pb.PingRequest) -> pb.PingResponse:
        return pb.PingResponse(node_id=self._node_id, incarnation_id=self._incarnation_id.bytes)

    async def _submit(self, command: Command[R]) -> R:
        self._check_active()
        try:
            return await self._controller.submit(command)
        except NotControllerError as error:
            raise _unknown_fate(error) from None

    def _check_active(self) -> None:
        if not self._controller.is_active:
            raise NotControllerError(f"node {self._node_id} is not the active controller")

    def refuse(self, response: Any, error: KraftpyError) -> None:
        """Put `error` into `response`."""
        response.error = code_of(error)
        response.error_message = str(error)
        controller_id = self._view.controller_id
        response.controller_id = -1 if controller_id is None else controller_id


class _Answering:
    """Turns a refusal into the response's error."""

    def __init__(self, service: ControlService, response: Any) -> None:
        self._service = service
        self._response = response

    async def __aenter__(self) -> None:
        return

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if isinstance(error, ValueError) and not isinstance(error, KraftpyError):  # an id that has not 16 bytes
            error = InvalidRequestError(str(error))
        if not isinstance(error, KraftpyError):
            return False
        self._service.refuse(self._response, error)
        return True


def _unknown_fate(error: NotControllerError) -> RequestTimedOutError:
    return RequestTimedOutError(f"{error}; whether the change was made is not known")


def _proposal(item: pb.AlterPartitionData) -> IsrProposal:
    members = tuple(IsrMember(member.broker_id, member.broker_epoch) for member in item.isr)
    topic_id = UUID(bytes=item.topic_id)
    epochs = (item.leader_epoch, item.partition_epoch)
    return IsrProposal(topic_id, item.partition, *epochs, members, item.recovering, tuple(item.lacking))


def _altered(answer: AlteredPartition) -> pb.AlteredPartition:
    item = pb.AlteredPartition(topic_id=answer.topic_id.bytes, partition=answer.partition, error=NO_ERROR)
    if answer.error is not None:
        item.error = code_of(answer.error)
    if answer.state is not None:
        state = answer.state
        item.leader, item.leader_epoch, item.partition_epoch = state.leader, state.leader_epoch, state.partition_epoch
        item.isr.extend(state.isr)
        item.recovering = state.recovering
    return item
