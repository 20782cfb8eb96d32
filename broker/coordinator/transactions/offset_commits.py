"""Offsets that a group commits as part of a producer's transaction (KIP-447): for the coordinators of groups here.

They are records in `__consumer_offsets` like others of the transaction in other partitions. So the first of them needs
the word of the transaction's coordinator (KIP-890), and the same guard; the group's coordinator writes them.
"""

from typing import TYPE_CHECKING

from broker.coordinator import later
from broker.coordinator.coordinators import Coordinators
from broker.coordinator.core import Producer
from broker.coordinator.transactions.gate import ASK_TIMEOUT_MS
from broker.metadata.internal_topics import CONSUMER_OFFSETS
from broker.replication.partition import Partition
from broker.replication.replicas import Replicas
from broker.replication.verification import Admission, Transaction, TransactionGate, begins_transaction
from kraftpy.errors import NotCoordinatorError, NotLeaderOrFollowerError, UnknownTopicOrPartitionError
from kraftpy.record import BatchHeader
from kraftpy.record.header import TRANSACTIONAL_BIT

if TYPE_CHECKING:
    from broker.coordinator.groups.commands import Command, CommitOffsetsInTransaction, OffsetResults
    from broker.coordinator.groups.records import GroupsRecord

_NO_SEQUENCE = -1


class TransactionalOffsets:
    """See the module's docstring."""

    def __init__(
        self, replicas: Replicas, groups: "Coordinators[Command, GroupsRecord]", gate: TransactionGate
    ) -> None:
        self._replicas = replicas
        self._groups = groups
        self._gate = gate

    async def commit(self, transaction: Transaction, command: "CommitOffsetsInTransaction") -> "OffsetResults":
        """Raises `KraftpyError`."""
        index = self._groups.partition_of(command.group_id)
        partition = self._partition(index)
        header = _header(command.producer)
        if not begins_transaction(partition.log, header):
            return await self._submit(command)
        guard = partition.verifications.begin(header, transaction.adds_partitions)
        try:
            place = (CONSUMER_OFFSETS, index)
            admission = Admission(transaction, *command.producer, partitions=(place,))
            refusal = (await self._gate.admit(admission, ASK_TIMEOUT_MS))[0]
            if refusal is not None:
                raise refusal
            if guard.is_void:
                raise NotCoordinatorError(f"{partition.name} changed hands meanwhile")
            guard.is_verified = True
            return await self._submit(command)
        finally:
            partition.verifications.release(command.producer.producer_id, guard)

    def _partition(self, index: int) -> Partition:
        try:
            partition = self._replicas.partition(CONSUMER_OFFSETS, index)
            partition.lead_as(-1)
        except (NotLeaderOrFollowerError, UnknownTopicOrPartitionError) as error:
            raise NotCoordinatorError(error.message) from None
        return partition

    async def _submit(self, command: "CommitOffsetsInTransaction") -> "OffsetResults":
        results = await self._groups.submit(command.group_id, command)
        assert isinstance(results, later.OffsetResults)
        return results


def _header(producer: Producer) -> BatchHeader:
    """Of the batch that the group's coordinator will write: what counts of it here."""
    return BatchHeader(
        base_offset=0,
        batch_length=0,
        leader_epoch=-1,
        magic=2,
        crc=0,
        attributes=TRANSACTIONAL_BIT,
        last_offset_delta=0,
        base_timestamp=0,
        max_timestamp=0,
        producer_id=producer.producer_id,
        producer_epoch=producer.producer_epoch,
        base_sequence=_NO_SEQUENCE,
        record_count=1,
    )
