"""What the doors ask of the coordinator of a group, and its answers: plain values, no shape of any wire.

| command | answer |
|---|---|
| `JoinGroup` | `Joined`, once the rebalance ends; `MemberIdAssigned` |
| `SyncGroup` | `Synced`, once the leader has assigned |
| `Heartbeat`, `TopicsChanged`, `TopicsDeleted` | None |
| `LeaveGroup` | `MembersLeft` |
| `CommitOffsets`, `CommitOffsetsInTransaction`, `DeleteOffsets` | `OffsetResults` |
| `FetchOffsets` | `FetchedOffsets` |
| `ConsumerHeartbeat`, `DescribeConsumerGroup` | `ConsumerHeartbeatAnswer`, `ConsumerGroupDescription` |
| `DescribeGroup`, `ListGroups`, `DeleteGroup` | `GroupDescription`, a tuple of `GroupListing`, None |

A refusal of the whole command is raised; refusals of parts stand in the answers, as errors.
An empty member id is that of somebody who has none yet; a generation below zero, of somebody who is in no group.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from broker.coordinator.core import Producer
from broker.coordinator.groups.consumer_records import ConsumerMember, CurrentAssignment, Partitions
from kraftpy.errors import KraftpyError

NO_MEMBER_ID = ""
NO_GENERATION = -1
NO_OFFSET = -1
NO_EPOCH = -1

Refusal = KraftpyError | None
"""None: it was done."""


class GroupType(Enum):
    """Which protocol a group's members speak, by Kafka's names."""

    CLASSIC = "classic"
    CONSUMER = "consumer"


# --- members of classic groups ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MemberKey:
    """Who speaks."""

    member_id: str
    instance_id: str | None = None
    """Of a static member, which stays the same over its restarts (KIP-345)."""


@dataclass(frozen=True, slots=True)
class ProtocolOffer:
    """A way of assigning that a member knows, with what it says to whoever assigns; opaque here."""

    name: str
    metadata: bytes


@dataclass(frozen=True, slots=True)
class JoinGroup:
    """Become a member, or take part in the rebalance that goes on."""

    group_id: str
    member: MemberKey
    client_id: str
    client_host: str
    protocol_type: str
    """"consumer", "connect" …: what kind of group it is."""
    protocols: tuple[ProtocolOffer, ...]
    """The ones that the member likes best come first."""
    session_timeout_ms: int
    rebalance_timeout_ms: int
    needs_member_id: bool = False
    """A member without an id is given one, and joins only when it comes again with it (KIP-394)."""
    skips_assignment: bool = False
    """The member understands `Joined.skip_assignment` (KIP-814)."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class JoinedMember:
    """What the leader is told of a member."""

    key: MemberKey
    metadata: bytes


@dataclass(frozen=True, slots=True)
class Joined:
    """The rebalance's first half is over."""

    member_id: str
    generation: int
    protocol_type: str | None
    protocol: str | None
    leader_id: str
    members: tuple[JoinedMember, ...] = ()
    """For the leader, who assigns: everybody. Else nobody."""
    skip_assignment: bool = False
    """The leader knows the members and is not to assign: a static one came back, and nothing has changed."""


@dataclass(frozen=True, slots=True)
class MemberIdAssigned:
    """MEMBER_ID_REQUIRED: come again with this."""

    member_id: str


@dataclass(frozen=True, slots=True)
class SyncGroup:
    """Hand out what I, the leader, have assigned; tell me what is mine."""

    group_id: str
    member: MemberKey
    generation: int
    protocol_type: str | None = None
    protocol: str | None = None
    assignments: tuple[tuple[str, bytes], ...] = ()
    """By member id."""


@dataclass(frozen=True, slots=True)
class Synced:
    protocol_type: str | None
    protocol: str | None
    assignment: bytes


@dataclass(frozen=True, slots=True)
class Heartbeat:
    group_id: str
    member: MemberKey
    generation: int


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    """These go. Without a member id: the one who is known by this instance id, whoever that is by now."""

    group_id: str
    members: tuple[MemberKey, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MembersLeft:
    refusals: tuple[Refusal, ...]
    """One for each of the command's members."""


# --- members of consumer groups (KIP-848) ----------------------------------------------------------------------------

JOINS, LEAVES, LEAVES_FOR_A_WHILE = 0, -1, -2
"""Epochs with which a member comes and goes."""


@dataclass(frozen=True, slots=True)
class ConsumerHeartbeat:
    """Join, stay, or leave. What is None is as it was before.

    Raises, besides others, `FencedMemberEpochError`: the member is to give up everything, and to join again.
    """

    group_id: str
    member: MemberKey
    epoch: int
    client_id: str = ""
    client_host: str = ""
    rack_id: str | None = None
    rebalance_timeout_ms: int | None = None
    topics: tuple[str, ...] | None = None
    pattern: str | None = None
    """In RE2's syntax; empty: none."""
    assignor: str | None = None
    owned: Partitions | None = None
    """What the member has."""
    gives_member_id: bool = False
    """A new member may come without an id, and is given one."""


@dataclass(frozen=True, slots=True)
class ConsumerHeartbeatAnswer:
    member_id: str
    epoch: int
    heartbeat_interval_ms: int
    assignment: Partitions | None = None
    """None: as before."""


@dataclass(frozen=True, slots=True)
class DescribeConsumerGroup:
    """Raises `GroupIdNotFoundError` for a group of another type, too."""

    group_id: str


@dataclass(frozen=True, slots=True)
class ConsumerDescription:
    member_id: str
    member: ConsumerMember
    current: CurrentAssignment
    target: Partitions


@dataclass(frozen=True, slots=True)
class ConsumerGroupDescription:
    group_id: str
    state: str
    epoch: int
    target_epoch: int
    assignor: str
    members: tuple[ConsumerDescription, ...]


# --- offsets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OffsetToCommit:
    topic: str
    partition: int
    offset: int
    leader_epoch: int = NO_EPOCH
    metadata: str = ""
    topic_id: UUID | None = None
    """None where nobody knows it."""


@dataclass(frozen=True, slots=True)
class CommitOffsets:
    """By a member, in its generation; or by anybody, to a group that has none."""

    group_id: str
    member: MemberKey
    generation: int
    offsets: tuple[OffsetToCommit, ...]
    retention_ms: int | None = None
    """How long these offsets are to be kept, for old clients; None: as all."""
    knows_member_epochs: bool = True
    """The client understands the errors of KIP-848: GROUP_ID_NOT_FOUND, STALE_MEMBER_EPOCH."""


@dataclass(frozen=True, slots=True)
class CommitOffsetsInTransaction:
    """As part of a producer's transaction (KIP-447). They count once it is committed."""

    group_id: str
    producer: Producer
    offsets: tuple[OffsetToCommit, ...]
    member: MemberKey = MemberKey(NO_MEMBER_ID)
    generation: int = NO_GENERATION


@dataclass(frozen=True, slots=True)
class OffsetResults:
    refusals: tuple[Refusal, ...]
    """One for each of the command's offsets or partitions."""


@dataclass(frozen=True, slots=True)
class FetchOffsets:
    group_id: str
    partitions: tuple[tuple[str, int, UUID | None], ...] | None
    """Topic, partition, and the topic's id where it is known: an offset of an older topic of that name is none. None:
    everything that is committed."""
    require_stable: bool = False
    """UNSTABLE_OFFSET_COMMIT where a transaction that has not ended says something about the partition (KIP-447)."""
    member_id: str | None = None
    member_epoch: int = NO_EPOCH


@dataclass(frozen=True, slots=True)
class FetchedOffset:
    topic: str
    partition: int
    offset: int = NO_OFFSET
    leader_epoch: int = NO_EPOCH
    metadata: str = ""
    refusal: Refusal = None


@dataclass(frozen=True, slots=True)
class FetchedOffsets:
    offsets: tuple[FetchedOffset, ...]


@dataclass(frozen=True, slots=True)
class DeleteOffsets:
    group_id: str
    partitions: tuple[tuple[str, int], ...]


# --- groups ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DescribeGroup:
    """Raises `GroupIdNotFoundError` for a group of another type, too."""

    group_id: str


@dataclass(frozen=True, slots=True)
class MemberDescription:
    key: MemberKey
    client_id: str
    client_host: str
    metadata: bytes
    assignment: bytes


@dataclass(frozen=True, slots=True)
class GroupDescription:
    group_id: str
    state: str
    protocol_type: str
    protocol: str
    members: tuple[MemberDescription, ...]


@dataclass(frozen=True, slots=True)
class ListGroups:
    """Every group of one coordinator. Empty filters let all pass; names are compared as Kafka does."""

    states: Collection[str] = ()
    types: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class GroupListing:
    group_id: str
    protocol_type: str
    state: str
    type: GroupType


@dataclass(frozen=True, slots=True)
class DeleteGroup:
    """With all its offsets. Raises `NonEmptyGroupError`, `GroupIdNotFoundError`."""

    group_id: str


@dataclass(frozen=True, slots=True)
class TopicsDeleted:
    """Topics are gone, and so are their offsets in every group."""

    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TopicsChanged:
    """Topics came, went, or have more partitions: groups that read them look again."""

    topics: tuple[str, ...]


Command = (
    JoinGroup
    | ConsumerHeartbeat
    | DescribeConsumerGroup
    | TopicsChanged
    | SyncGroup
    | Heartbeat
    | LeaveGroup
    | CommitOffsets
    | CommitOffsetsInTransaction
    | FetchOffsets
    | DeleteOffsets
    | DescribeGroup
    | ListGroups
    | DeleteGroup
    | TopicsDeleted
)
