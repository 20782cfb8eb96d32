"""What the log says of consumer groups (KIP-848): a dataclass for each kind of key, None where it is gone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from uuid import UUID

Partitions = Mapping[UUID, tuple[int, ...]]
"""Partitions by topic id, in rising order; no topic without any. Never changed once made."""

NO_PARTITIONS: Partitions = MappingProxyType({})
Place = tuple[UUID, int]
"""One partition."""


def gathered(named: Iterable[tuple[UUID, Iterable[int]]]) -> Partitions:
    """What is named, in however many pieces, and each partition once."""
    found: dict[UUID, set[int]] = {}
    for topic_id, partitions in named:
        found.setdefault(topic_id, set()).update(partitions)
    return {topic_id: tuple(sorted(each)) for topic_id, each in found.items() if each}


@dataclass(frozen=True, slots=True)
class GroupEpoch:
    """Rises whenever members, subscriptions or their topics change: then a new target assignment is due."""

    epoch: int
    metadata_hash: int = 0
    """Of the topics that are read, as they were then; 0: not known."""


@dataclass(frozen=True, slots=True)
class ConsumerGroupRecord:
    group_id: str
    value: GroupEpoch | None


@dataclass(frozen=True, slots=True)
class ClassicProtocol:
    """Of a member that speaks the classic protocol to a consumer group."""

    session_timeout_ms: int
    protocols: tuple[tuple[str, bytes], ...]
    """Names, and what it says with them."""


@dataclass(frozen=True, slots=True)
class ConsumerMember:
    """What a member says of itself."""

    instance_id: str | None
    rack_id: str | None
    client_id: str
    client_host: str
    topics: tuple[str, ...]
    """In rising order."""
    pattern: str | None
    rebalance_timeout_ms: int
    assignor: str | None
    classic: ClassicProtocol | None = None


@dataclass(frozen=True, slots=True)
class ConsumerMemberRecord:
    group_id: str
    member_id: str
    value: ConsumerMember | None


@dataclass(frozen=True, slots=True)
class TargetEpochRecord:
    """The group epoch for which the target assignment was made."""

    group_id: str
    epoch: int | None


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """What a member is to have in the end."""

    group_id: str
    member_id: str
    partitions: Partitions | None


class MemberState(Enum):
    """By Kafka's names and numbers."""

    STABLE = 0
    UNREVOKED_PARTITIONS = 1
    """It has been told to give up partitions, and has not said that it did."""
    UNRELEASED_PARTITIONS = 2
    """It is to have partitions that others have not given up yet."""


@dataclass(frozen=True, slots=True)
class CurrentAssignment:
    """What a member has, as far as it was told: nobody else may have that."""

    epoch: int = 0
    previous_epoch: int = 0
    state: MemberState = MemberState.STABLE
    assigned: Partitions = field(default_factory=lambda: NO_PARTITIONS)
    revoking: Partitions = field(default_factory=lambda: NO_PARTITIONS)

    def is_reconciled_to(self, target_epoch: int) -> bool:
        return self.state is MemberState.STABLE and self.epoch == target_epoch


@dataclass(frozen=True, slots=True)
class CurrentAssignmentRecord:
    group_id: str
    member_id: str
    value: CurrentAssignment | None


@dataclass(frozen=True, slots=True)
class ResolvedPattern:
    """The topics that a pattern stood for when it was looked up."""

    topics: tuple[str, ...]
    metadata_version: int
    resolved_ms: int  # by the wall's clock


@dataclass(frozen=True, slots=True)
class PatternRecord:
    group_id: str
    pattern: str
    value: ResolvedPattern | None


ConsumerRecord = (
    ConsumerGroupRecord
    | ConsumerMemberRecord
    | TargetEpochRecord
    | TargetRecord
    | CurrentAssignmentRecord
    | PatternRecord
)
"""Whatever the log says of consumer groups."""
