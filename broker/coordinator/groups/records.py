"""What the log of a group coordinator says: one dataclass for each kind of key, None as value where it is deleted."""

from dataclasses import dataclass, replace
from uuid import UUID

from broker.coordinator.groups.consumer_records import ConsumerRecord


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """Where a group reads on."""

    offset: int
    leader_epoch: int  # -1: not known
    metadata: str
    committed_ms: int  # by the wall's clock
    expires_ms: int | None = None
    """Where an old client asked for a time of its own. Its form in the log has no room for epoch and topic id, and it
    knows neither."""
    topic_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class OffsetRecord:
    group_id: str
    topic: str
    partition: int
    value: CommittedOffset | None


@dataclass(frozen=True, slots=True)
class StoredMember:
    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    subscription: bytes
    """What it offered with the protocol that was chosen."""
    assignment: bytes


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """A classic group as it was when a generation was complete, or when its last member had left."""

    protocol_type: str
    generation: int
    protocol: str | None
    leader_id: str | None
    state_since_ms: int  # by the wall's clock; -1: not known
    members: tuple[StoredMember, ...]

    def static_member(self, instance_id: str | None) -> StoredMember | None:
        """None: it has none of that name, or the member has no name."""
        found = (each for each in self.members if each.instance_id == instance_id)
        return None if instance_id is None else next(found, None)

    def with_id(self, member: StoredMember, member_id: str) -> "StoredGroup":
        """The same, where `member` is known by that id."""
        members = (replace(each, member_id=member_id) if each is member else each for each in self.members)
        leader_id = member_id if self.leader_id == member.member_id else self.leader_id
        return replace(self, leader_id=leader_id, members=tuple(members))


@dataclass(frozen=True, slots=True)
class GroupRecord:
    group_id: str
    value: StoredGroup | None


GroupsRecord = OffsetRecord | GroupRecord | ConsumerRecord
"""Whatever this log says."""
