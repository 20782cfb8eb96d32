"""A group whose members agree among themselves: one assigns, and the coordinator hands out (KIP-62, KIP-345).

    Empty ──join──→ PreparingRebalance ──all joined, or time is over──→ CompletingRebalance ──leader syncs──→ Stable
      ↑                  │      ↑                                              │                               │
      └──nobody is left──┘      └───────── a member joins, leaves, changes, or its time is over ───────────────┘

Invariants
- A generation begins when a join phase is complete, and numbers only grow.
- Assignments belong to the generation in which they were handed out; those of an older one are gone before the next.
- An instance id belongs to one member at most, which is in the group.
- Who has been given an id and has not joined with it (`pending_joins`) is not a member.

Soft: all of it is made from `StoredGroup` when a log was loaded. Deciding is for `joining`, `syncing`, `membership`
and `rebalance`; here is what they ask, and the bookkeeping of members.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final
from uuid import UUID

from broker.coordinator.core import Ticket
from broker.coordinator.groups.commands import (
    NO_MEMBER_ID,
    Joined,
    JoinedMember,
    MemberKey,
    ProtocolOffer,
    Synced,
)
from broker.coordinator.groups.records import StoredGroup, StoredMember
from broker.coordinator.groups.subscription import CONSUMER_PROTOCOL, subscribed_topics
from kraftpy.errors import FencedInstanceIdError, UnknownMemberIdError

if TYPE_CHECKING:
    from random import Random


class ClassicState(Enum):
    """By Kafka's names."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"


MEMBER_NAME_CHARACTERS = 200
"""Of what a client calls itself, in its member id: enough to know it again."""

EMPTY: Final = ClassicState.EMPTY
PREPARING: Final = ClassicState.PREPARING_REBALANCE
COMPLETING: Final = ClassicState.COMPLETING_REBALANCE
STABLE: Final = ClassicState.STABLE

TRANSITIONS: Final = {
    EMPTY: (PREPARING,),
    PREPARING: (COMPLETING, EMPTY),
    COMPLETING: (STABLE, PREPARING),
    STABLE: (PREPARING,),
}
DEAD: Final = "Dead"
"""What describes a group that is not there."""


def new_member_id(name: str, random: "Random") -> str:
    """For one that calls itself `name`: unique, and short enough for every record that it goes into."""
    return f"{name[:MEMBER_NAME_CHARACTERS]}-{UUID(int=random.getrandbits(128), version=4)}"


@dataclass(slots=True)
class ClassicMember:
    key: MemberKey
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: tuple[ProtocolOffer, ...]
    skips_assignment: bool = False
    assignment: bytes = b""
    is_new: bool = False
    """It has not been told its id by a finished join yet, and cannot send heartbeats."""
    join_ticket: Ticket | None = None
    """It waits for the end of the join phase."""
    sync_ticket: Ticket | None = None
    """It waits for the leader's assignments."""

    @property
    def member_id(self) -> str:
        return self.key.member_id

    @property
    def is_waiting(self) -> bool:
        return self.join_ticket is not None or self.sync_ticket is not None

    def metadata(self, protocol: str | None) -> bytes:
        return next((offer.metadata for offer in self.protocols if offer.name == protocol), b"")


@dataclass(slots=True)
class ClassicGroup:
    """See the module's docstring."""

    group_id: str
    state: ClassicState = EMPTY
    previous_state: ClassicState = EMPTY
    state_since_ms: int | None = None
    """By the wall's clock; None: it has offsets only."""
    generation: int = 0
    protocol_type: str | None = None
    protocol: str | None = None
    leader_id: str | None = None
    members: dict[str, ClassicMember] = field(default_factory=dict)
    """In the order in which they came."""
    pending_joins: dict[str, None] = field(default_factory=dict)
    pending_syncs: dict[str, None] = field(default_factory=dict)
    """Whose sync is awaited in this generation."""
    has_new_members: bool = False
    """Somebody came since the delay of the first rebalance began."""
    delay_remaining_ms: int = 0
    """How much longer that may be delayed beyond the present delay."""
    subscribed: frozenset[str] | None = None
    """The topics that the members of a stable consumer group read; None: not known."""
    _instances: dict[str, str] = field(default_factory=dict)
    _offers: dict[str, int] = field(default_factory=dict)  # how many members offer a protocol
    _joining_count: int = 0

    # --- stored ------------------------------------------------------------------------------------------------------

    @staticmethod
    def from_stored(group_id: str, stored: StoredGroup) -> "ClassicGroup":
        group = ClassicGroup(
            group_id,
            state=STABLE if stored.members else EMPTY,
            state_since_ms=stored.state_since_ms if stored.state_since_ms >= 0 else None,
            generation=stored.generation,
            protocol_type=stored.protocol_type or None,
            protocol=stored.protocol if stored.members else None,
            leader_id=stored.leader_id if stored.members else None,
        )
        for member in stored.members:
            group.add(_from_stored(member, stored.protocol or ""))
        group.subscribed = group.topics_of_members()
        return group

    def stored(self) -> StoredGroup:
        return StoredGroup(
            self.protocol_type or "",
            self.generation,
            self.protocol,
            self.leader_id,
            -1 if self.state_since_ms is None else self.state_since_ms,
            tuple(
                StoredMember(
                    member.member_id,
                    member.key.instance_id,
                    member.client_id,
                    member.client_host,
                    member.rebalance_timeout_ms,
                    member.session_timeout_ms,
                    member.metadata(self.protocol),
                    member.assignment,
                )
                for member in self.members.values()
            ),
        )

    # --- members -----------------------------------------------------------------------------------------------------

    def add(self, member: ClassicMember) -> None:
        """The first one says what kind of group it is, and leads."""
        assert member.member_id not in self.members
        self.members[member.member_id] = member
        self.pending_joins.pop(member.member_id, None)
        if member.key.instance_id is not None:
            assert member.key.instance_id not in self._instances
            self._instances[member.key.instance_id] = member.member_id
        if self.leader_id is None:
            self.leader_id = member.member_id
        self._count(member.protocols, 1)
        self._joining_count += member.join_ticket is not None

    def remove(self, member_id: str) -> ClassicMember | None:
        """Whoever waits for it is the caller's to answer."""
        member = self.members.pop(member_id, None)
        self.pending_syncs.pop(member_id, None)
        if member is None:
            return None
        if member.key.instance_id is not None:
            del self._instances[member.key.instance_id]
        self._count(member.protocols, -1)
        self._joining_count -= member.join_ticket is not None
        if self.leader_id == member_id:
            self.leader_id = next(iter(self.members), None)
        return member

    def replace(self, member: ClassicMember, member_id: str) -> None:
        """A static member is known by another id from now on, in the place that it has."""
        old_id = member.member_id
        member.key = MemberKey(member_id, member.key.instance_id)
        self.members = {each.member_id: each for each in self.members.values()}
        assert member.key.instance_id is not None
        self._instances[member.key.instance_id] = member_id
        if self.leader_id == old_id:
            self.leader_id = member_id
        if old_id in self.pending_syncs:
            del self.pending_syncs[old_id]
            self.pending_syncs[member_id] = None

    def offer(self, member: ClassicMember, protocols: tuple[ProtocolOffer, ...]) -> None:
        self._count(member.protocols, -1)
        member.protocols = protocols
        self._count(protocols, 1)

    def wait_for_join(self, member: ClassicMember, ticket: Ticket) -> None:
        assert member.join_ticket is None
        member.join_ticket = ticket
        self._joining_count += 1

    def end_wait_for_join(self, member: ClassicMember) -> Ticket | None:
        ticket, member.join_ticket = member.join_ticket, None
        self._joining_count -= ticket is not None
        return ticket

    def static_member(self, instance_id: str | None) -> ClassicMember | None:
        member_id = None if instance_id is None else self._instances.get(instance_id)
        return None if member_id is None else self.members[member_id]

    def validated(self, key: MemberKey) -> ClassicMember:
        """The member that `key` names. Raises `FencedInstanceIdError` where another has taken its place."""
        if key.instance_id is not None:
            static = self.static_member(key.instance_id)
            if static is None:
                raise UnknownMemberIdError(f"group {self.group_id} has no member {key.instance_id}")
            if static.member_id != key.member_id:
                raise FencedInstanceIdError(f"another consumer has taken the place of {key.instance_id}")
            return static
        member = self.members.get(key.member_id)
        if member is None:
            raise UnknownMemberIdError(f"group {self.group_id} has no member {key.member_id or NO_MEMBER_ID!r}")
        return member

    @property
    def is_empty(self) -> bool:
        return self.state is EMPTY

    # --- what is known of them ---------------------------------------------------------------------------------------

    @property
    def joining_count(self) -> int:
        return self._joining_count

    @property
    def all_have_joined(self) -> bool:
        return self._joining_count == len(self.members) and not self.pending_joins

    @property
    def rebalance_timeout_ms(self) -> int:
        """What the slowest needs."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    def supports(self, protocol_type: str, protocols: Iterable[ProtocolOffer]) -> bool:
        """Whether who offers these fits in: it shares one protocol with all who are here."""
        names = [offer.name for offer in protocols]
        if not self.members:
            return bool(protocol_type) and bool(names)
        return protocol_type == self.protocol_type and any(
            self._offers.get(name) == len(self.members) for name in names
        )

    def vote(self) -> str:
        """Each member votes for the protocol it likes best of those that all know; the first of equals wins."""
        votes: dict[str, int] = {}
        for member in self.members.values():
            favourite = next(each.name for each in member.protocols if self._offers[each.name] == len(self.members))
            votes[favourite] = votes.get(favourite, 0) + 1
        return max(votes, key=lambda name: votes[name])

    def elect_joined_leader(self) -> bool:
        """The leader stays if it has joined again; else whoever has leads. False: nobody has."""
        leader = self.members.get(self.leader_id or "")
        if leader is None or leader.join_ticket is None:
            chosen = next((each for each in self.members.values() if each.join_ticket is not None), None)
            if chosen is None:
                return False
            self.leader_id = chosen.member_id
        return True

    def topics_of_members(self) -> frozenset[str] | None:
        """What they read, where they say so in the way of Kafka's consumers."""
        if self.protocol_type != CONSUMER_PROTOCOL:
            return None
        topics: dict[str, None] = {}
        if self.protocol is not None:
            for member in self.members.values():
                found = subscribed_topics(member.metadata(self.protocol))
                if found is None:
                    return None
                topics.update(dict.fromkeys(found))
        return frozenset(topics)

    def topics(self) -> frozenset[str]:
        """What its members read; where nobody knows, nothing."""
        return self.subscribed or frozenset()

    # --- phases ------------------------------------------------------------------------------------------------------

    def move(self, state: ClassicState, wall_ms: int) -> None:
        assert state in TRANSITIONS[self.state], f"from {self.state} to {state}"
        self.previous_state, self.state = self.state, state
        self.state_since_ms = wall_ms

    def begin_generation(self, wall_ms: int) -> None:
        """The join phase is over: the next state is Empty or CompletingRebalance."""
        self.generation += 1
        self.pending_syncs.clear()
        for member in self.members.values():
            member.assignment = b""
        self.protocol = self.vote() if self.members else None
        self.subscribed = self.topics_of_members()
        self.move(COMPLETING if self.members else EMPTY, wall_ms)

    def joined(self, member: ClassicMember, *, tells_members: bool) -> Joined:
        return Joined(
            member.member_id,
            self.generation,
            self.protocol_type,
            self.protocol,
            self.leader_id or NO_MEMBER_ID,
            self.joined_members() if tells_members else (),
        )

    def joined_members(self) -> tuple[JoinedMember, ...]:
        return tuple(JoinedMember(each.key, each.metadata(self.protocol)) for each in self.members.values())

    def synced(self, member: ClassicMember) -> Synced:
        return Synced(self.protocol_type, self.protocol, member.assignment)

    def _count(self, protocols: Iterable[ProtocolOffer], change: int) -> None:
        for name in dict.fromkeys(offer.name for offer in protocols):
            count = self._offers.get(name, 0) + change
            if count:
                self._offers[name] = count
            else:
                del self._offers[name]


def _from_stored(stored: StoredMember, protocol: str) -> ClassicMember:
    return ClassicMember(
        MemberKey(stored.member_id, stored.instance_id),
        stored.client_id,
        stored.client_host,
        stored.session_timeout_ms,
        stored.rebalance_timeout_ms,
        (ProtocolOffer(protocol, stored.subscription),),
        assignment=stored.assignment,
    )
