"""ListOffsets over gRPC: the ends of partitions, and the first record of a time."""

from broker.replication.fetch_types import CONSUMER, FoundOffset, IsolationLevel, OffsetSpec, OffsetsQuery, OffsetTarget
from broker.rpc.limits import check_count
from broker.rpc.ports import Replicas
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import InvalidRequestError
from kraftpy.pb.client_pb2 import ListedOffset, ListOffsetsRequest, ListOffsetsResponse

SPECS = (OffsetSpec.LATEST, OffsetSpec.EARLIEST, OffsetSpec.MAX_TIMESTAMP)
"""What may stand in place of a time."""


class ListingOffsets:
    """The handler."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    async def list_offsets(self, request: ListOffsetsRequest) -> ListOffsetsResponse:
        """One answer for each partition, in the request's order."""
        check_count(len(request.partitions), "partitions")
        targets = [
            OffsetTarget(part.topic, part.partition, part.current_leader_epoch, part.timestamp_ms)
            for part in request.partitions
        ]
        known_level = request.isolation_level in (IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED)
        asked = [target for target in targets if known_level and _is_known(target)]
        level = IsolationLevel(request.isolation_level) if asked else IsolationLevel.READ_UNCOMMITTED
        found = iter(await self._replicas.list_offsets(OffsetsQuery(CONSUMER, level, asked)) if asked else [])
        answers = [
            next(found) if known_level and _is_known(target) else FoundOffset(target, InvalidRequestError)
            for target in targets
        ]
        return ListOffsetsResponse(partitions=[_message(answer) for answer in answers])


def _is_known(target: OffsetTarget) -> bool:
    return target.timestamp_ms >= 0 or target.timestamp_ms in SPECS


def _message(answer: FoundOffset) -> ListedOffset:
    return ListedOffset(
        topic=answer.target.topic,
        partition=answer.target.partition,
        error=NO_ERROR if answer.error is None else code_of(answer.error),
        offset=answer.offset,
        timestamp_ms=answer.timestamp_ms,
        leader_epoch=answer.leader_epoch,
    )
