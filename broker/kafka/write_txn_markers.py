"""WriteTxnMarkers (key 27), version 1: end transactions in partitions led here, behind their coordinators' backs.

`kafka-transactions.sh abort` calls it for transactions that hang (KIP-664). The coordinators of this cluster use a call
of their own (`broker.coordinator.transactions.calls`).
"""

from broker.coordinator.transactions.commands import Marker, ProducerIdentity, TopicPartition
from broker.coordinator.transactions.marker_writer import MarkerRequest
from broker.coordinator.transactions.service import TransactionService
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.write_txn_markers import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    MarkerResult,
    PartitionResult,
    TopicResult,
    WritableMarker,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
)
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KraftpyError,
    NotCoordinatorError,
    NotLeaderOrFollowerError,
)

_OF_GROUPS = (CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError)


class WriteTxnMarkers:
    """The handler."""

    def __init__(self, transactions: TransactionService) -> None:
        self._transactions = transactions

    def api(self) -> Api:
        return message_api(
            ApiKey.WRITE_TXN_MARKERS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            WriteTxnMarkersRequest,
            WriteTxnMarkersResponse,
            self._respond,
        )

    async def _respond(self, request: WriteTxnMarkersRequest, header: Request) -> WriteTxnMarkersResponse:
        answers = await self._transactions.write_markers([_request(each) for each in request.markers])
        results = [_result(marker, errors) for marker, errors in zip(request.markers, answers, strict=True)]
        return WriteTxnMarkersResponse(markers=tuple(results))


def _request(marker: WritableMarker) -> MarkerRequest:
    producer = ProducerIdentity(marker.producer_id, marker.producer_epoch)
    places = tuple(TopicPartition(topic.name, each) for topic in marker.topics for each in topic.partitions)
    return Marker(producer, marker.coordinator_epoch, marker.committed, bumps_epoch=False), places


def _result(marker: WritableMarker, errors: list[KraftpyError | None]) -> MarkerResult:
    codes = iter(NO_ERROR if error is None else code_of(_told(error)) for error in errors)
    return MarkerResult(
        producer_id=marker.producer_id,
        topics=tuple(
            TopicResult(
                name=topic.name,
                partitions=tuple(PartitionResult(partition=each, error=next(codes)) for each in topic.partitions),
            )
            for topic in marker.topics
        ),
    )


def _told(error: KraftpyError) -> KraftpyError:
    """As Kafka: whoever writes markers asks leaders, also those of `__consumer_offsets`, and knows no coordinators."""
    return NotLeaderOrFollowerError(error.message) if isinstance(error, _OF_GROUPS) else error
