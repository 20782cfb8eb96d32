"""Members of a consumer group that still speak the classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

So a group changes its protocol member by member, while it works (KIP-848, "online migration"). The coordinator assigns
to such a member as to any other:

    Heartbeat: REBALANCE_IN_PROGRESS while it is not where it should be ─→ JoinGroup: what it still owns, its next step
    ─→ SyncGroup: what it has now

Its generation is its member epoch. Nobody leads, nobody waits for others, and what one with an eager assignor owns when
it joins is nothing. Who was thrown out and says that it owns something has to hear that it has lost it: Kafka takes it
in as a new member, whose callback then commits, in its new generation, what others have read on since.
"""

from typing import TYPE_CHECKING

from broker.coordinator.core import Ticket
from broker.coordinator.groups.classic_group import new_member_id
from broker.coordinator.groups.commands import (
    NO_MEMBER_ID,
    Heartbeat,
    Joined,
    JoinGroup,
    LeaveGroup,
    MemberIdAssigned,
    MemberKey,
    MembersLeft,
    Refusal,
    Synced,
    SyncGroup,
)
from broker.coordinator.groups.consumer_group import ConsumerGroup, places
from broker.coordinator.groups.consumer_heartbeats import ConsumerHeartbeats
from broker.coordinator.groups.consumer_records import (
    ClassicProtocol,
    ConsumerMember,
    MemberState,
    Partitions,
    gathered,
)
from broker.coordinator.groups.migration import Migration
from broker.coordinator.groups.subscription import (
    CONSUMER_PROTOCOL,
    Subscription,
    encoded_assignment,
    read_subscription,
)
from broker.coordinator.groups.timers import Timer, TimerKind, Timers
from broker.coordinator.groups.topics import Topics
from broker.coordinator.groups.turn import Draft, Turn
from kraftpy.errors import (
    FencedInstanceIdError,
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    KraftpyError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

if TYPE_CHECKING:
    from random import Random


class ClassicMembers:
    """See the module's docstring. Every command is about a consumer group that has members."""

    def __init__(
        self, topics: Topics, timers: Timers, heartbeats: ConsumerHeartbeats, migration: Migration, random: "Random"
    ) -> None:
        self._topics = topics
        self._timers = timers
        self._heartbeats = heartbeats
        self._migration = migration
        self._random = random

    def join(self, ticket: Ticket, group: ConsumerGroup, command: JoinGroup, turn: Turn) -> None:
        """Raises what refuses it, and then nothing has changed."""
        said = _subscription(command)
        member_id = command.member.member_id
        static_id = group.static_member(command.member.instance_id)
        if member_id == NO_MEMBER_ID:
            member_id = new_member_id(command.member.instance_id or command.client_id, self._random)
            self._heartbeats.check_room(group, static_id or member_id)
            if command.needs_member_id and command.member.instance_id is None:
                turn.answer(ticket, MemberIdAssigned(member_id))
                return
        elif command.member.instance_id is not None:
            _validated(group, command.member)
            static_id = None
        else:
            if said.owned and member_id not in group.members:
                raise UnknownMemberIdError(f"group {group.group_id} has given to others what {member_id!r} owned")
            self._heartbeats.check_room(group, member_id)
        member = ConsumerMember(
            command.member.instance_id,
            None,
            command.client_id,
            command.client_host,
            tuple(sorted(dict.fromkeys(said.topics))),
            None,
            command.rebalance_timeout_ms,
            None,
            ClassicProtocol(
                command.session_timeout_ms, tuple((each.name, each.metadata) for each in command.protocols)
            ),
        )
        draft = Draft(group, turn)
        replaces_consumer = static_id is not None and group.members[static_id].classic is None
        current = self._heartbeats.step(draft, member_id, member, static_id, self._owned(said), turn)
        if replaces_consumer:
            self._migration.downgrade_if_due(draft, turn)
        self._timers.cancel(_rejoin(group, member_id))
        joined = Joined(member_id, current.epoch, CONSUMER_PROTOCOL, command.protocols[0].name, NO_MEMBER_ID)
        turn.answer_written(ticket, joined)

    def _owned(self, said: Subscription) -> Partitions:
        named = ((self._topics.find(name), partitions) for name, partitions in said.owned)
        return gathered((topic.topic_id, partitions) for topic, partitions in named if topic is not None)

    def sync(self, ticket: Ticket, group: ConsumerGroup, command: SyncGroup, turn: Turn) -> None:
        member_id = _validated(group, command.member, command.generation)
        classic = group.members[member_id].classic
        assert classic is not None
        protocol = classic.protocols[0][0]
        for asked, actual in ((command.protocol_type, CONSUMER_PROTOCOL), (command.protocol, protocol)):
            if asked is not None and asked != actual:
                raise InconsistentGroupProtocolError(f"the member of group {group.group_id} uses {actual}, not {asked}")
        assigned = group.current(member_id).assigned
        names = ((self._topics.name_of(topic_id), partitions) for topic_id, partitions in assigned.items())
        assignment = encoded_assignment((name, partitions) for name, partitions in names if name is not None)
        self._keep_alive(group, member_id, turn)
        turn.answer(ticket, Synced(CONSUMER_PROTOCOL, protocol, assignment))

    def heartbeat(self, ticket: Ticket, group: ConsumerGroup, command: Heartbeat, turn: Turn) -> None:
        member_id = _validated(group, command.member, command.generation)
        self._keep_alive(group, member_id, turn)
        draft = Draft(group, turn)
        self._heartbeats.look_if_due(draft, turn)
        if not _is_behind(draft.group, member_id):
            turn.answer(ticket, None)
            return
        timer = _rejoin(group, member_id)
        if not self._timers.is_set(timer):
            wait_ms = group.members[member_id].rebalance_timeout_ms
            self._timers.set(timer, turn.now.monotonic_ms + wait_ms)
        turn.answer(ticket, RebalanceInProgressError(f"group {group.group_id} has other partitions for the member"))

    def leave(self, ticket: Ticket, group: ConsumerGroup, command: LeaveGroup, turn: Turn) -> None:
        """Those of the consumer protocol go last: the group may become a classic one then, of the members that stay."""
        draft = Draft(group, turn)
        refusals: list[Refusal] = [None] * len(command.members)
        for index, key in sorted(enumerate(command.members), key=lambda each: _speaks_consumer(group, each[1])):
            try:
                static_id = draft.group.static_member(key.instance_id) if key.member_id == NO_MEMBER_ID else None
                member_id = static_id or _validated(draft.group, key)
            except KraftpyError as error:
                refusals[index] = error
                continue
            self._heartbeats.remove(draft, member_id, turn)
        turn.answer_written(ticket, MembersLeft(tuple(refusals)))

    def _keep_alive(self, group: ConsumerGroup, member_id: str, turn: Turn) -> None:
        self._heartbeats.keep_alive(group, member_id, turn)


def _subscription(command: JoinGroup) -> Subscription:
    """The first protocol that can be read: a consumer says the same with each."""
    if command.protocol_type != CONSUMER_PROTOCOL or not command.protocols:
        raise InconsistentGroupProtocolError(f"group {command.group_id} is a group of consumers")
    said = read_subscription(command.protocols[0].metadata)
    if said is None:
        raise InconsistentGroupProtocolError("nobody can read what the member subscribes to")
    return said


def _validated(group: ConsumerGroup, key: MemberKey, generation: int | None = None) -> str:
    """The id of the classic member that `key` names."""
    if key.instance_id is not None:
        static_id = group.static_member(key.instance_id)
        if static_id is not None and static_id != key.member_id:
            raise FencedInstanceIdError(f"another consumer has taken the place of {key.instance_id}")
    member = group.members.get(key.member_id)
    if member is None or member.classic is None:
        raise UnknownMemberIdError(f"group {group.group_id} has no member {key.member_id!r} of the classic protocol")
    epoch = group.current(key.member_id).epoch
    if generation is not None and generation != epoch:
        raise IllegalGenerationError(f"the member of group {group.group_id} is in generation {epoch}")
    return key.member_id


def _speaks_consumer(group: ConsumerGroup, key: MemberKey) -> bool:
    member = group.members.get(group.static_member(key.instance_id) or key.member_id)
    return member is not None and member.classic is None


def _is_behind(group: ConsumerGroup, member_id: str) -> bool:
    """Whether joining again would give it something else."""
    current = group.current(member_id)
    if current.epoch < group.epoch or current.state is MemberState.UNREVOKED_PARTITIONS:
        return True
    if current.state is MemberState.STABLE:
        return False
    had = frozenset(places(current.assigned))
    return any(place not in had and group.owner_of(place) is None for place in places(group.target(member_id)))


def _rejoin(group: ConsumerGroup, member_id: str) -> Timer:
    return Timer(TimerKind.REJOIN, group.group_id, member_id)
