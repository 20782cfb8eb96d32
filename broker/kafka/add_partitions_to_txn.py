"""AddPartitionsToTxn (key 24), versions 0–5: these partitions take part in a transaction. KIP-98, 890.

All of a transaction's partitions are added, or none: where one is refused, the others are OPERATION_NOT_ATTEMPTED. From
version 4 on, which brokers use, a request holds several transactions, and may only ask whether partitions take part.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from broker.coordinator.transactions.commands import (
    AddPartitions,
    ProtocolVersion,
    TopicPartition,
    TransactionalProducer,
    VerifyPartitions,
)
from broker.coordinator.transactions.service import TransactionService
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.add_partitions_to_txn import (
    FLEXIBLE_FROM,
    MANY_FROM,
    VERSION_MAX,
    VERSION_MIN,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AskedTransaction,
    PartitionResult,
    PartitionsOfTopic,
    TopicResult,
    TransactionResult,
)
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import InvalidProducerEpochError, KraftpyError, OperationNotAttemptedError, ProducerFencedError

FENCED_FROM: Final = 2
"""From here on clients know PRODUCER_FENCED (KIP-588); before, it is INVALID_PRODUCER_EPOCH."""

Codes = Mapping[TopicPartition, int]


class AddPartitionsToTxn:
    """The handler."""

    def __init__(self, transactions: TransactionService) -> None:
        self._transactions = transactions

    def api(self) -> Api:
        return message_api(
            ApiKey.ADD_PARTITIONS_TO_TXN,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            AddPartitionsToTxnRequest,
            AddPartitionsToTxnResponse,
            self._respond,
        )

    async def _respond(self, request: AddPartitionsToTxnRequest, header: Request) -> AddPartitionsToTxnResponse:
        if header.version < MANY_FROM:
            asked = AskedTransaction(
                transactional_id=request.transactional_id,
                producer_id=request.producer_id,
                producer_epoch=request.producer_epoch,
                topics=request.topics,
            )
            codes = await self._codes(asked, ProtocolVersion.FIRST, header.version)
            return AddPartitionsToTxnResponse(topics=_results(request.topics, codes))
        return AddPartitionsToTxnResponse(
            transactions=tuple(
                [
                    TransactionResult(
                        transactional_id=asked.transactional_id,
                        topics=_results(asked.topics, await self._codes(asked, ProtocolVersion.SECOND, header.version)),
                    )
                    for asked in request.transactions
                ]
            )
        )

    async def _codes(self, asked: AskedTransaction, speaks: ProtocolVersion, version: int) -> Codes:
        places = tuple(TopicPartition(topic.name, each) for topic in asked.topics for each in topic.partitions)
        producer = TransactionalProducer(asked.transactional_id, asked.producer_id, asked.producer_epoch)
        missing = self._transactions.missing(places)
        if missing:
            not_attempted = code_of(OperationNotAttemptedError)
            return {each: code_of(missing[each]) if each in missing else not_attempted for each in places}
        try:
            if asked.verify_only:
                command = VerifyPartitions(producer, places)
                refusals = await self._transactions.submit(asked.transactional_id, command)
                errors = [NO_ERROR if refusal is None else code_of(refusal) for refusal in refusals]
                return dict(zip(places, errors, strict=True))
            await self._transactions.submit(asked.transactional_id, AddPartitions(producer, places, speaks))
        except KraftpyError as error:
            return dict.fromkeys(places, fencing_code(error, version, FENCED_FROM))
        return dict.fromkeys(places, NO_ERROR)


def fencing_code(error: KraftpyError, version: int, fenced_from: int) -> int:
    """Kafka's code of a coordinator's refusal, for clients of any version of an API."""
    if isinstance(error, ProducerFencedError) and version < fenced_from:
        return code_of(InvalidProducerEpochError)
    return code_of(error)


def _results(topics: Iterable[PartitionsOfTopic], codes: Codes) -> tuple[TopicResult, ...]:
    return tuple(
        TopicResult(
            name=topic.name,
            partitions=tuple(
                PartitionResult(partition=each, error=codes[TopicPartition(topic.name, each)])
                for each in topic.partitions
            ),
        )
        for topic in topics
    )
