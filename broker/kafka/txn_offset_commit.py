"""TxnOffsetCommit (key 28), versions 0–5: a group's offsets, as part of a producer's transaction. KIP-98, 447, 890.

They count once the transaction is committed. Partitions that are not there are refused one by one, and the others are
written.
"""

from broker.coordinator.core import Producer
from broker.coordinator.groups.commands import CommitOffsetsInTransaction, MemberKey, OffsetToCommit
from broker.coordinator.transactions.commands import TopicPartition
from broker.coordinator.transactions.service import TransactionService
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.txn_offset_commit import (
    ADDS_PARTITIONS_FROM,
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    TxnOffsetCommitPartitionResult,
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
    TxnOffsetCommitTopicResult,
)
from broker.replication.verification import Transaction
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    InvalidCommitOffsetSizeError,
    InvalidGroupIdError,
    InvalidProducerEpochError,
    InvalidRequestError,
    InvalidTxnStateError,
    KraftpyError,
    NetworkError,
    ProducerFencedError,
    TransactionAbortableError,
)


class TxnOffsetCommit:
    """The handler."""

    def __init__(self, transactions: TransactionService) -> None:
        self._transactions = transactions

    def api(self) -> Api:
        return message_api(
            ApiKey.TXN_OFFSET_COMMIT,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            TxnOffsetCommitRequest,
            TxnOffsetCommitResponse,
            self._respond,
        )

    async def _respond(self, request: TxnOffsetCommitRequest, header: Request) -> TxnOffsetCommitResponse:
        offsets = {
            TopicPartition(topic.name, each.partition): OffsetToCommit(
                topic.name, each.partition, each.offset, each.leader_epoch, each.metadata or "", topic_id
            )
            for topic in request.topics
            for topic_id in (self._transactions.topic_id(topic.name),)
            for each in topic.partitions
        }
        missing = self._transactions.missing(tuple(offsets))
        codes = {place: code_of(error) for place, error in missing.items()}
        wanted = {place: offset for place, offset in offsets.items() if place not in missing}
        if wanted:
            found = await self._commit(request, tuple(wanted.values()), header.version)
            codes.update(zip(wanted, found, strict=True))
        return TxnOffsetCommitResponse(
            topics=tuple(
                TxnOffsetCommitTopicResult(
                    name=topic.name,
                    partitions=tuple(
                        TxnOffsetCommitPartitionResult(
                            partition=each.partition, error=codes[TopicPartition(topic.name, each.partition)]
                        )
                        for each in topic.partitions
                    ),
                )
                for topic in request.topics
            )
        )

    async def _commit(
        self, request: TxnOffsetCommitRequest, offsets: tuple[OffsetToCommit, ...], version: int
    ) -> list[int]:
        """A code for each of `offsets`."""
        transaction = Transaction(request.transactional_id, version >= ADDS_PARTITIONS_FROM)
        command = CommitOffsetsInTransaction(
            request.group_id,
            Producer(request.producer_id, request.producer_epoch),
            offsets,
            MemberKey(request.member_id, request.group_instance_id),
            request.generation,
        )
        try:
            if not request.group_id:
                raise InvalidGroupIdError("a group has a name")
            results = await self._transactions.offsets.commit(transaction, command)
        except KraftpyError as error:
            return [code_of(_told(error, version))] * len(offsets)
        return [NO_ERROR if refusal is None else code_of(refusal) for refusal in results.refusals]


def _told(error: KraftpyError, version: int) -> KraftpyError:
    """As clients of this API know it.

    No version of it tells PRODUCER_FENCED (KIP-588 changed the other APIs): Kafka's AddPartitionsToTxnManager turns
    that into INVALID_PRODUCER_EPOCH, as for Produce. Java's producer takes both for the same; librdkafka's is fenced by
    this one, and upon the other it would only abort.
    """
    match error:
        case ProducerFencedError():
            return InvalidProducerEpochError(error.message)
        case InvalidRequestError():
            return InvalidCommitOffsetSizeError(error.message)
        case CoordinatorLoadInProgressError() | NetworkError():
            # Producers before Kafka 2.0 may fall over what they do not know of here (KAFKA-7296).
            return (CoordinatorLoadInProgressError if version >= 2 else CoordinatorNotAvailableError)(error.message)
        case TransactionAbortableError() if version < ADDS_PARTITIONS_FROM - 1:
            return InvalidTxnStateError(error.message)
        case _:
            return error
