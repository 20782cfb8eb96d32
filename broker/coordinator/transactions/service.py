"""One node's share of transactions: its coordinators, and what it asks of and does for those of other nodes.

`TransactionService` is what the doors call. It adds to the cores what takes a look at metadata: that partitions which
are added exist, and in which partition a group keeps its offsets.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never
from uuid import UUID

from broker.coordinator import later
from broker.coordinator.coordinators import Coordinators, partition_of
from broker.coordinator.finding import CoordinatorFinder, CoordinatorKind
from broker.coordinator.partition_log import PartitionLog
from broker.coordinator.shard import Shard
from broker.coordinator.transactions.calls import TransactionCalls
from broker.coordinator.transactions.config import TransactionConfig
from broker.coordinator.transactions.gate import CoordinatorGate
from broker.coordinator.transactions.marker_writer import MarkerRequest, MarkerWriter
from broker.coordinator.transactions.markers import MarkerSender
from broker.coordinator.transactions.offset_commits import TransactionalOffsets
from broker.metadata.features import TRANSACTION_VERSION
from broker.metadata.image import MetadataImage
from broker.metadata.internal_topics import CONSUMER_OFFSETS, TRANSACTION_STATE
from broker.producer_ids import ProducerIds
from broker.replication.replicas import Replicas
from broker.replication.verification import Admission
from kraftpy.errors import (
    CoordinatorNotAvailableError,
    KraftpyError,
    NotCoordinatorError,
    UnknownTopicOrPartitionError,
)
from kraftpy.runtime.ports import Address, Methods, Ports

if TYPE_CHECKING:
    from broker.coordinator.groups.commands import Command as GroupCommand
    from broker.coordinator.groups.records import GroupsRecord
    from broker.coordinator.transactions.commands import (
        Command,
        Effect,
        ListTransactions,
        ProducerIdAllocated,
        ProtocolVersion,
        TopicPartition,
        TransactionalProducer,
        TransactionListing,
    )

RETRY_PAUSE_MS = 500
"""Until the outcome of an effect is told again to a coordinator that could not take it."""

TransactionShard: TypeAlias = "Shard[Command, Any]"


class TransactionService:
    """See the module's docstring."""

    def __init__(
        self,
        node_id: int,
        config: TransactionConfig,
        ports: Ports,
        image: Callable[[], MetadataImage],
        replicas: Replicas,
        finder: CoordinatorFinder,
        producer_ids: ProducerIds,
        groups: "Coordinators[GroupCommand, GroupsRecord]",
    ) -> None:
        """Before `replicas` starts: it is told whom to ask, and who listens."""
        self._image = image
        self._finder = finder
        self._producer_ids = producer_ids
        self.coordinators: Coordinators[Command, Any] = Coordinators(
            TRANSACTION_STATE,
            lambda: _partition_count(image(), TRANSACTION_STATE),
            lambda partition, leader_epoch: later.TransactionCore(config, leader_epoch),
            lambda: later.TransactionRecordCodec(lambda: image().features.get(TRANSACTION_VERSION, 0)),
            lambda partition, leader_epoch: PartitionLog(partition, leader_epoch, ports.disk),
            ports.clock,
            self.perform,
            turn=groups.turn,
        )
        self._writer = MarkerWriter(replicas, ports.clock, groups.shard)
        self._calls = TransactionCalls(node_id, ports.transport, self._writer, self._answer)
        self._sender = MarkerSender(image, self._calls.write_markers)
        self.gate = CoordinatorGate(self._ask, ports.clock)
        self.offsets = TransactionalOffsets(replicas, groups, self.gate)
        replicas.leadership_listeners[TRANSACTION_STATE] = self.coordinators
        replicas.admissions.gate = self.gate

    def methods(self) -> Methods:
        """Of Control: what other nodes ask."""
        return self._calls.methods()

    async def stop(self) -> None:
        """Whoever waits is told to look for the next coordinator."""
        self.coordinators.stop()
        await self._sender.stop()

    # --- what the doors ask ------------------------------------------------------------------------------------------

    async def submit(self, transactional_id: str, command: "Command") -> Any:
        """The coordinator's answer. Raises `KraftpyError`; partitions that do not exist are not added."""
        if isinstance(command, later.AddPartitions):
            missing = self.missing(command.partitions)
            if missing:
                raise missing[min(missing)]
        return await self.coordinators.submit(transactional_id, command)

    async def list_transactions(self, command: "ListTransactions") -> "list[TransactionListing]":
        """Those that are coordinated here. Raises `CoordinatorLoadInProgressError` where that is not known yet."""
        return await self.coordinators.listed(command)

    def missing(self, partitions: "tuple[TopicPartition, ...]") -> "Mapping[TopicPartition, KraftpyError]":
        """Those that do not exist, as far as this node knows."""
        image = self._image()
        return {
            each: UnknownTopicOrPartitionError(f"there is no partition {each.topic}-{each.partition}")
            for each in partitions
            if not 0 <= each.partition < _partition_count(image, each.topic)
        }

    def topic_id(self, topic: str) -> UUID | None:
        """As far as this node knows. An offset carries it, so that it is none of a later topic of the same name."""
        found = self._image().topic(topic)
        return None if found is None else found.topic_id

    async def partition_of_group(self, group_id: str) -> "TopicPartition":
        """Where its offsets are; the topic is made where it is not there yet. Raises `CoordinatorNotAvailableError`."""
        if not _partition_count(self._image(), CONSUMER_OFFSETS):
            await self._finder.find(CoordinatorKind.GROUP, group_id)
        count = _partition_count(self._image(), CONSUMER_OFFSETS)
        if not count:
            raise CoordinatorNotAvailableError(f"{CONSUMER_OFFSETS} is being created")
        return later.TopicPartition(CONSUMER_OFFSETS, partition_of(CONSUMER_OFFSETS, group_id, count))

    async def add_offsets(self, producer: "TransactionalProducer", group_id: str, version: "ProtocolVersion") -> None:
        """The group's offsets will be a part of the transaction. Raises `KraftpyError`."""
        place = await self.partition_of_group(group_id)
        await self.submit(producer.transactional_id, later.AddPartitions(producer, (place,), version))

    async def write_markers(self, requests: list[MarkerRequest]) -> list[list[KraftpyError | None]]:
        """Into partitions led here, for a coordinator or an administrator."""
        return await self._writer.write(requests)

    # --- the gate ----------------------------------------------------------------------------------------------------

    async def _ask(self, admission: Admission, timeout_ms: int) -> list[KraftpyError | None]:
        transactional_id = admission.transaction.transactional_id
        broker_id = await self._finder.find(CoordinatorKind.TRANSACTION, transactional_id)
        return await self._calls.verify(broker_id, self._address(broker_id), admission, timeout_ms)

    def _address(self, broker_id: int) -> Address:
        address = self._image().grpc_address(broker_id)
        if address is not None:
            return address
        raise CoordinatorNotAvailableError(f"nobody knows where broker {broker_id} is")

    async def _answer(self, admission: Admission) -> list[KraftpyError | None]:
        """As the coordinator."""
        transactional_id = admission.transaction.transactional_id
        producer = later.TransactionalProducer(transactional_id, admission.producer_id, admission.producer_epoch)
        partitions = tuple(later.TopicPartition(*each) for each in admission.partitions)
        if admission.transaction.adds_partitions:
            await self.submit(transactional_id, later.AddPartitions(producer, partitions))
            return [None] * len(partitions)
        return list(await self.submit(transactional_id, later.VerifyPartitions(producer, partitions)))

    # --- effects -----------------------------------------------------------------------------------------------------

    async def perform(self, shard: TransactionShard, effect: "Effect") -> None:
        """For a coordinator of this node, which is told the outcome."""
        match effect:
            case later.SendMarkers():
                if await self._sender.send(effect):
                    written = later.MarkersWritten(effect.transactional_id, effect.decision)
                    await _tell(shard, lambda: _ready(written))
            case later.AllocateProducerId():
                await _tell(shard, self._allocated)
            case _:
                assert_never(effect)

    async def _allocated(self) -> "ProducerIdAllocated":
        try:
            return later.ProducerIdAllocated(await self._producer_ids.next())
        except KraftpyError as error:
            return later.ProducerIdAllocated(error)


async def _tell(shard: TransactionShard, outcome: "Callable[[], Awaitable[Command]]") -> None:
    """Until it is written, or this coordinator is no more.

    Each attempt has an outcome of its own: what is not committed in time was heard all the same, and a producer id that
    is told twice would be given to two producers.
    """
    while True:
        try:
            await shard.submit(await outcome())
            return
        except NotCoordinatorError:
            return
        except KraftpyError:
            await asyncio.sleep(RETRY_PAUSE_MS / 1_000)


async def _ready(outcome: "Command") -> "Command":
    return outcome


def _partition_count(image: MetadataImage, topic_name: str) -> int:
    topic = image.topic(topic_name)
    return 0 if topic is None else len(topic.partitions)
