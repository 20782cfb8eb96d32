"""What the fuzzer has behind the transaction APIs: a core without a log, which completes what it decides at once."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any
from uuid import UUID

from broker.coordinator.core import Moment
from broker.coordinator.groups.commands import OffsetResults
from broker.coordinator.transactions.commands import (
    AddPartitions,
    AllocateProducerId,
    MarkersWritten,
    ProducerIdAllocated,
    ProtocolVersion,
    SendMarkers,
    TopicPartition,
    TransactionalProducer,
)
from broker.coordinator.transactions.config import TransactionConfig
from broker.coordinator.transactions.core import TransactionCore
from kraftpy.errors import KraftpyError, NotEnoughReplicasError, TransactionAbortableError, UnknownTopicOrPartitionError


class FuzzedTransactions:
    """As `broker.coordinator.transactions.service.TransactionService` to its handlers."""

    def __init__(self, random: Random) -> None:
        self._core = TransactionCore(TransactionConfig(), 1)
        self._random = random
        self._now_ms = 0
        self._answers: dict[int, Any] = {}
        self._tickets = 0
        self.offsets = self
        self._accept(self._core.loaded(self._now()))

    def missing(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, KraftpyError]:
        missing = UnknownTopicOrPartitionError("said by the fuzzer")
        return {each: missing for each in partitions if self._random.random() < 0.2}

    def topic_id(self, topic: str) -> UUID | None:
        return UUID(int=1) if self._random.random() < 0.8 else None

    async def submit(self, transactional_id: str, command: Any) -> Any:
        self._accept(self._core.tick(self._now()))
        return self._told(command)

    async def add_offsets(self, producer: TransactionalProducer, group_id: str, version: ProtocolVersion) -> None:
        place = TopicPartition("__consumer_offsets", len(group_id))
        self._told(AddPartitions(producer, (place,), ProtocolVersion.FIRST))

    async def list_transactions(self, command: Any) -> Any:
        return self._told(command)

    async def write_markers(self, requests: Any) -> list[list[KraftpyError | None]]:
        return [[self._perhaps() for _ in partitions] for _, partitions in requests]

    async def commit(self, transaction: Any, command: Any) -> OffsetResults:
        if self._random.random() < 0.2:
            raise TransactionAbortableError("said by the fuzzer")
        return OffsetResults(tuple(self._perhaps() for _ in command.offsets))

    def _perhaps(self) -> KraftpyError | None:
        return NotEnoughReplicasError("said by the fuzzer") if self._random.random() < 0.3 else None

    def _told(self, command: Any) -> Any:
        self._tickets += 1
        ticket = self._tickets
        self._accept(self._core.handle(ticket, command, self._now()))
        answer = self._answers.pop(ticket)
        if isinstance(answer, KraftpyError):
            raise answer
        return answer

    def _accept(self, result: Any) -> None:
        for record in result.records:
            self._core.replay(record, None)
        self._answers.update({answer.ticket: answer.response for answer in result.answers})
        for effect in result.effects:
            match effect:
                case SendMarkers():
                    self._told(MarkersWritten(effect.transactional_id, effect.decision))
                case AllocateProducerId():
                    self._told(ProducerIdAllocated(self._random.getrandbits(40)))

    def _now(self) -> Moment:
        self._now_ms += self._random.randrange(2_000)
        return Moment(self._now_ms, self._now_ms)
