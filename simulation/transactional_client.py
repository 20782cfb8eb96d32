"""A producer with transactions that speaks Kafka's protocol to simulated nodes, and writes down what became of them.

As KIP-890's second version has it: leaders add the partitions, and the end of each transaction gives the next epoch.
Whatever may be tried again is tried again, as a real client would; what may not ends the transaction, and the producer
takes its transactional id anew.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import TypeVar

from broker.kafka.api import ApiKey
from broker.kafka.messages.end_txn import EndTxnRequest, EndTxnResponse
from broker.kafka.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from broker.kafka.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from broker.kafka.messages.offset_fetch import (
    OffsetFetchGroup,
    OffsetFetchRequest,
    OffsetFetchResponse,
)
from broker.kafka.messages.txn_offset_commit import (
    TxnOffsetCommitPartition,
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
    TxnOffsetCommitTopic,
)
from broker.kafka.schema import (
    Bytes,
    Int16,
    Int32,
    Int64,
    NullableString,
    String,
    Structure,
    decode,
    encode,
    structure,
)
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.errors import KraftpyError, UnknownServerError
from kraftpy.record import Record, encode_batch
from kraftpy.runtime.ports import Address, FramedConnection, FramedTransport, TransportError
from simulation.workloads import pause

GROUP, TRANSACTION = 0, 1
VERSIONS = {
    ApiKey.PRODUCE: 12,
    ApiKey.FIND_COORDINATOR: 6,
    ApiKey.INIT_PRODUCER_ID: 5,
    ApiKey.END_TXN: 5,
    ApiKey.TXN_OFFSET_COMMIT: 5,
    ApiKey.OFFSET_FETCH: 9,
}
REQUEST_TIMEOUT_MS = 3_000
PAUSE_S = 0.05

S = TypeVar("S", bound=Structure)
AddressOf = Callable[[int], Address]


@structure
class _PartitionData(Structure):
    index: Int32
    records: Bytes


@structure
class _TopicData(Structure):
    name: String
    partitions: tuple[_PartitionData, ...]


@structure
class _ProduceRequest(Structure):
    transactional_id: NullableString
    acks: Int16
    timeout_ms: Int32
    topics: tuple[_TopicData, ...]


@structure
class _RecordError(Structure):
    index: Int32
    message: NullableString


@structure
class _PartitionProduced(Structure):
    index: Int32
    error: Int16
    base_offset: Int64
    log_append_time_ms: Int64
    log_start_offset: Int64
    record_errors: tuple[_RecordError, ...]
    error_message: NullableString


@structure
class _TopicProduced(Structure):
    name: String
    partitions: tuple[_PartitionProduced, ...]


@structure
class _ProduceResponse(Structure):
    topics: tuple[_TopicProduced, ...]
    throttle_ms: Int32


class Wire:
    """Requests to brokers by their ids, over one connection each."""

    def __init__(self, framed: FramedTransport, address_of: AddressOf) -> None:
        self._framed = framed
        self._address_of = address_of
        self._connections: dict[int, FramedConnection] = {}
        self._correlation_id = 0

    async def ask(self, broker_id: int, key: ApiKey, request: Structure, response: type[S]) -> S:
        """Raises `TransportError`."""
        version = VERSIONS[key]
        self._correlation_id += 1
        header = struct.pack(">hhih", key, version, self._correlation_id, -1) + b"\0"
        body = bytes(encode(request, version, flexible=True))
        try:
            connection = self._connections.get(broker_id)
            if connection is None:
                connection = await self._framed.connect(self._address_of(broker_id), REQUEST_TIMEOUT_MS)
                self._connections[broker_id] = connection
            answer = await connection.request([header, body], REQUEST_TIMEOUT_MS)
        except TransportError:
            self._forget(broker_id)
            raise
        return decode(response, answer[5:], version, flexible=True)

    def _forget(self, broker_id: int) -> None:
        connection = self._connections.pop(broker_id, None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        for broker_id in list(self._connections):
            self._forget(broker_id)


class Fate(Enum):
    COMMITTED = "the coordinator said so"
    NEVER_COMMITTED = "nobody asked for that"
    UNKNOWN = "asked for, and no clear answer"


@dataclass(frozen=True, slots=True)
class Transaction:
    """One of them, as its producer saw it."""

    producer: str
    number: int  # of this producer's, from 1; also the offset that it commits for its group
    values: tuple[tuple[int, str], ...]  # partition and value, in order
    fate: Fate


class TransactionalProducer:
    """One incarnation of a transactional id. `name` is its own, `transactional_id` perhaps another's too."""

    def __init__(
        self,
        wire: Wire,
        random: Random,
        name: str,
        transactional_id: str,
        broker_ids: tuple[int, ...],
        leader_of: Callable[[str, int], int],
        now_us: Callable[[], int],
        timeout_ms: int,
    ) -> None:
        self._wire = wire
        self._random = random
        self._name = name
        self._transactional_id = transactional_id
        self._broker_ids = broker_ids
        self._leader_of = leader_of
        self._now_us = now_us
        self._timeout_ms = timeout_ms
        self._identity = (-1, -1)
        self._sequences: dict[int, int] = {}
        self._number = 0

    @property
    def group_id(self) -> str:
        return f"group-of-{self._name}"

    async def run(
        self, topic: str, partitions: int, history: list[Transaction], until_us: int, pause_s: float = 0.2
    ) -> None:
        """One transaction after the other until then, with up to `pause_s` in between."""
        while self._now_us() < until_us:
            try:
                if self._identity == (-1, -1):
                    self._identity = await self._retried(self._init, until_us)
                await self._transaction(topic, partitions, history, until_us)
            except (KraftpyError, TransportError):
                self._identity = (-1, -1)
            await pause(self._now_us(), self._random.random() * pause_s, until_us)

    async def _transaction(self, topic: str, partitions: int, history: list[Transaction], until_us: int) -> None:
        """Raises where the producer has to take its id anew."""
        self._number += 1
        self._sequences.clear()
        places = self._random.sample(range(partitions), self._random.randint(1, partitions))
        values = [(place, f"{self._name}/{self._number}/{place}.{part}") for place in places for part in range(2)]
        deadline_us = self._now_us() + self._timeout_ms * 2_000
        fate = Fate.NEVER_COMMITTED
        try:
            for place, value in values:
                await self._retried(lambda place=place, value=value: self._send(topic, place, value), deadline_us)  # type: ignore[misc]
            await self._retried(lambda: self._commit_offset(topic), deadline_us)
            choice = self._random.random()
            if choice < 0.1:  # it dies here; its time, or the next incarnation, ends the transaction
                raise UnknownServerError("died")
            commit = choice < 0.75
            fate = Fate.UNKNOWN if commit else fate
            self._identity = await self._retried(lambda: self._end(commit), deadline_us)
            fate = Fate.COMMITTED if commit else fate
        finally:
            history.append(Transaction(self._name, self._number, tuple(values), fate))

    async def _retried(self, step: Callable[[], Awaitable[tuple[int, int]]], until_us: int) -> tuple[int, int]:
        while True:
            try:
                return await step()
            except (KraftpyError, TransportError) as error:
                if (isinstance(error, KraftpyError) and not error.retriable) or self._now_us() >= until_us:
                    raise
            await asyncio.sleep(PAUSE_S * (1 + self._random.random()))

    async def _coordinator(self, kind: int, key: str) -> int:
        request = FindCoordinatorRequest(key_type=kind, keys=(key,))
        broker_id = self._random.choice(self._broker_ids)
        answer = await self._wire.ask(broker_id, ApiKey.FIND_COORDINATOR, request, FindCoordinatorResponse)
        _check(answer.coordinators[0].error)
        return answer.coordinators[0].node_id

    async def _init(self) -> tuple[int, int]:
        coordinator = await self._coordinator(TRANSACTION, self._transactional_id)
        request = InitProducerIdRequest(
            transactional_id=self._transactional_id, transaction_timeout_ms=self._timeout_ms
        )
        answer = await self._wire.ask(coordinator, ApiKey.INIT_PRODUCER_ID, request, InitProducerIdResponse)
        _check(answer.error)
        return answer.producer_id, answer.producer_epoch

    async def _send(self, topic: str, partition: int, value: str) -> tuple[int, int]:
        producer_id, epoch = self._identity
        batch = encode_batch(
            [Record(0, 1_000, None, value.encode(), ())],
            producer_id=producer_id,
            producer_epoch=epoch,
            base_sequence=self._sequences.get(partition, 0),
            transactional=True,
        )
        data = _PartitionData(index=partition, records=bytes(batch))
        request = _ProduceRequest(
            transactional_id=self._transactional_id,
            acks=-1,
            timeout_ms=REQUEST_TIMEOUT_MS,
            topics=(_TopicData(name=topic, partitions=(data,)),),
        )
        leader = self._leader_of(topic, partition)
        answer = await self._wire.ask(leader, ApiKey.PRODUCE, request, _ProduceResponse)
        _check(answer.topics[0].partitions[0].error)
        self._sequences[partition] = self._sequences.get(partition, 0) + 1
        return self._identity

    async def _commit_offset(self, topic: str) -> tuple[int, int]:
        coordinator = await self._coordinator(GROUP, self.group_id)
        partition = TxnOffsetCommitPartition(partition=0, offset=self._number, metadata="")
        request = TxnOffsetCommitRequest(
            transactional_id=self._transactional_id,
            group_id=self.group_id,
            producer_id=self._identity[0],
            producer_epoch=self._identity[1],
            topics=(TxnOffsetCommitTopic(name=topic, partitions=(partition,)),),
        )
        answer = await self._wire.ask(coordinator, ApiKey.TXN_OFFSET_COMMIT, request, TxnOffsetCommitResponse)
        _check(answer.topics[0].partitions[0].error)
        return self._identity

    async def _end(self, commit: bool) -> tuple[int, int]:
        coordinator = await self._coordinator(TRANSACTION, self._transactional_id)
        request = EndTxnRequest(
            transactional_id=self._transactional_id,
            producer_id=self._identity[0],
            producer_epoch=self._identity[1],
            committed=commit,
        )
        answer = await self._wire.ask(coordinator, ApiKey.END_TXN, request, EndTxnResponse)
        _check(answer.error)
        return answer.producer_id, answer.producer_epoch

    async def committed_offset(self) -> int:
        """Of the group, once it is stable; 0 where there is none. Raises `KraftpyError`, `TransportError`."""
        coordinator = await self._coordinator(GROUP, self.group_id)
        group = OffsetFetchGroup(group_id=self.group_id, topics=None)
        request = OffsetFetchRequest(groups=(group,), require_stable=True)
        answer = await self._wire.ask(coordinator, ApiKey.OFFSET_FETCH, request, OffsetFetchResponse)
        _check(answer.groups[0].error)
        offsets = [place for topic in answer.groups[0].topics for place in topic.partitions]
        for place in offsets:
            _check(place.error)
        return max((place.offset for place in offsets), default=0)


def _check(code: int) -> None:
    if code != NO_ERROR:
        raise error_for(code)
