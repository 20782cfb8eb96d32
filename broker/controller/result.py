"""What the core gives back: records to commit, the answer to give then, probes to make, facts to tell."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from broker.metadata.records import MetadataRecord
from broker.metadata.sizes import ENTRY_BYTES_MAX, in_batches

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

    def __str__(self) -> str:
        return f"broker {self.broker_id} registered{', with a new disk: its replicas are copied anew' * self.new_disk}"


@dataclass(frozen=True, slots=True)
class BrokerUnfenced:
    broker_id: int
    leaders_elected: int  # of partitions that had none

    def __str__(self) -> str:
        led = f"; {self.leaders_elected} partitions have a leader again" if self.leaders_elected else ""
        return f"broker {self.broker_id} is in service{led}"


@dataclass(frozen=True, slots=True)
class BrokerFenced:
    broker_id: int
    reason: str
    leaders_moved: int
    left_without_leader: int

    def __str__(self) -> str:
        return f"broker {self.broker_id} is out of service: {self.reason}{_leaderships(self)}"


@dataclass(frozen=True, slots=True)
class BrokerShuttingDown:
    broker_id: int
    leaders_moved: int
    left_without_leader: int

    def __str__(self) -> str:
        return f"broker {self.broker_id} is shutting down{_leaderships(self)}"


@dataclass(frozen=True, slots=True)
class ReplicasReported:
    """A broker cannot serve some of its replicas, or can again."""

    broker_id: int
    online: int
    offline: int
    lost: int
    leaders_moved: int
    left_without_leader: int
    damaged: int = 0

    def __str__(self) -> str:
        told = (("offline", self.offline), ("lost", self.lost), ("damaged", self.damaged), ("online", self.online))
        counts = ", ".join(f"{count} replicas {what}" for what, count in told if count) or "nothing"
        return f"broker {self.broker_id} reports {counts}{_leaderships(self)}"


@dataclass(frozen=True, slots=True)
class UncleanElection:
    """Acknowledged records may be lost. Counted as UncleanLeaderElectionsPerSec is."""

    topic: str
    partition: int
    leader: int
    isr_before: tuple[int, ...]  # with the eligible ones: who has everything that was acknowledged

    def __str__(self) -> str:
        was = ", ".join(map(str, self.isr_before)) or "nobody"
        return f"{self.topic}-{self.partition} is led by broker {self.leader}, which was not in sync (in sync: {was})"


@dataclass(frozen=True, slots=True)
class LeadersRebalanced:
    moved: int

    def __str__(self) -> str:
        return f"{self.moved} leaderships went back to their preferred replicas"


@dataclass(frozen=True, slots=True)
class ReassignmentBegun:
    topic: str
    partition: int
    adding: tuple[int, ...]
    removing: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReassignmentEnded:
    """Complete, or cancelled."""

    topic: str
    partition: int
    replicas: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TopicCreated:
    name: str
    partitions: int
    replication_factor: int

    def __str__(self) -> str:
        return f"topic {self.name} created: {self.partitions} partitions, replication factor {self.replication_factor}"


@dataclass(frozen=True, slots=True)
class TopicDeleted:
    name: str

    def __str__(self) -> str:
        return f"topic {self.name} deleted"


@dataclass(frozen=True, slots=True)
class ControllerStalled:
    """This node was paused for so long that it forgave all brokers their silence."""

    stalled_ms: int

    def __str__(self) -> str:
        return f"this node stood still for {self.stalled_ms} ms: every broker is forgiven as long a silence"


@dataclass(frozen=True, slots=True)
class FeaturesFinalized:
    levels: str  # "name=level, …"


Fact = (
    BrokerAppeared
    | BrokerUnfenced
    | BrokerFenced
    | BrokerShuttingDown
    | ReplicasReported
    | UncleanElection
    | LeadersRebalanced
    | ReassignmentBegun
    | ReassignmentEnded
    | TopicCreated
    | TopicDeleted
    | FeaturesFinalized
    | ControllerStalled
)


@dataclass(frozen=True, slots=True)
class Result(Generic[R]):
    """`response` is given once `records` are committed; with no records, once everything proposed before is."""

    response: R
    records: Sequence[MetadataRecord] = ()
    atomic: bool = True  # all records in one entry; otherwise any prefix is a state that a new controller repairs
    unit: range = range(0)  # which of the records stand in one entry although the whole is not atomic
    probes: tuple[Probe, ...] = ()
    facts: tuple[Fact, ...] = field(default=())

    @property
    def together(self) -> Sequence[MetadataRecord]:
        """The records that stand in one entry, or not at all."""
        return self.records if self.atomic else self.records[self.unit.start : self.unit.stop]

    def entries(self, records_max: int) -> list[Sequence[MetadataRecord]]:
        """The records in the pieces in which they are proposed."""
        if self.atomic:
            return [self.records] if self.records else []
        before, after = self.records[: self.unit.start], self.records[self.unit.stop :]
        return [
            *in_batches(before, records_max, ENTRY_BYTES_MAX),
            *([self.together] if self.unit else ()),
            *in_batches(after, records_max, ENTRY_BYTES_MAX),
        ]


def _leaderships(fact: BrokerFenced | BrokerShuttingDown | ReplicasReported) -> str:
    """What became of the partitions that the broker led."""
    if not fact.leaders_moved and not fact.left_without_leader:
        return ""
    left = f", {fact.left_without_leader} have none now" if fact.left_without_leader else ""
    return f"; {fact.leaders_moved} leaderships moved{left}"
