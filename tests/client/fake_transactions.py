"""A coordinator of transactions for the `FakeCluster`: markers go straight into its partitions.

It speaks the protocol of KIP-890: leaders add partitions, and every end bumps the producer's epoch. Offsets go to the
groups of `FakeGroups` as a part of the transaction. `faults` queues errors by method.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from broker.coordinator.core import Producer
from broker.coordinator.groups.commands import CommitOffsetsInTransaction, MemberKey
from broker.rpc.groups_service import offset_codes, offset_to_commit
from kraftpy.error_codes import code_of
from kraftpy.errors import (
    ConcurrentTransactionsError,
    InvalidProducerEpochError,
    InvalidTxnStateError,
    KraftpyError,
    ProducerFencedError,
)
from kraftpy.pb import client_pb2, groups_pb2
from kraftpy.pb import transactions_pb2 as pb
from kraftpy.record import decode_batch, encode_marker, read_header
from kraftpy.runtime.ports import Methods
from tests.client.fake_broker import FakeCluster, ProducerEntry
from tests.client.fake_groups import FakeGroups

PREFIX = "/kraftpy.pb.Transactions/"


@dataclass
class FakeTransaction:
    producer_id: int
    epoch: int = 0
    partitions: dict[tuple[str, int], None] = field(default_factory=dict)
    with_offsets: bool = False
    is_open: bool = False


class FakeTransactions:
    def __init__(self, cluster: FakeCluster, groups: FakeGroups) -> None:
        self.cluster = cluster
        self.groups = groups
        self.by_id: dict[str, FakeTransaction] = {}
        self.faults: dict[str, deque[KraftpyError]] = {}
        self.calls: list[str] = []
        handlers: dict[str, Any] = {
            "InitProducerId": (pb.InitTransactionalRequest, pb.InitTransactionalResponse, self._init),
            "CommitOffsets": (pb.CommitTransactionalOffsetsRequest, groups_pb2.OffsetResults, self._commit_offsets),
            "EndTransaction": (pb.EndTransactionRequest, pb.EndTransactionResponse, self._end),
        }
        served = {PREFIX + name: self._served(name, *handler) for name, handler in handlers.items()}
        others = cluster.services
        assert others is not None
        cluster.services = lambda node_id: Methods({**others(node_id).unary, **served}, {})
        cluster.on_produce = self._produced

    def refuse(self, method: str, *errors: KraftpyError) -> None:
        self.faults.setdefault(method, deque()).extend(errors)

    def committed(self, topic: str, partition: int = 0) -> list[bytes]:
        """What a reader of committed records sees."""
        found: list[bytes] = []
        pending: dict[int, list[bytes]] = {}
        for batch in self.cluster.partition(topic, partition).batches:
            header = read_header(batch)
            if header.is_control:
                values = pending.pop(header.producer_id, [])
                found += values if decode_control(batch) else []
            elif header.is_transactional:
                pending.setdefault(header.producer_id, []).extend(r.value or b"" for r in decode_batch(batch))
            else:
                found += [record.value or b"" for record in decode_batch(batch)]
        return found

    # --- the protocol ------------------------------------------------------------------------------------------------

    def _served(self, name: str, request: Any, response: Any, handler: Any) -> Callable[[bytes], Awaitable[bytes]]:
        async def serve(data: bytes) -> bytes:
            self.calls.append(name)
            try:
                if self.faults.get(name):
                    raise self.faults[name].popleft()
                answer = await handler(request.FromString(data))
            except KraftpyError as error:
                answer = response(error=code_of(error), error_message=str(error))
            return bytes(answer.SerializeToString())

        return serve

    def _produced(self, request: client_pb2.ProduceRequest, topic: str, partition: int, data: bytes) -> None:
        """What a leader does before it appends: tell the coordinator."""
        header = read_header(data)
        if not header.is_transactional:
            return
        transaction = self._checked(request.transactional_id, header.producer_id, header.producer_epoch)
        transaction.partitions[topic, partition] = None
        transaction.is_open = True

    def _checked(self, transactional_id: str, producer_id: int, epoch: int) -> FakeTransaction:
        transaction = self.by_id[transactional_id]
        if (transaction.producer_id, transaction.epoch) != (producer_id, epoch):
            raise InvalidProducerEpochError("another has come")
        return transaction

    async def _init(self, request: pb.InitTransactionalRequest) -> pb.InitTransactionalResponse:
        transaction = self.by_id.get(request.producer.transactional_id)
        if transaction is None:
            self.cluster.next_producer_id += 1
            transaction = self.by_id[request.producer.transactional_id] = FakeTransaction(self.cluster.next_producer_id)
        elif transaction.is_open:
            self._finish(transaction, commit=False)
            raise ConcurrentTransactionsError("what was open is being aborted")
        else:
            transaction.epoch += 1
        return pb.InitTransactionalResponse(producer_id=transaction.producer_id, producer_epoch=transaction.epoch)

    async def _commit_offsets(self, request: pb.CommitTransactionalOffsetsRequest) -> groups_pb2.OffsetResults:
        transaction = self._speaker(request.producer)
        transaction.with_offsets = transaction.is_open = True
        image = self.groups.image()
        offsets = [offset_to_commit(image, each) for each in request.offsets]
        command = CommitOffsetsInTransaction(
            request.group_id,
            Producer(request.producer.producer_id, request.producer.producer_epoch),
            tuple(each for each in offsets if each is not None),
            MemberKey(
                request.member.member_id, request.member.instance_id if request.member.HasField("instance_id") else None
            ),
            request.generation,
        )
        answer = await self.groups.submit(request.group_id, command)
        return groups_pb2.OffsetResults(errors=offset_codes(offsets, answer))

    async def _end(self, request: pb.EndTransactionRequest) -> pb.EndTransactionResponse:
        transaction = self._speaker(request.producer)
        if request.commit and not transaction.is_open:
            raise InvalidTxnStateError("nothing is open")
        self._finish(transaction, commit=request.commit)
        return pb.EndTransactionResponse(producer_id=transaction.producer_id, producer_epoch=transaction.epoch)

    def _speaker(self, producer: pb.TransactionalProducer) -> FakeTransaction:
        try:
            return self._checked(producer.transactional_id, producer.producer_id, producer.producer_epoch)
        except InvalidProducerEpochError:
            raise ProducerFencedError("another has come") from None

    def _finish(self, transaction: FakeTransaction, *, commit: bool) -> None:
        transaction.epoch += 1
        for topic, partition in transaction.partitions:
            place = self.cluster.partition(topic, partition)
            marker = encode_marker(
                commit=commit,
                coordinator_epoch=1,
                timestamp_ms=0,
                producer_id=transaction.producer_id,
                producer_epoch=transaction.epoch,
                base_offset=place.end_offset,
                leader_epoch=place.leader_epoch,
            )
            place.batches.append(bytes(marker))
            place.end_offset += 1
            place.producers[transaction.producer_id] = ProducerEntry(transaction.epoch, -1, deque(maxlen=5))
        if transaction.with_offsets:
            self.groups.end_transaction(transaction.producer_id, commit)
        transaction.partitions = {}
        transaction.is_open = transaction.with_offsets = False
        self.cluster.touch()


def decode_control(batch: bytes) -> bool:
    """Whether the marker commits."""
    from kraftpy.record import ControlType, decode_control_batch

    return decode_control_batch(batch)[0].type == ControlType.COMMIT
