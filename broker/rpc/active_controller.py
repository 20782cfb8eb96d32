"""The active controller as this node's broker sees it: whoever leads the quorum, here or elsewhere.

Calls to a controller on this node do not leave it. Which node it is comes from the quorum; one that answers
NOT_CONTROLLER has done nothing, so `run` then waits for better news and asks again. Everything else is tried once: the
callers repeat what may be repeated.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.message import DecodeError, Message

from broker.controller.commands import HeartbeatAnswer, ProducerIdBlock
from broker.metadata.codec import registration_to_message
from broker.metadata.records import RegisterBrokerRecord
from broker.metadata.state import PartitionKey, Standing
from broker.quorum.loader import MetadataLoader
from broker.replication.isr import InSyncAnswer, InSyncProposal
from broker.rpc.control import SERVICE, ControlService
from broker.rpc.methods import full_name
from broker.rpc.ports import ImageSource
from kraftpy.error_codes import NO_ERROR, class_for, error_for
from kraftpy.errors import NotControllerError, RequestTimedOutError
from kraftpy.pb import control_pb2 as pb
from kraftpy.runtime.ports import Address, Clock, RemoteFailure, Transport, TransportError

CALL_TIMEOUT_MS = 2_000  # of what brokers ask; a controller that takes longer is no controller
RETRY_PAUSE_MS = 50
FORWARD_TIMEOUT_MS_MAX = 120_000

M = TypeVar("M", bound=Message)
AddressOf = Callable[[int], Address | None]
"""Where a voter of the quorum takes calls; None: nobody knows."""


class ActiveController:
    """`broker.replication.alterations.Control`, `ControllerLink`, and what the life of a broker needs."""

    def __init__(
        self,
        node_id: int,
        view: ImageSource,
        loader: MetadataLoader,
        service: ControlService,
        address_of: AddressOf,
        transport: Transport,
        clock: Clock,
    ) -> None:
        self.broker_epoch = -1
        """Of this node's registration; set once there is one."""
        self._node_id = node_id
        self._view = view
        self._loader = loader
        self._service = service
        self._address_of = address_of
        self._transport = transport
        self._clock = clock
        self._turns = 0  # taken so far

    # --- the life of a broker ---

    async def register(self, registration: RegisterBrokerRecord, previous_broker_epoch: int) -> int:
        """The broker epoch. `previous_broker_epoch`: that was ended with nothing lost, else -1 (KIP-966).

        Raises `KraftpyError` (`StaleBrokerEpochError` also where the metadata here still lags behind this broker's own
        last registration), `TransportError`.
        """
        last = self._loader.image.brokers.get(self._node_id)
        request = pb.RegisterBrokerRequest(
            cluster_id=self._view.cluster_id,
            registration=registration_to_message(registration),
            replaced_epoch=-1 if last is None else last.epoch,
            clean_epoch_end=previous_broker_epoch + 1,
        )
        response = await self._call("RegisterBroker", request, pb.RegisterBrokerResponse)
        return int(response.broker_epoch)

    async def heartbeat(self, *, want_shut_down: bool, failed_directory_ids: Sequence[UUID]) -> HeartbeatAnswer:
        """Raises `KraftpyError`, `TransportError`."""
        request = pb.HeartbeatRequest(
            broker_id=self._node_id,
            broker_epoch=self.broker_epoch,
            current_metadata_offset=self._loader.image.end_offset,
            want_shut_down=want_shut_down,
            failed_log_directories=[directory_id.bytes for directory_id in failed_directory_ids],
        )
        response = await self._call("Heartbeat", request, pb.HeartbeatResponse)
        return HeartbeatAnswer(response.is_fenced, response.should_shut_down)

    async def allocate_producer_ids(self) -> ProducerIdBlock:
        """Raises `KraftpyError`, `TransportError`."""
        request = pb.AllocateProducerIdsRequest(broker_id=self._node_id, broker_epoch=self.broker_epoch)
        response = await self._call("AllocateProducerIds", request, pb.AllocateProducerIdsResponse)
        return ProducerIdBlock(response.first_producer_id, response.count)

    async def report_replicas(self, standings: Mapping[PartitionKey, Standing]) -> None:
        """Tell which replicas here are offline, lost or back. Raises `KraftpyError`, `TransportError`."""
        request = pb.ReportReplicasRequest(broker_id=self._node_id, broker_epoch=self.broker_epoch)
        self._take_turn(request)
        groups: dict[tuple[UUID, Standing], pb.ReplicaReport] = {}
        for (topic_id, partition), standing in standings.items():
            group = groups.get((topic_id, standing))
            if group is None:
                group = request.replicas.add(topic_id=topic_id.bytes, standing=standing)
                groups[topic_id, standing] = group
            group.partitions.append(partition)
        await self._call("ReportReplicas", request, pb.ReportReplicasResponse)

    # --- replication ---

    async def alter_partition(self, proposals: Sequence[InSyncProposal]) -> Sequence[InSyncAnswer]:
        """One answer for each proposal, in order, once this node has applied what they say.

        So no leader counts by a new set and an old min.insync.replicas: the controller found who is eligible by the new
        one. Raises `KraftpyError`, `TransportError`.
        """
        request = pb.AlterPartitionRequest(broker_id=self._node_id, broker_epoch=self.broker_epoch)
        self._take_turn(request)
        for proposal in proposals:
            request.partitions.add(
                topic_id=proposal.topic_id.bytes,
                partition=proposal.partition,
                leader_epoch=proposal.leader_epoch,
                partition_epoch=proposal.partition_epoch,
                isr=[pb.BrokerState(broker_id=member, broker_epoch=epoch) for member, epoch in proposal.isr],
                recovering=proposal.recovering,
                lacking=proposal.lacking,
            )
        response = await self._call("AlterPartition", request, pb.AlterPartitionResponse)
        if len(response.partitions) != len(proposals):
            raise RemoteFailure(f"{len(proposals)} proposals got {len(response.partitions)} answers")
        try:
            async with asyncio.timeout(CALL_TIMEOUT_MS / 1_000):
                await self._loader.wait_applied(response.metadata_offset)
        except TimeoutError:
            raise RequestTimedOutError("the metadata that the answer tells of has not come") from None
        return [_answer(item) for item in response.partitions]

    async def report_unreachable(self, broker_id: int, broker_epoch: int) -> None:
        """Raises `KraftpyError`, `TransportError`."""
        request = pb.ReportUnreachableRequest(reporter_id=self._node_id, broker_id=broker_id, broker_epoch=broker_epoch)
        await self._call("ReportUnreachable", request, pb.ReportUnreachableResponse)

    # --- administration ---

    async def run(self, method: str, payload: bytes, timeout_ms: int) -> bytes:
        """See `broker.rpc.ports.ControllerLink`."""
        deadline_ms = self._clock.monotonic_ms() + min(max(timeout_ms, 1), FORWARD_TIMEOUT_MS_MAX)
        try:
            async with asyncio.timeout((deadline_ms - self._clock.monotonic_ms()) / 1_000):
                response = await self._forward(method, payload, deadline_ms)
                await self._loader.wait_applied(response.metadata_offset)
                return response.payload
        except TimeoutError:
            raise RequestTimedOutError(f"{method} was not done within {timeout_ms} ms") from None
        except TransportError as error:
            raise RequestTimedOutError(f"{method} was sent to the controller, whose answer is lost: {error}") from None

    async def _forward(self, method: str, payload: bytes, deadline_ms: int) -> pb.ForwardResponse:
        while True:
            left_ms = deadline_ms - self._clock.monotonic_ms()
            request = pb.ForwardRequest(method=method, payload=payload, timeout_ms=max(left_ms, 1))
            try:
                return await self._call("Forward", request, pb.ForwardResponse, max(left_ms, 1))
            except (NotControllerError, TransportError) as error:
                if isinstance(error, TransportError) and error.may_have_been_sent:
                    raise
                if left_ms <= RETRY_PAUSE_MS:
                    raise NotControllerError(f"no controller did {method}: {error}") from None
                await asyncio.sleep(RETRY_PAUSE_MS / 1_000)

    # --- calling ---

    def _take_turn(self, request: pb.ReportReplicasRequest | pb.AlterPartitionRequest) -> None:
        """See `broker.controller.turns`. To be sent next, before another one of its kind."""
        self._turns += 1
        request.controller_epoch = self._loader.epoch
        request.number = self._turns

    async def _call(self, method: str, request: Message, response: type[M], timeout_ms: int = CALL_TIMEOUT_MS) -> M:
        """Ask the controller once. Raises the response's error, `NotControllerError` where none is known."""
        leader_id = self._loader.leader_id
        if leader_id is None:
            raise NotControllerError("no controller is known: the quorum has no leader at the moment")
        if leader_id == self._node_id:
            answer: Any = await self._service.handlers[method][1](request)
        else:
            address = self._address_of(leader_id)
            if address is None:
                raise NotControllerError(f"node {leader_id} leads the quorum, but nobody knows where it is")
            data = request.SerializeToString()
            answer = _decoded(
                response, await self._transport.call(address, full_name(SERVICE, method), data, timeout_ms)
            )
        error: int = getattr(answer, "error", NO_ERROR)
        if error != NO_ERROR:
            raise error_for(error, answer.error_message)
        assert isinstance(answer, response)
        return answer


def _decoded(message: type[M], data: bytes) -> M:
    try:
        return message.FromString(data)
    except DecodeError as error:
        raise RemoteFailure(f"the controller's answer is no {message.DESCRIPTOR.name}: {error}") from None


def _answer(item: pb.AlteredPartition) -> InSyncAnswer:
    error = None if item.error == NO_ERROR else class_for(item.error).name
    return InSyncAnswer(error, item.leader, item.leader_epoch, item.partition_epoch, tuple(item.isr))
