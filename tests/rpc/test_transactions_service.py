"""What the door of the SDK makes of requests about transactions."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from broker.coordinator.groups.commands import CommitOffsetsInTransaction, OffsetResults
from broker.coordinator.transactions.commands import TopicPartition
from broker.replication.verification import Transaction
from broker.rpc.methods import full_name
from broker.rpc.transactions_service import SERVICE, TransactionsService
from kraftpy.error_codes import code_of
from kraftpy.errors import KraftpyError, UnknownTopicOrPartitionError
from kraftpy.pb import groups_pb2, transactions_pb2

TOPIC_ID = UUID(int=10)


class Node:
    """As `broker.coordinator.transactions.service.TransactionService`: topic a has one partition."""

    def __init__(self) -> None:
        self.offsets = SimpleNamespace(commit=self._commit)
        self.committed: list[CommitOffsetsInTransaction] = []

    def missing(self, partitions: tuple[TopicPartition, ...]) -> dict[TopicPartition, KraftpyError]:
        return {each: UnknownTopicOrPartitionError("it is not there") for each in partitions if each != ("a", 0)}

    def topic_id(self, topic: str) -> UUID | None:
        return TOPIC_ID if topic == "a" else None

    async def _commit(self, transaction: Transaction, command: CommitOffsetsInTransaction) -> OffsetResults:
        self.committed.append(command)
        return OffsetResults((None,) * len(command.offsets))


def test_offsets_of_a_transaction_carry_the_ids_of_their_topics() -> None:
    """As others do: a topic that is deleted and made anew does not begin where the one before it was read to."""
    node = Node()
    service = TransactionsService(cast(Any, node), cast(Any, None))
    request = transactions_pb2.CommitTransactionalOffsetsRequest(
        group_id="g", offsets=[groups_pb2.OffsetToCommit(topic=topic, partition=0, offset=5) for topic in ("b", "a")]
    )

    async def answered() -> bytes:
        return await service.methods().unary[full_name(SERVICE, "CommitOffsets")](request.SerializeToString())

    answer = groups_pb2.OffsetResults.FromString(asyncio.run(answered()))
    assert list(answer.errors) == [code_of(UnknownTopicOrPartitionError), 0]
    ((offset,),) = [command.offsets for command in node.committed]
    assert (offset.topic, offset.topic_id) == ("a", TOPIC_ID)
