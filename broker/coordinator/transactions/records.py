"""What the log of a transaction coordinator says: one kind of record, the whole of what is known of an id. Pure."""

from dataclasses import dataclass

from broker.coordinator.transactions.commands import (
    NO_EPOCH,
    NO_PRODUCER_ID,
    Marker,
    ProducerIdentity,
    ProtocolVersion,
    TopicPartition,
)
from broker.coordinator.transactions.states import TransactionState

NO_TIME = -1


@dataclass(frozen=True, slots=True)
class TransactionMetadata:
    """A transactional id as it stands."""

    producer_id: int
    producer_epoch: int  # once decided, that of the markers
    timeout_ms: int
    state: TransactionState
    updated_ms: int  # by the wall's clock
    partitions: tuple[TopicPartition, ...] = ()  # sorted; empty when at rest
    started_ms: int = NO_TIME  # by the wall's clock, of the open transaction
    version: ProtocolVersion = ProtocolVersion.FIRST
    """How the producer spoke of the transaction that is open, or was the last. A transaction that the coordinator had
    to abort at the end of its epochs says FIRST: its epoch is not the one that the producer goes on with."""
    previous_producer_id: int = NO_PRODUCER_ID
    """Whose epochs were used up before this one."""
    next_producer_id: int = NO_PRODUCER_ID
    """While the transaction ends: with whom the next one begins, as the epochs of this one are used up."""
    last_epoch: int = NO_EPOCH
    """Before the producer itself asked for its next: so that it is known if it asks again. Kafka's format has no place
    for it, and a new leader does not know it."""

    @property
    def identity(self) -> ProducerIdentity:
        return ProducerIdentity(self.producer_id, self.producer_epoch)

    @property
    def identity_after(self) -> ProducerIdentity:
        """With which the producer begins its next transaction, once this one has ended."""
        if self.next_producer_id != NO_PRODUCER_ID:
            return ProducerIdentity(self.next_producer_id, 0)
        return self.identity

    def marker(self, coordinator_epoch: int) -> Marker:
        """What its partitions are told, once decided."""
        assert self.state.is_decided, self.state
        commit = self.state is TransactionState.PREPARE_COMMIT
        return Marker(self.identity, coordinator_epoch, commit, self.version is ProtocolVersion.SECOND)


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """`metadata`: None where the id is forgotten."""

    transactional_id: str
    metadata: TransactionMetadata | None
