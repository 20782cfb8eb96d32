"""EndTxn (key 26), versions 0–5: commit or abort. KIP-98, 588, 890."""

from broker.coordinator.transactions.commands import (
    EndTransaction,
    ProducerIdentity,
    ProtocolVersion,
    TransactionalProducer,
)
from broker.coordinator.transactions.service import TransactionService
from broker.kafka.add_partitions_to_txn import FENCED_FROM, fencing_code
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.end_txn import (
    BUMPS_EPOCH_FROM,
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    EndTxnRequest,
    EndTxnResponse,
)
from kraftpy.errors import KraftpyError


class EndTxn:
    """The handler."""

    def __init__(self, transactions: TransactionService) -> None:
        self._transactions = transactions

    def api(self) -> Api:
        return message_api(
            ApiKey.END_TXN, (VERSION_MIN, VERSION_MAX), FLEXIBLE_FROM, EndTxnRequest, EndTxnResponse, self._respond
        )

    async def _respond(self, request: EndTxnRequest, header: Request) -> EndTxnResponse:
        speaks = ProtocolVersion.SECOND if header.version >= BUMPS_EPOCH_FROM else ProtocolVersion.FIRST
        producer = TransactionalProducer(request.transactional_id, request.producer_id, request.producer_epoch)
        command = EndTransaction(producer, request.committed, speaks)
        try:
            identity = await self._transactions.submit(request.transactional_id, command)
        except KraftpyError as error:
            return EndTxnResponse(error=fencing_code(error, header.version, FENCED_FROM))
        assert isinstance(identity, ProducerIdentity)
        return EndTxnResponse(producer_id=identity.producer_id, producer_epoch=identity.producer_epoch)
