"""What the nodes call of each other for transactions: `Control.WriteTxnMarkers` and `Control.VerifyTransaction`.

Both ends of both calls. What is asked of this very node does not leave it.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError, Message

from broker.coordinator import later
from broker.coordinator.transactions.marker_writer import MARKER_TIMEOUT_MS, MarkerRequest, MarkerWriter
from broker.replication.verification import Admission, Transaction
from broker.rpc.control import SERVICE
from broker.rpc.methods import Handlers, full_name, unary
from kraftpy.error_codes import NO_ERROR, code_of, error_for
from kraftpy.errors import KraftpyError
from kraftpy.pb import control_pb2 as pb
from kraftpy.runtime.ports import Address, Methods, RemoteFailure, Transport

if TYPE_CHECKING:
    from broker.coordinator.transactions.commands import Marker, TopicPartition

MARKERS_TIMEOUT_MS = MARKER_TIMEOUT_MS + 1_000
"""As long as a leader waits for a marker's replicas, and the way. A marker that was told to a machine as it lost its
power waits as long, though the partition may have another leader by then."""

M = TypeVar("M", bound=Message)
Answer = Callable[[Admission], Awaitable[list[KraftpyError | None]]]
"""What the coordinator on this node says. Raises `KraftpyError`."""


class TransactionCalls:
    """See the module's docstring."""

    def __init__(self, node_id: int, transport: Transport, writer: MarkerWriter, answer: Answer) -> None:
        self._node_id = node_id
        self._transport = transport
        self._writer = writer
        self._answer = answer

    def methods(self) -> Methods:
        handlers: Handlers = {
            "WriteTxnMarkers": (pb.WriteTxnMarkersRequest, self._serve_markers),
            "VerifyTransaction": (pb.VerifyTransactionRequest, self._serve_verification),
        }
        served = unary(SERVICE, handlers)
        return Methods(served, {}, frozenset(served))

    # --- asking ------------------------------------------------------------------------------------------------------

    async def write_markers(
        self, broker_id: int, address: Address, requests: Sequence[MarkerRequest]
    ) -> list[list[KraftpyError | None]]:
        """`broker.coordinator.transactions.markers.Call`."""
        if broker_id == self._node_id:
            return await self._writer.write(requests)
        request = pb.WriteTxnMarkersRequest(markers=[_marker_message(*each) for each in requests])
        response = await self._call(address, "WriteTxnMarkers", request, pb.WriteTxnMarkersResponse, MARKERS_TIMEOUT_MS)
        counts = [len(partitions) for _, partitions in requests]
        if [len(each.errors) for each in response.markers] != counts:
            raise RemoteFailure(f"markers of {counts} partitions got another number of answers")
        return [[_error(code) for code in each.errors] for each in response.markers]

    async def verify(
        self, broker_id: int, address: Address, admission: Admission, timeout_ms: int
    ) -> list[KraftpyError | None]:
        """Raises `KraftpyError`, `TransportError`."""
        if broker_id == self._node_id:
            return await self._answer(admission)
        request = pb.VerifyTransactionRequest(
            transactional_id=admission.transaction.transactional_id,
            producer_id=admission.producer_id,
            producer_epoch=admission.producer_epoch,
            adds_partitions=admission.transaction.adds_partitions,
            partitions=[pb.TransactionPartition(topic=topic, partition=index) for topic, index in admission.partitions],
        )
        response = await self._call(address, "VerifyTransaction", request, pb.VerifyTransactionResponse, timeout_ms)
        if response.error != NO_ERROR:
            raise error_for(response.error, response.error_message)
        if len(response.errors) != len(admission.partitions):
            raise RemoteFailure(f"{len(admission.partitions)} partitions got {len(response.errors)} answers")
        return [_error(code) for code in response.errors]

    async def _call(self, address: Address, method: str, request: Message, response: type[M], timeout_ms: int) -> M:
        data = await self._transport.call(address, full_name(SERVICE, method), request.SerializeToString(), timeout_ms)
        try:
            return response.FromString(data)
        except DecodeError as error:
            raise RemoteFailure(f"the answer is no {response.DESCRIPTOR.name}: {error}") from None

    # --- answering ---------------------------------------------------------------------------------------------------

    async def _serve_markers(self, request: pb.WriteTxnMarkersRequest) -> pb.WriteTxnMarkersResponse:
        answers = await self._writer.write([_marker_request(each) for each in request.markers])
        return pb.WriteTxnMarkersResponse(
            markers=[pb.WrittenMarkers(errors=[_code(error) for error in errors]) for errors in answers]
        )

    async def _serve_verification(self, request: pb.VerifyTransactionRequest) -> pb.VerifyTransactionResponse:
        admission = Admission(
            Transaction(request.transactional_id, request.adds_partitions),
            request.producer_id,
            request.producer_epoch,
            tuple((each.topic, each.partition) for each in request.partitions),
        )
        try:
            answers = await self._answer(admission)
        except KraftpyError as error:
            return pb.VerifyTransactionResponse(error=code_of(error), error_message=error.message)
        return pb.VerifyTransactionResponse(errors=[_code(error) for error in answers])


def _marker_message(marker: "Marker", partitions: "Sequence[TopicPartition]") -> pb.TransactionMarker:
    return pb.TransactionMarker(
        producer_id=marker.producer.producer_id,
        producer_epoch=marker.producer.producer_epoch,
        coordinator_epoch=marker.coordinator_epoch,
        commit=marker.commit,
        bumps_epoch=marker.bumps_epoch,
        partitions=[pb.TransactionPartition(topic=each.topic, partition=each.partition) for each in partitions],
    )


def _marker_request(message: pb.TransactionMarker) -> MarkerRequest:
    producer = later.ProducerIdentity(message.producer_id, message.producer_epoch)
    marker = later.Marker(producer, message.coordinator_epoch, message.commit, message.bumps_epoch)
    return marker, tuple(later.TopicPartition(each.topic, each.partition) for each in message.partitions)


def _code(error: KraftpyError | None) -> int:
    return NO_ERROR if error is None else code_of(error)


def _error(code: int) -> KraftpyError | None:
    return None if code == NO_ERROR else error_for(code)
