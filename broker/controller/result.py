"""What the core gives back: records to commit, the answer to give then, probes to make, facts to tell."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from broker.metadata.records import MetadataRecord

R = TypeVar("R")


class Probe(NamedTuple):
    """Look whether this life of the broker is there, and report the outcome by `BrokerUnreachable(confirmed=True)`."""

    broker_id: int
    broker_epoch: int


@dataclass(frozen=True, slots=True)
class BrokerAppeared:
    """A broker registered."""

    broker_id: int
    new_disk: bool  # it had another directory before: it has lost what it held


@dataclass(frozen=True, slots=True)
class BrokerUnfenced:
    broker_id: int
    leaders_elected: int  # of partitions that had none


@dataclass(frozen=True, slots=True)
class BrokerFenced:
    broker_id: int
    reason: str
    leaders_moved: int
    left_without_leader: int


@dataclass(frozen=True, slots=True)
class BrokerShuttingDown:
    broker_id: int
    leaders_moved: int
    left_without_leader: int


@dataclass(frozen=True, slots=True)
class UncleanElection:
    """Acknowledged records may be lost. Counted as UncleanLeaderElectionsPerSec is."""

    topic: str
    partition: int
    leader: int
    isr_before: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LeadersRebalanced:
    moved: int


@dataclass(frozen=True, slots=True)
class TopicCreated:
    name: str
    partitions: int
    replication_factor: int


@dataclass(frozen=True, slots=True)
class TopicDeleted:
    name: str


@dataclass(frozen=True, slots=True)
class ControllerStalled:
    """This node was paused for so long that it forgave all brokers their silence."""

    stalled_ms: int


Fact = (
    BrokerAppeared
    | BrokerUnfenced
    | BrokerFenced
    | BrokerShuttingDown
    | UncleanElection
    | LeadersRebalanced
    | TopicCreated
    | TopicDeleted
    | ControllerStalled
)


@dataclass(frozen=True, slots=True)
class Result(Generic[R]):
    """`response` is given once `records` are committed; with no records, once everything proposed before is."""

    response: R
    records: Sequence[MetadataRecord] = ()
    atomic: bool = True  # all records in one entry; otherwise any prefix is a state that a new controller repairs
    probes: tuple[Probe, ...] = ()
    facts: tuple[Fact, ...] = field(default=())

    def entries(self, records_max: int) -> list[Sequence[MetadataRecord]]:
        """The records in the pieces in which they are proposed."""
        if self.atomic or len(self.records) <= records_max:
            return [self.records] if self.records else []
        return [self.records[start : start + records_max] for start in range(0, len(self.records), records_max)]
