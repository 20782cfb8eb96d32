"""What the doors ask of the coordinator of a transactional id, and its answers: plain values, no shape of any wire.

| command | answer |
|---|---|
| `InitProducerId`, `EndTransaction` | `ProducerIdentity`: with which the producer goes on |
| `AddPartitions` | None |
| `VerifyPartitions` | a tuple of refusals, one for each partition |
| `DescribeTransaction`, `ListTransactions` | `TransactionDescription`, a tuple of `TransactionListing` |
| `ProducerIdAllocated`, `MarkersWritten` | None: outcomes of the effects `AllocateProducerId`, `SendMarkers` |

A refusal is raised as a `KraftpyError`. To add a group's offsets to a transaction is to add the group's partition of
`__consumer_offsets`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from broker.coordinator.pattern import NamePattern
from broker.coordinator.transactions.states import TransactionState
from kraftpy.errors import KraftpyError

NO_PRODUCER_ID = -1
NO_EPOCH = -1

Refusal = KraftpyError | None
"""None: it may."""


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class ProducerIdentity(NamedTuple):
    producer_id: int
    producer_epoch: int


NOBODY = ProducerIdentity(NO_PRODUCER_ID, NO_EPOCH)


class ProtocolVersion(IntEnum):
    """How a producer speaks of its transactions, by the levels of Kafka's feature `transaction.version`."""

    FIRST = 0
    """One epoch for the producer's whole life (KIP-98)."""
    SECOND = 2
    """A new epoch for each transaction, so that nothing late touches the next; leaders add partitions (KIP-890)."""


@dataclass(frozen=True, slots=True)
class TransactionalProducer:
    """Who speaks."""

    transactional_id: str
    producer_id: int = NO_PRODUCER_ID
    producer_epoch: int = NO_EPOCH

    @property
    def identity(self) -> ProducerIdentity:
        return ProducerIdentity(self.producer_id, self.producer_epoch)


@dataclass(frozen=True, slots=True)
class InitProducerId:
    """Take the transactional id over: whoever had it is fenced, and what it has open aborted.

    With an id and epoch in `producer`, that producer itself asks for its next epoch (KIP-360): it is fenced if another
    has come meanwhile.
    """

    producer: TransactionalProducer
    timeout_ms: int
    """How long each of its transactions may take."""


@dataclass(frozen=True, slots=True)
class AddPartitions:
    """These partitions take part, all or none of them; the first ones begin the transaction."""

    producer: TransactionalProducer
    partitions: tuple[TopicPartition, ...]
    version: ProtocolVersion = ProtocolVersion.SECOND


@dataclass(frozen=True, slots=True)
class VerifyPartitions:
    """Do these partitions take part?"""

    producer: TransactionalProducer
    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class EndTransaction:
    """Answered once it is decided; markers follow."""

    producer: TransactionalProducer
    commit: bool
    version: ProtocolVersion = ProtocolVersion.SECOND


@dataclass(frozen=True, slots=True)
class DescribeTransaction:
    transactional_id: str


@dataclass(frozen=True, slots=True)
class TransactionDescription:
    transactional_id: str
    state: TransactionState
    producer: ProducerIdentity
    timeout_ms: int
    started_ms: int
    """By the wall's clock; -1: none is open."""
    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class ListTransactions:
    """Those for which all of this holds."""

    states: Collection[TransactionState] = ()
    """One of these; none: any."""
    producer_ids: Collection[int] = ()
    """One of these; none: any."""
    running_ms_min: int = -1
    """Open for longer than this; below 0: whether open or not."""
    transactional_ids: NamePattern | None = None
    """Called so as a whole; None: any."""


@dataclass(frozen=True, slots=True)
class TransactionListing:
    transactional_id: str
    producer_id: int
    state: TransactionState


# --- effects, and how they come out ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AllocateProducerId:
    """Get one id, and submit `ProducerIdAllocated`, in any case."""


@dataclass(frozen=True, slots=True)
class ProducerIdAllocated:
    outcome: int | KraftpyError


@dataclass(frozen=True, slots=True)
class SendMarkers:
    """Bring each partition the marker, however long that takes, and submit `MarkersWritten`."""

    transactional_id: str
    marker: "Marker"
    partitions: tuple[TopicPartition, ...]
    decision: int
    """Which of this coordinator's. By the first version all transactions of a producer end with the same marker."""


@dataclass(frozen=True, slots=True)
class Marker:
    """The end of one transaction, as a partition is told it."""

    producer: ProducerIdentity
    """Its epoch may be above that of the transaction, which fences what comes late."""
    coordinator_epoch: int
    commit: bool
    bumps_epoch: bool
    """Whether the epoch is certainly above that of the transaction."""


@dataclass(frozen=True, slots=True)
class MarkersWritten:
    transactional_id: str
    decision: int
    """As in `SendMarkers`."""


Effect = AllocateProducerId | SendMarkers

Command = (
    InitProducerId
    | AddPartitions
    | VerifyPartitions
    | EndTransaction
    | DescribeTransaction
    | ListTransactions
    | ProducerIdAllocated
    | MarkersWritten
)
