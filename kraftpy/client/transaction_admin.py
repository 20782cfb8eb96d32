"""Transactions, as an administrator sees and ends them (KIP-664)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kraftpy.client.any_node import Deadline
from kraftpy.client.config import ClientConfig
from kraftpy.client.coordinator_calls import CoordinatorCalls, raise_for
from kraftpy.client.group.coordinator import TRANSACTIONS
from kraftpy.client.metadata import Metadata
from kraftpy.client.values import TopicPartition
from kraftpy.client.wire import ClientPorts
from kraftpy.client.wire_numbers import wire_numbers
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.errors import InvalidTxnStateError, LeaderNotAvailableError
from kraftpy.pb import groups_pb2
from kraftpy.pb import transactions_pb2 as pb
from kraftpy.runtime.ports import Address

FENCE_TIMEOUT_MS = 60_000
"""transaction_timeout_ms of the producer as which a transactional id is taken over: it begins nothing."""


@dataclass(frozen=True, slots=True)
class TransactionListing:
    transactional_id: str
    producer_id: int
    state: str
    """Kafka's: Ongoing, PrepareCommit, CompleteCommit, Empty …"""


@dataclass(frozen=True, slots=True)
class TransactionDescription:
    """A transactional id; `started_ms` (since 1970) is None while none of its transactions is open."""

    transactional_id: str
    state: str
    coordinator: str
    """HOST:PORT."""
    producer_id: int
    producer_epoch: int
    timeout_ms: int
    started_ms: int | None
    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class PartitionProducer:
    """A producer that a partition remembers; `transaction_start_offset` None: nothing of it is open there."""

    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_timestamp_ms: int
    coordinator_epoch: int
    transaction_start_offset: int | None


class TransactionAdmin:
    """The calls of one admin."""

    def __init__(self, config: ClientConfig, ports: ClientPorts, metadata: Metadata) -> None:
        self._calls = CoordinatorCalls(config, ports, metadata, groups_pb2.TRANSACTION)

    async def close(self) -> None:
        await self._calls.close()

    async def list_transactions(
        self, states: Sequence[str], producer_ids: Iterable[int], running_ms_min: int, deadline: Deadline
    ) -> list[TransactionListing]:
        with wire_numbers():
            request = pb.ListTransactionsRequest(
                states=states, producer_ids=producer_ids, running_ms_min=running_ms_min
            )

        async def once(address: Address) -> list[TransactionListing]:
            answer = await self._calls.ask(
                address, TRANSACTIONS + "ListTransactions", request, pb.ListTransactionsResponse, deadline
            )
            raise_for(answer.error, answer.error_message)
            return [
                TransactionListing(each.transactional_id, each.producer_id, each.state) for each in answer.transactions
            ]

        found = await self._calls.ask_all(once, deadline)
        return sorted((each for part in found for each in part), key=lambda each: each.transactional_id)

    async def describe_transaction(self, transactional_id: str, deadline: Deadline) -> TransactionDescription:
        coordinator = self._calls.coordinator(transactional_id)
        request = pb.DescribeTransactionsRequest(transactional_ids=[transactional_id])

        async def once() -> TransactionDescription:
            address = await coordinator.address()
            answer = await self._calls.ask(
                address, TRANSACTIONS + "DescribeTransactions", request, pb.DescribeTransactionsResponse, deadline
            )
            found = answer.transactions[0]
            if found.error != NO_ERROR:
                error = error_for(found.error, found.error_message)
                coordinator.noted(error, address)
                raise error
            return TransactionDescription(
                transactional_id,
                found.state,
                str(address),
                found.producer_id,
                found.producer_epoch,
                found.timeout_ms,
                None if found.started_ms < 0 else found.started_ms,
                tuple(TopicPartition(each.topic, each.partition) for each in found.partitions),
            )

        return await self._calls.repeat(once, deadline)

    async def fence(self, transactional_id: str, deadline: Deadline) -> None:
        """Take the transactional id over: what is open is aborted, and whoever wrote it is fenced."""
        coordinator = self._calls.coordinator(transactional_id)
        request = pb.InitTransactionalRequest(
            producer=pb.TransactionalProducer(transactional_id=transactional_id, producer_id=-1, producer_epoch=-1),
            transaction_timeout_ms=FENCE_TIMEOUT_MS,
        )

        async def once() -> None:
            await coordinator.call(
                TRANSACTIONS + "InitProducerId",
                request,
                pb.InitTransactionalResponse,
                self._calls.timeout_ms(deadline),
            )

        await self._calls.repeat(once, deadline)

    async def producers(self, place: TopicPartition, deadline: Deadline) -> list[PartitionProducer]:
        request = pb.DescribeProducersRequest()
        with wire_numbers():
            request.partitions.add(topic=place.topic, partition=place.partition)

        async def once() -> list[PartitionProducer]:
            answer = await self._calls.ask(
                await self._leader(place, deadline),
                TRANSACTIONS + "DescribeProducers",
                request,
                pb.DescribeProducersResponse,
                deadline,
            )
            found = answer.partitions[0]
            raise_for(found.error, found.error_message)
            return [
                PartitionProducer(
                    each.producer_id,
                    each.producer_epoch,
                    each.last_sequence,
                    each.last_timestamp_ms,
                    each.coordinator_epoch,
                    None if each.transaction_start_offset < 0 else each.transaction_start_offset,
                )
                for each in found.producers
            ]

        return await self._calls.repeat(once, deadline)

    async def abort_partition(self, place: TopicPartition, start_offset: int, deadline: Deadline) -> None:
        """Abort what was begun there, in this partition alone, behind its coordinator's back."""
        open_ones = [
            each for each in await self.producers(place, deadline) if each.transaction_start_offset == start_offset
        ]
        if not open_ones:
            raise InvalidTxnStateError(f"no transaction that is open in {place} begins at offset {start_offset}")
        hanging = open_ones[0]
        request = pb.AbortPartitionRequest(
            topic=place.topic,
            partition=place.partition,
            producer_id=hanging.producer_id,
            producer_epoch=hanging.producer_epoch,
            coordinator_epoch=max(hanging.coordinator_epoch, 0),
        )

        async def once() -> None:
            answer = await self._calls.ask(
                await self._leader(place, deadline),
                TRANSACTIONS + "AbortPartition",
                request,
                pb.TransactionResult,
                deadline,
            )
            raise_for(answer.error, answer.error_message)

        await self._calls.repeat(once, deadline)

    async def _leader(self, place: TopicPartition, deadline: Deadline) -> Address:
        metadata = self._calls.metadata
        await metadata.topic(place.topic, deadline.left_ms, 0)
        leader = metadata.leader(*place)
        if leader is None:
            metadata.invalidate()
            raise LeaderNotAvailableError(f"nobody leads {place}")
        return metadata.view.brokers[leader.node_id]
