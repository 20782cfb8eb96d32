"""DescribeTransactions (key 65), version 0: how transactional ids stand that are coordinated here (KIP-664)."""

from itertools import groupby
from operator import attrgetter

from broker.coordinator.transactions.commands import DescribeTransaction, TransactionDescription
from broker.coordinator.transactions.service import TransactionService
from broker.kafka.api import Api, ApiKey, Request
from broker.kafka.long_answers import long_answer
from broker.kafka.messages.describe_transactions import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    DescribedTransaction,
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    PartitionsOfTopic,
)
from broker.kafka.schema import decode, writer_of
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import KraftpyError
from kraftpy.runtime.ports import FrameParts


class DescribeTransactions:
    """The handler."""

    def __init__(self, transactions: TransactionService) -> None:
        self._transactions = transactions

    def api(self) -> Api:
        return Api(
            ApiKey.DESCRIBE_TRANSACTIONS,
            VERSION_MIN,
            VERSION_MAX,
            FLEXIBLE_FROM,
            self.handle,
            request=DescribeTransactionsRequest,
            response=DescribeTransactionsResponse,
        )

    async def handle(self, header: Request) -> FrameParts:
        request = decode(DescribeTransactionsRequest, header.body, header.version, flexible=True, exact=False)
        write = writer_of(DescribedTransaction, header.version, True)
        return await long_answer(request.transactional_ids, str, self._described, _refused, write, flexible=True)

    async def _described(self, transactional_id: str) -> DescribedTransaction:
        try:
            found = await self._transactions.submit(transactional_id, DescribeTransaction(transactional_id))
        except KraftpyError as error:
            return _refused(transactional_id, error)
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


def _refused(transactional_id: str, error: KraftpyError) -> DescribedTransaction:
    return DescribedTransaction(error=code_of(error), transactional_id=transactional_id)
