"""The arithmetic of producer epochs: who is the producer's next self, and who only an old one. Pure.

    0 … 32766  are given to producers; the last of them can still be used, and then a new producer id begins at 0
    32767      is never given away: with it the coordinator ends what is open and fences whoever has 32766

A producer's epoch grows when another takes the transactional id over (KIP-98), when the producer itself asks for it
(KIP-360), and in KIP-890's second version with every transaction. Aborting on its own account the coordinator goes two
further then: one further is what the producer would have itself, if it had ended the transaction, and must not pass.
"""

from typing import Final

from broker.coordinator.transactions.commands import NO_EPOCH, NOBODY, ProducerIdentity, ProtocolVersion
from broker.coordinator.transactions.records import TransactionMetadata

EPOCH_MAX: Final = 32_767
LAST_GIVEN_EPOCH: Final = EPOCH_MAX - 1


def is_exhausted(epoch: int) -> bool:
    """No producer may have a higher one."""
    return epoch >= LAST_GIVEN_EPOCH


def ended(epoch: int, version: ProtocolVersion) -> int:
    """The epoch of markers when a producer that has `epoch` ends its transaction."""
    assert epoch < EPOCH_MAX, "the last epoch belongs to nobody who could end anything"
    return epoch + 1 if version is ProtocolVersion.SECOND else epoch


def fenced(epoch: int, version: ProtocolVersion) -> tuple[int, ProtocolVersion]:
    """The epoch of markers when the coordinator aborts a transaction, and which version its record then tells."""
    assert epoch < EPOCH_MAX, "the last epoch belongs to nobody who could begin anything"
    if version is ProtocolVersion.FIRST:
        return epoch + 1, version
    # At the end there is only one left. That no producer takes it for its own, the record's version sees to.
    return (epoch + 2, version) if epoch + 2 <= EPOCH_MAX else (EPOCH_MAX, ProtocolVersion.FIRST)


def is_own(metadata: TransactionMetadata, expected: ProducerIdentity) -> bool:
    """Whether who asks with `expected` can be the producer of this id, or was before the last change of ids."""
    if expected == NOBODY or expected.producer_id == metadata.producer_id:
        return True
    return expected.producer_id == metadata.previous_producer_id and is_exhausted(expected.producer_epoch)


def is_repeated(metadata: TransactionMetadata, expected: ProducerIdentity) -> bool:
    """Whether the producer asks for its next epoch again, because it did not hear the answer (KIP-360)."""
    return expected != NOBODY and metadata.last_epoch != NO_EPOCH and expected.producer_epoch == metadata.last_epoch


def is_ended_already(metadata: TransactionMetadata, producer: ProducerIdentity) -> bool:
    """Whether `producer`, of the second version, asks for the end of a transaction that it has ended before."""
    if metadata.version is not ProtocolVersion.SECOND:
        return False
    if producer.producer_id == metadata.producer_id:
        return producer.producer_epoch + 1 == metadata.producer_epoch
    return (
        producer.producer_id == metadata.previous_producer_id
        and producer.producer_epoch == LAST_GIVEN_EPOCH
        and metadata.producer_epoch == 0
    )
