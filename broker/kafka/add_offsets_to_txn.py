"""AddOffsetsToTxn (key 25), versions 0–4: a group's offsets will be a part of the transaction. KIP-98, 588.

Producers of KIP-890's second version do not ask for it: the group's coordinator does, when the offsets come.
"""

from broker.coordinator.transactions.commands import ProtocolVersion, TransactionalProducer
from broker.coordinator.transactions.service import TransactionService
from broker.kafka.add_partitions_to_txn import FENCED_FROM, fencing_code
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.add_offsets_to_txn import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    AddOffsetsToTxnRequest,
    AddOffsetsToTxnResponse,
)
from kraftpy.errors import KraftpyError


class AddOffsetsToTxn:
    """The handler."""

    def __init__(self, transactions: TransactionService) -> None:
        self._transactions = transactions

    def api(self) -> Api:
        return message_api(
            ApiKey.ADD_OFFSETS_TO_TXN,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            AddOffsetsToTxnRequest,
            AddOffsetsToTxnResponse,
            self._respond,
        )

    async def _respond(self, request: AddOffsetsToTxnRequest, header: Request) -> AddOffsetsToTxnResponse:
        producer = TransactionalProducer(request.transactional_id, request.producer_id, request.producer_epoch)
        try:
            await self._transactions.add_offsets(producer, request.group_id, ProtocolVersion.FIRST)
        except KraftpyError as error:
            return AddOffsetsToTxnResponse(error=fencing_code(error, header.version, FENCED_FROM))
        return AddOffsetsToTxnResponse()
