"""DescribeTransactions (key 65), version 0: how transactional ids stand that are coordinated here (KIP-664)."""

from itertools import groupby
from operator import attrgetter

from broker.coordinator.transactions.commands import DescribeTransaction, TransactionDescription
from broker.coordinator.transactions.service import TransactionService
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.describe_transactions import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    DescribedTransaction,
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    PartitionsOfTopic,
)
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import KraftpyError


class DescribeTransactions:
    """The handler."""

    def __init__(self, transactions: TransactionService) -> None:
        self._transactions = transactions

    def api(self) -> Api:
        return message_api(
            ApiKey.DESCRIBE_TRANSACTIONS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            DescribeTransactionsRequest,
            DescribeTransactionsResponse,
            self._respond,
        )

    async def _respond(self, request: DescribeTransactionsRequest, header: Request) -> DescribeTransactionsResponse:
        described = [await self._described(transactional_id) for transactional_id in request.transactional_ids]
        return DescribeTransactionsResponse(transactions=tuple(described))

    async def _described(self, transactional_id: str) -> DescribedTransaction:
        try:
            found = await self._transactions.submit(transactional_id, DescribeTransaction(transactional_id))
        except KraftpyError as error:
            return DescribedTransaction(error=code_of(error), transactional_id=transactional_id)
        assert isinstance(found, TransactionDescription)
        return DescribedTransaction(
            error=NO_ERROR,
            transactional_id=transactional_id,
            state=found.state.label,
            timeout_ms=found.timeout_ms,
            start_time_ms=found.started_ms,
            producer_id=found.producer.producer_id,
            producer_epoch=found.producer.producer_epoch,
            topics=tuple(
                PartitionsOfTopic(topic=topic, partitions=tuple(each.partition for each in places))
                for topic, places in groupby(found.partitions, attrgetter("topic"))
            ),
        )
