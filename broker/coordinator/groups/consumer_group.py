"""A group whose coordinator assigns (KIP-848): members, their target and what they have. Durable: made by `replay`.

    a change of members or topics ─→ group epoch + 1 ─→ target assignment of that epoch ─→ each member follows it

| state | |
|---|---|
| Empty | no members |
| Assigning | the target assignment is of an older epoch than the group |
| Reconciling | somebody does not have what the target says yet |
| Stable | everybody has |

Invariants
- target epoch <= group epoch; no member's epoch is above the target epoch.
- A partition is assigned to one member at most, or still to be given up by one, never both (`owner_of`).
- Its owner has had it without a break from the epoch `owned_since` on, perhaps longer: the log, once compacted, tells
  only of the latest epoch.
- An instance id belongs to one member at most.

Who handles a command works on a `copy`, to which each record is replayed when it is written; the group itself follows
when the records are in the log. Values are never changed in place, so a copy costs by the number of entries.
"""

from collections.abc import Iterable, Iterator
from enum import Enum
from uuid import UUID

from broker.coordinator.groups.consumer_records import (
    NO_PARTITIONS,
    ConsumerGroupRecord,
    ConsumerMember,
    ConsumerMemberRecord,
    ConsumerRecord,
    CurrentAssignment,
    CurrentAssignmentRecord,
    Partitions,
    PatternRecord,
    Place,
    ResolvedPattern,
    TargetEpochRecord,
    TargetRecord,
)

UNKNOWN_CURRENT = CurrentAssignment()
"""Of a member that has been told nothing yet."""


class ConsumerGroupState(Enum):
    """By Kafka's names."""

    EMPTY = "Empty"
    ASSIGNING = "Assigning"
    RECONCILING = "Reconciling"
    STABLE = "Stable"


class ConsumerGroup:
    """See the module's docstring."""

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.epoch = 0
        self.metadata_hash = 0
        self.target_epoch = 0
        self.members: dict[str, ConsumerMember] = {}
        self.patterns: dict[str, ResolvedPattern] = {}
        self._targets: dict[str, Partitions] = {}
        self._currents: dict[str, CurrentAssignment] = {}
        self._owners: dict[Place, str] = {}
        self._since: dict[Place, int] = {}  # the keys of _owners
        self._instances: dict[str, str] = {}

    def copy(self) -> "ConsumerGroup":
        twin = ConsumerGroup(self.group_id)
        twin.epoch, twin.metadata_hash, twin.target_epoch = self.epoch, self.metadata_hash, self.target_epoch
        twin.members, twin.patterns = dict(self.members), dict(self.patterns)
        twin._targets, twin._currents = dict(self._targets), dict(self._currents)
        twin._owners, twin._since, twin._instances = dict(self._owners), dict(self._since), dict(self._instances)
        return twin

    # --- what is known -----------------------------------------------------------------------------------------------

    @property
    def state(self) -> ConsumerGroupState:
        if not self.members:
            return ConsumerGroupState.EMPTY
        if self.epoch > self.target_epoch:
            return ConsumerGroupState.ASSIGNING
        if all(self.current(member_id).is_reconciled_to(self.target_epoch) for member_id in self.members):
            return ConsumerGroupState.STABLE
        return ConsumerGroupState.RECONCILING

    @property
    def is_empty(self) -> bool:
        return not self.members

    def current(self, member_id: str) -> CurrentAssignment:
        return self._currents.get(member_id, UNKNOWN_CURRENT)

    def target(self, member_id: str) -> Partitions:
        return self._targets.get(member_id, NO_PARTITIONS)

    def owner_of(self, place: Place) -> str | None:
        """Who has the partition, or has not given it up yet."""
        return self._owners.get(place)

    def owned_since(self, place: Place) -> int:
        """The epoch in which its owner was told of it, or a later one (KIP-1251). It must have an owner."""
        return self._since[place]

    def static_member(self, instance_id: str | None) -> str | None:
        """The member id that it is known by."""
        return None if instance_id is None else self._instances.get(instance_id)

    def topics_of(self, member: ConsumerMember) -> tuple[str, ...]:
        """What it reads, by name or because its pattern matches."""
        resolved = None if member.pattern is None else self.patterns.get(member.pattern)
        return member.topics if resolved is None else tuple(dict.fromkeys((*member.topics, *resolved.topics)))

    def topics(self) -> tuple[str, ...]:
        """What anybody reads, in rising order."""
        topics: dict[str, None] = {}
        for said in dict.fromkeys(member.topics for member in self.members.values()):  # most members say the same
            topics.update(dict.fromkeys(said))
        for pattern in dict.fromkeys(member.pattern for member in self.members.values()):
            if pattern is not None and pattern in self.patterns:
                topics.update(dict.fromkeys(self.patterns[pattern].topics))
        return tuple(sorted(topics))

    def uses_pattern(self, pattern: str) -> bool:
        return any(member.pattern == pattern for member in self.members.values())

    def assignor(self, default: str) -> str:
        """What most of those want who say so; the first of equals."""
        votes: dict[str, int] = {}
        for member in self.members.values():
            if member.assignor is not None:
                votes[member.assignor] = votes.get(member.assignor, 0) + 1
        return max(votes, key=lambda name: votes[name]) if votes else default

    def removal(self) -> Iterator[ConsumerRecord]:
        """What is to be written for the group to be gone, except its offsets."""
        for member_id in self.members:
            yield CurrentAssignmentRecord(self.group_id, member_id, None)
        for member_id in self._targets:
            yield TargetRecord(self.group_id, member_id, None)
        yield TargetEpochRecord(self.group_id, None)
        for member_id in self.members:
            yield ConsumerMemberRecord(self.group_id, member_id, None)
        for pattern in self.patterns:
            yield PatternRecord(self.group_id, pattern, None)
        yield ConsumerGroupRecord(self.group_id, None)

    # --- the log -----------------------------------------------------------------------------------------------------

    def replay(self, record: ConsumerRecord) -> None:
        """Whatever its order: a compacted log may lack what was written between."""
        match record:
            case ConsumerGroupRecord(_, value):
                self.epoch = 0 if value is None else value.epoch
                self.metadata_hash = 0 if value is None else value.metadata_hash
            case ConsumerMemberRecord(_, member_id, member):
                self._replay_member(member_id, member)
            case TargetEpochRecord(_, epoch):
                self.target_epoch = 0 if epoch is None else epoch
            case TargetRecord(_, member_id, None):
                self._targets.pop(member_id, None)
            case TargetRecord(_, member_id, partitions):
                assert partitions is not None
                self._targets[member_id] = partitions
            case CurrentAssignmentRecord(_, member_id, current):
                self._replay_current(member_id, current)
            case PatternRecord(_, pattern, None):
                self.patterns.pop(pattern, None)
            case PatternRecord(_, pattern, resolved):
                assert resolved is not None
                self.patterns[pattern] = resolved

    def _replay_member(self, member_id: str, member: ConsumerMember | None) -> None:
        before = self.members.pop(member_id, None) if member is None else self.members.get(member_id)
        instance_id = None if before is None else before.instance_id
        if instance_id is not None and self._instances.get(instance_id) == member_id:
            del self._instances[instance_id]
        if member is not None:
            self.members[member_id] = member
            if member.instance_id is not None:
                self._instances[member.instance_id] = member_id

    def _replay_current(self, member_id: str, current: CurrentAssignment | None) -> None:
        before = self._currents.pop(member_id, None)
        had: dict[Place, int] = {}
        for place in () if before is None else places(before.assigned, before.revoking):
            if self._owners.get(place) == member_id:
                del self._owners[place]
                had[place] = self._since.pop(place)
        if current is not None:
            self._currents[member_id] = current
            for place in places(current.assigned, current.revoking):
                self._owners[place] = member_id
                self._since[place] = had.get(place, current.epoch)


def places(*assignments: Partitions) -> Iterator[Place]:
    """Every partition of these."""
    for assignment in assignments:
        for topic_id, partitions in assignment.items():
            for partition in partitions:
                yield topic_id, partition


def gathered(found: Iterable[Place]) -> Partitions:
    """Partitions by topic."""
    by_topic: dict[UUID, list[int]] = {}
    for topic_id, partition in found:
        by_topic.setdefault(topic_id, []).append(partition)
    return {topic_id: tuple(sorted(each)) for topic_id, each in by_topic.items()}
