"""InitProducerId (key 22), versions 0–6: an id for an idempotent producer, out of this broker's block (KIP-98, 730).

A request with a transactional id is the transaction coordinator's: `transactional` answers it; where there is none, it
is refused with COORDINATOR_NOT_AVAILABLE, which clients try again. An id or epoch that an idempotent producer tells of
is not looked at: it gets a new id, as Kafka gives it (KIP-360 is about transactions alone).
"""

from collections.abc import Awaitable, Callable

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.init_producer_id import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    InitProducerIdRequest,
    InitProducerIdResponse,
)
from kraftpy.error_codes import code_of
from kraftpy.errors import CoordinatorNotAvailableError, InvalidRequestError, KraftpyError

Transactional = Callable[[InitProducerIdRequest, Request], Awaitable[InitProducerIdResponse]]


async def no_coordinator(request: InitProducerIdRequest, header: Request) -> InitProducerIdResponse:
    return _refused(CoordinatorNotAvailableError("no transaction coordinator runs here"))


class InitProducerId:
    """The handler."""

    def __init__(self, next_id: Callable[[], Awaitable[int]], transactional: Transactional = no_coordinator) -> None:
        """`next_id()` raises `KraftpyError` where none can be had."""
        self._next_id = next_id
        self._transactional = transactional

    def api(self) -> Api:
        versions = (VERSION_MIN, VERSION_MAX)
        return message_api(
            ApiKey.INIT_PRODUCER_ID,
            versions,
            FLEXIBLE_FROM,
            InitProducerIdRequest,
            InitProducerIdResponse,
            self._respond,
        )

    async def _respond(self, request: InitProducerIdRequest, header: Request) -> InitProducerIdResponse:
        if (request.producer_id == -1) != (request.producer_epoch == -1):
            return _refused(InvalidRequestError("a producer id comes with an epoch, and neither alone"))
        if request.transactional_id is not None:
            return await self._transactional(request, header)
        try:
            return InitProducerIdResponse(producer_id=await self._next_id(), producer_epoch=0)
        except KraftpyError as error:
            return _refused(error)


def _refused(error: KraftpyError) -> InitProducerIdResponse:
    return InitProducerIdResponse(error=code_of(error), producer_id=-1, producer_epoch=-1)
