"""The Transactions service: transactions, for the SDK. Requests become commands of the coordinators, one to one.

| method | answered by |
|---|---|
| ListTransactions | the node that is asked, of the transactional ids that it coordinates |
| CommitOffsets | the group's coordinator |
| AbortPartition, DescribeProducers | the leader of the partition |
| everything else | the coordinator of the transactional id; NOT_COORDINATOR by others |

Producers of the SDK speak the second version of the protocol (KIP-890): leaders add their partitions to transactions,
groups' coordinators their own, and each transaction has an epoch.
"""

from collections.abc import Iterator
from typing import Any

from broker.coordinator.core import Producer
from broker.coordinator.groups.commands import CommitOffsetsInTransaction, OffsetToCommit
from broker.coordinator.transactions import commands
from broker.coordinator.transactions.commands import Marker, ProducerIdentity, TopicPartition
from broker.coordinator.transactions.service import TransactionService
from broker.coordinator.transactions.states import state_called
from broker.replication.replicas import Replicas
from broker.replication.verification import Transaction
from broker.rpc.groups_service import member_key, refused
from broker.rpc.limits import check_count
from broker.rpc.many_names import told_in_turns
from broker.rpc.methods import unary
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import InvalidRequestError, KraftpyError
from kraftpy.pb.groups_pb2 import GroupPartition, OffsetResults
from kraftpy.pb.transactions_pb2 import (
    AbortPartitionRequest,
    AddOffsetsRequest,
    AddPartitionsRequest,
    CommitTransactionalOffsetsRequest,
    DescribeProducersRequest,
    DescribeProducersResponse,
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    EndTransactionRequest,
    EndTransactionResponse,
    InitTransactionalRequest,
    InitTransactionalResponse,
    ListTransactionsRequest,
    ListTransactionsResponse,
    PartitionProducers,
    ProducerDescription,
    TransactionalProducer,
    TransactionDescription,
    TransactionListing,
    TransactionResult,
)
from kraftpy.runtime.ports import Methods

SERVICE = "Transactions"


class TransactionsService:
    """See the module's docstring."""

    def __init__(self, transactions: TransactionService, replicas: Replicas) -> None:
        self._transactions = transactions
        self._replicas = replicas

    def methods(self) -> Methods:
        return Methods(
            unary(
                SERVICE,
                {
                    "InitProducerId": (InitTransactionalRequest, self._init),
                    "AddPartitions": (AddPartitionsRequest, self._add_partitions),
                    "AddOffsets": (AddOffsetsRequest, self._add_offsets),
                    "CommitOffsets": (CommitTransactionalOffsetsRequest, self._commit_offsets),
                    "EndTransaction": (EndTransactionRequest, self._end),
                    "ListTransactions": (ListTransactionsRequest, self._list),
                    "DescribeTransactions": (DescribeTransactionsRequest, self._describe_all),
                    "AbortPartition": (AbortPartitionRequest, self._abort_partition),
                    "DescribeProducers": (DescribeProducersRequest, self._describe_producers),
                },
            ),
            {},
        )

    # --- producers ---------------------------------------------------------------------------------------------------

    async def _init(self, request: InitTransactionalRequest) -> InitTransactionalResponse:
        command = commands.InitProducerId(_producer(request.producer), request.transaction_timeout_ms)
        try:
            identity = await self._submit(request.producer, command)
        except KraftpyError as error:
            return InitTransactionalResponse(producer_id=-1, producer_epoch=-1, **refused(error))
        return InitTransactionalResponse(producer_id=identity.producer_id, producer_epoch=identity.producer_epoch)

    async def _add_partitions(self, request: AddPartitionsRequest) -> TransactionResult:
        check_count(len(request.partitions), "partitions")
        places = tuple(TopicPartition(each.topic, each.partition) for each in request.partitions)
        try:
            await self._submit(request.producer, commands.AddPartitions(_producer(request.producer), places))
        except KraftpyError as error:
            return TransactionResult(**refused(error))
        return TransactionResult()

    async def _add_offsets(self, request: AddOffsetsRequest) -> TransactionResult:
        try:
            await self._transactions.add_offsets(
                _producer(request.producer), request.group_id, commands.ProtocolVersion.SECOND
            )
        except KraftpyError as error:
            return TransactionResult(**refused(error))
        return TransactionResult()

    async def _commit_offsets(self, request: CommitTransactionalOffsetsRequest) -> OffsetResults:
        check_count(len(request.offsets), "offsets")
        places = [TopicPartition(each.topic, each.partition) for each in request.offsets]
        missing = self._transactions.missing(tuple(places))
        offsets = tuple(
            OffsetToCommit(
                each.topic,
                each.partition,
                each.offset,
                each.leader_epoch,
                each.metadata,
                self._transactions.topic_id(each.topic),
            )
            for each, place in zip(request.offsets, places, strict=True)
            if place not in missing
        )
        codes: Iterator[int] = iter(())
        if offsets:
            command = CommitOffsetsInTransaction(
                request.group_id,
                Producer(request.producer.producer_id, request.producer.producer_epoch),
                offsets,
                member_key(request.member),
                request.generation,
            )
            transaction = Transaction(request.producer.transactional_id, adds_partitions=True)
            try:
                results = await self._transactions.offsets.commit(transaction, command)
            except KraftpyError as error:
                return OffsetResults(**refused(error))
            codes = iter([NO_ERROR if each is None else code_of(each) for each in results.refusals])
        return OffsetResults(errors=[code_of(missing[place]) if place in missing else next(codes) for place in places])

    async def _end(self, request: EndTransactionRequest) -> EndTransactionResponse:
        try:
            identity = await self._submit(
                request.producer, commands.EndTransaction(_producer(request.producer), request.commit)
            )
        except KraftpyError as error:
            return EndTransactionResponse(producer_id=-1, producer_epoch=-1, **refused(error))
        return EndTransactionResponse(producer_id=identity.producer_id, producer_epoch=identity.producer_epoch)

    async def _submit(self, producer: TransactionalProducer, command: commands.Command) -> Any:
        if not producer.transactional_id:
            raise InvalidRequestError("a transactional id has at least one letter")
        return await self._transactions.submit(producer.transactional_id, command)

    # --- administration ----------------------------------------------------------------------------------------------

    async def _list(self, request: ListTransactionsRequest) -> ListTransactionsResponse:
        states = [state_called(name) for name in request.states]
        command = commands.ListTransactions(
            frozenset(state for state in states if state is not None),
            frozenset(request.producer_ids),
            request.running_ms_min or -1,
        )
        try:
            if None in states:
                raise InvalidRequestError(f"no state of a transaction is called any of {', '.join(request.states)}")
            found = await self._transactions.list_transactions(command)
        except KraftpyError as error:
            return ListTransactionsResponse(**refused(error))
        return ListTransactionsResponse(
            transactions=[
                TransactionListing(
                    transactional_id=each.transactional_id, producer_id=each.producer_id, state=each.state.label
                )
                for each in found
            ]
        )

    async def _describe_all(self, request: DescribeTransactionsRequest) -> DescribeTransactionsResponse:
        check_count(len(request.transactional_ids), "transactional ids")
        response, size_bytes = DescribeTransactionsResponse(), 0
        described = told_in_turns(request.transactional_ids, str, self._describe, _refused, lambda: size_bytes)
        async for each in described:
            response.transactions.append(each)
            size_bytes += each.ByteSize()
        return response

    async def _describe(self, transactional_id: str) -> TransactionDescription:
        try:
            found = await self._transactions.submit(transactional_id, commands.DescribeTransaction(transactional_id))
        except KraftpyError as error:
            return _refused(transactional_id, error)
        assert isinstance(found, commands.TransactionDescription)
        return TransactionDescription(
            transactional_id=transactional_id,
            state=found.state.label,
            producer_id=found.producer.producer_id,
            producer_epoch=found.producer.producer_epoch,
            timeout_ms=found.timeout_ms,
            started_ms=found.started_ms,
            partitions=[GroupPartition(topic=place.topic, partition=place.partition) for place in found.partitions],
        )

    async def _abort_partition(self, request: AbortPartitionRequest) -> TransactionResult:
        producer = ProducerIdentity(request.producer_id, request.producer_epoch)
        marker = Marker(producer, request.coordinator_epoch, commit=False, bumps_epoch=False)
        ((error,),) = await self._transactions.write_markers(
            [(marker, (TopicPartition(request.topic, request.partition),))]
        )
        return TransactionResult() if error is None else TransactionResult(**refused(error))

    async def _describe_producers(self, request: DescribeProducersRequest) -> DescribeProducersResponse:
        check_count(len(request.partitions), "partitions")
        return DescribeProducersResponse(
            partitions=[self._producers(each.topic, each.partition) for each in request.partitions]
        )

    def _producers(self, topic: str, index: int) -> PartitionProducers:
        try:
            producers = self._replicas.describe_producers(topic, index)
        except KraftpyError as error:
            return PartitionProducers(topic=topic, partition=index, **refused(error))
        return PartitionProducers(
            topic=topic,
            partition=index,
            producers=[
                ProducerDescription(
                    producer_id=each.producer_id,
                    producer_epoch=each.epoch,
                    last_sequence=each.last_sequence,
                    last_timestamp_ms=each.timestamp_ms,
                    coordinator_epoch=each.coordinator_epoch,
                    transaction_start_offset=each.transaction_start,
                )
                for each in producers
            ],
        )


def _producer(producer: TransactionalProducer) -> commands.TransactionalProducer:
    return commands.TransactionalProducer(producer.transactional_id, producer.producer_id, producer.producer_epoch)


def _refused(transactional_id: str, error: KraftpyError) -> TransactionDescription:
    return TransactionDescription(transactional_id=transactional_id, **refused(error))
