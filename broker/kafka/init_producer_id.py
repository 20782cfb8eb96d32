"""InitProducerId (key 22), versions 0–6: who a producer is from now on (KIP-98, 360, 730).

An idempotent producer gets an id out of this broker's block; an id or epoch that it tells of is not looked at, as Kafka
does it (KIP-360 is about transactions alone). A transactional id belongs to its coordinator, which gives the next
epoch. Two-phase commit (KIP-939, version 6) is refused as by a cluster that has not enabled it.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from broker.coordinator.transactions import commands
from broker.coordinator.transactions.commands import ProducerIdentity, TransactionalProducer
from broker.coordinator.transactions.service import TransactionService
from broker.kafka.add_partitions_to_txn import fencing_code
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.init_producer_id import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    InitProducerIdRequest,
    InitProducerIdResponse,
)
from kraftpy.error_codes import code_of
from kraftpy.errors import InvalidRequestError, KraftpyError, TransactionalIdAuthorizationFailedError

FENCED_FROM: Final = 4
"""From here on clients know PRODUCER_FENCED (KIP-588); before, it is INVALID_PRODUCER_EPOCH."""


class InitProducerId:
    """The handler."""

    def __init__(self, next_id: Callable[[], Awaitable[int]], transactions: TransactionService) -> None:
        """`next_id()` raises `KraftpyError` where none can be had."""
        self._next_id = next_id
        self._transactions = transactions

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
        try:
            if request.transactional_id is None:
                return InitProducerIdResponse(producer_id=await self._next_id(), producer_epoch=0)
            identity = await self._taken(request, request.transactional_id)
        except KraftpyError as error:
            return InitProducerIdResponse(
                error=fencing_code(error, header.version, FENCED_FROM), producer_id=-1, producer_epoch=-1
            )
        return InitProducerIdResponse(producer_id=identity.producer_id, producer_epoch=identity.producer_epoch)

    async def _taken(self, request: InitProducerIdRequest, transactional_id: str) -> ProducerIdentity:
        if request.enable_two_phase_commit or request.keep_prepared_transaction:
            raise TransactionalIdAuthorizationFailedError("two-phase commit is not enabled (KIP-939)")
        producer = TransactionalProducer(transactional_id, request.producer_id, request.producer_epoch)
        command = commands.InitProducerId(producer, request.transaction_timeout_ms)
        identity = await self._transactions.submit(transactional_id, command)
        assert isinstance(identity, ProducerIdentity)
        return identity


def _refused(error: KraftpyError) -> InitProducerIdResponse:
    return InitProducerIdResponse(error=code_of(error), producer_id=-1, producer_epoch=-1)
