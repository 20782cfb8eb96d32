"""JoinGroup: who may become a member, and which of them make the group rebalance.

| the member | the group | what happens |
|---|---|---|
| new, without an id | any | it is given an id; it comes again with it (KIP-394), or is in at once |
| new, static, its instance id known | Stable, same protocol, | it takes the old one's place; nobody notices (KIP-345) |
| | the old one was not to join again, | |
| | and if it led, all is assigned | |
| the same | otherwise | it takes the place, and the group rebalances |
| with an id it was just given | any | it is in, and the group rebalances |
| known | PreparingRebalance | it has joined again |
| known, with nothing new | CompletingRebalance | it is told again what it was told |
| known, with nothing new, not the leader | Stable | the same |
| known, otherwise | CompletingRebalance, Stable | the group rebalances |
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from broker.coordinator.core import Ticket, check_lengths
from broker.coordinator.groups.classic_group import (
    COMPLETING,
    EMPTY,
    PREPARING,
    STABLE,
    ClassicGroup,
    ClassicMember,
    new_member_id,
)
from broker.coordinator.groups.commands import NO_MEMBER_ID, JoinGroup, MemberIdAssigned, MemberKey, ProtocolOffer
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.rebalance import Rebalance
from broker.coordinator.groups.records import GroupRecord, StoredGroup
from broker.coordinator.groups.registry import Groups
from broker.coordinator.groups.subscription import (
    read_assignment,
    read_subscription,
    subscribed_topics,
)
from broker.coordinator.groups.timers import Timer, TimerKind, Timers
from broker.coordinator.groups.topics import Topics
from broker.coordinator.groups.turn import Turn
from kraftpy.errors import (
    FencedInstanceIdError,
    GroupMaxSizeReachedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidRequestError,
    InvalidSessionTimeoutError,
    KraftpyError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

if TYPE_CHECKING:
    from random import Random

PENDING_JOINS_MAX = 10_000
"""Ids given out and not used yet, of one group: whoever asks for ever more must not fill the memory."""


class Joining:
    """See the module's docstring."""

    def __init__(
        self,
        config: GroupConfig,
        groups: Groups,
        rebalance: Rebalance,
        timers: Timers,
        random: "Random",
        topics: Topics,
        stored: Callable[[str], StoredGroup | None],
    ) -> None:
        """`stored`: the classic group as the log knows it."""
        self._config = config
        self._groups = groups
        self._rebalance = rebalance
        self._timers = timers
        self._random = random
        self._topics = topics
        self._stored = stored

    def join(self, ticket: Ticket, command: JoinGroup, turn: Turn) -> None:
        """Raises what refuses it, and then nothing has changed."""
        self.check(command)
        is_unknown = command.member.member_id == NO_MEMBER_ID
        group = self._groups.classic(command.group_id)
        if group is None and not is_unknown:
            raise UnknownMemberIdError(f"there is no group {command.group_id}")
        group = group or ClassicGroup(command.group_id)
        self._check_room(group, command)
        if not group.supports(command.protocol_type, command.protocols):
            offered = ", ".join(each.name for each in command.protocols)
            raise InconsistentGroupProtocolError(
                f"the member offers {command.protocol_type}: {offered}; "
                f"all members of group {group.group_id} must share a protocol"
            )
        if is_unknown:
            self._begin_classic(group, turn)
            self._join_unknown(ticket, group, command, turn)
        else:
            self._join_known(ticket, group, command, turn)

    def _begin_classic(self, group: ClassicGroup, turn: Turn) -> None:
        """Where a consumer group has the name, which is empty, it goes first."""
        self._groups.add(group)
        consumers = self._groups.consumer(group.group_id)
        if consumers is None:
            return
        turn.records += consumers.removal()

        def take_back(again: Turn, error: KraftpyError) -> None:
            for member in list(group.members.values()):
                self._rebalance.drop(group, member.member_id, error, again)
            self._timers.cancel(Timer(TimerKind.JOIN, group.group_id))
            self._groups.remove(group.group_id)

        turn.if_refused(take_back)

    def check(self, command: JoinGroup) -> None:
        """What every member must say, whatever group it joins."""
        if not command.group_id:
            raise InvalidGroupIdError("a group needs a name (group.id)")
        check_lengths(client_id=command.client_id, instance_id=command.member.instance_id)
        least, most = self._config.session_timeout_min_ms, self._config.session_timeout_max_ms
        if not least <= command.session_timeout_ms <= most:
            raise InvalidSessionTimeoutError(
                f"session.timeout.ms is {command.session_timeout_ms}: the broker allows {least} to {most} "
                "(group.min.session.timeout.ms, group.max.session.timeout.ms)"
            )
        if command.rebalance_timeout_ms < 1:
            raise InvalidRequestError(f"a rebalance takes time, more than {command.rebalance_timeout_ms} ms")

    def _check_room(self, group: ClassicGroup, command: JoinGroup) -> None:
        """Members beyond the limit are refused; in a rebalance, those that come first stay."""
        if group.state is EMPTY and not group.pending_joins:
            return
        member = group.members.get(command.member.member_id) or group.static_member(command.member.instance_id)
        if group.state is PREPARING:
            is_in, count = member is not None and member.join_ticket is not None, group.joining_count
        else:
            is_in, count = member is not None, len(group.members)
        is_pending = command.member.member_id in group.pending_joins
        if not is_in and (
            count >= self._config.members_max or (not is_pending and len(group.pending_joins) >= PENDING_JOINS_MAX)
        ):
            raise GroupMaxSizeReachedError(f"group {group.group_id} has {count} members (group.max.size)")

    # --- without an id -----------------------------------------------------------------------------------------------

    def _join_unknown(self, ticket: Ticket, group: ClassicGroup, command: JoinGroup, turn: Turn) -> None:
        instance_id = command.member.instance_id
        member_id = new_member_id(command.client_id if instance_id is None else instance_id, self._random)
        static = group.static_member(instance_id)
        if static is not None:
            self._replace(ticket, group, static, member_id, command, turn)
        elif instance_id is None and command.needs_member_id:
            group.pending_joins[member_id] = None
            timer = Timer(TimerKind.PENDING_JOIN, group.group_id, member_id)
            self._timers.set(timer, turn.now.monotonic_ms + command.session_timeout_ms)
            turn.answer(ticket, MemberIdAssigned(member_id))
        else:
            self._add(ticket, group, member_id, command, turn)

    def _add(self, ticket: Ticket, group: ClassicGroup, member_id: str, command: JoinGroup, turn: Turn) -> None:
        if not group.members:
            group.protocol_type = command.protocol_type
        member = ClassicMember(
            MemberKey(member_id, command.member.instance_id),
            command.client_id,
            command.client_host,
            command.session_timeout_ms,
            command.rebalance_timeout_ms,
            command.protocols,
            command.skips_assignment,
            is_new=True,
        )
        group.add(member)
        group.wait_for_join(member, ticket)
        if group.state is PREPARING and group.previous_state is EMPTY:
            group.has_new_members = True
        self._rebalance.keep_alive(group, member, turn)
        self._store_id(ticket, group, member, turn)
        self._rebalance.prepare(group, turn)

    # --- with an id --------------------------------------------------------------------------------------------------

    def _join_known(self, ticket: Ticket, group: ClassicGroup, command: JoinGroup, turn: Turn) -> None:
        member_id = command.member.member_id
        if member_id in group.pending_joins and command.member.instance_id is None:
            self._timers.cancel(Timer(TimerKind.PENDING_JOIN, group.group_id, member_id))
            self._add(ticket, group, member_id, command, turn)
            return
        member = group.validated(command.member)
        is_same = member.protocols == command.protocols
        is_leader = member_id == group.leader_id
        if group.state is COMPLETING and is_same:
            turn.answer(ticket, group.joined(member, tells_members=is_leader))
            self._rebalance.keep_alive(group, member, turn)
        elif group.state is STABLE and is_same and not is_leader:
            turn.answer(ticket, group.joined(member, tells_members=False))
            self._rebalance.keep_alive(group, member, turn)
        else:
            self._update(ticket, group, member, command, turn)
            self._rebalance.prepare(group, turn)

    def _update(
        self, ticket: Ticket, group: ClassicGroup, member: ClassicMember, command: JoinGroup, turn: Turn
    ) -> None:
        """It waits for the end of the join phase."""
        self._take_over(group, member, command)
        self._end_waits(group, member, RebalanceInProgressError("the member has joined again since"), turn)
        group.wait_for_join(member, ticket)
        self._rebalance.keep_alive(group, member, turn)

    def _end_waits(self, group: ClassicGroup, member: ClassicMember, error: KraftpyError, turn: Turn) -> None:
        """A client that lost its connection asks again; what it asked before is answered, to nobody."""
        sync_ticket, member.sync_ticket = member.sync_ticket, None
        for ticket in (group.end_wait_for_join(member), sync_ticket):
            if ticket is not None:
                turn.answer(ticket, error)

    # --- a static member comes back ----------------------------------------------------------------------------------

    def _replace(
        self,
        ticket: Ticket,
        group: ClassicGroup,
        member: ClassicMember,
        member_id: str,
        command: JoinGroup,
        turn: Turn,
    ) -> None:
        old = _Before(member)
        old_leader_id = group.leader_id
        self._end_waits(group, member, FencedInstanceIdError("another consumer has taken this member's place"), turn)
        self._rebalance.forget_session(group, member.member_id)
        group.replace(member, member_id)
        member.is_new = False
        self._take_over(group, member, command)
        is_unnoticed = (
            old.reads_the_same(member, group.protocol)
            and not old.owes_a_rejoin(group.protocol)
            and not (member.member_id == group.leader_id and self._has_unread_partitions(group))
        )
        if group.state is STABLE and group.vote() == group.protocol and is_unnoticed:
            self._rebalance.keep_alive(group, member, turn)
            self._answer_replaced(ticket, group, member, old_leader_id or NO_MEMBER_ID, turn)
            self._store_replaced(group, member, old, turn)
        else:
            group.wait_for_join(member, ticket)
            self._rebalance.keep_alive(group, member, turn)
            self._store_id(ticket, group, member, turn)
            self._rebalance.prepare(group, turn)

    def _has_unread_partitions(self, group: ClassicGroup) -> bool:
        """Whether the group's topics have grown beyond what was assigned. The leader looks for that, and one that comes
        back does not know what was assigned while another of its name was here (KIP-814)."""
        assigned: dict[str, dict[int, None]] = {}
        for member in group.members.values():
            found = read_assignment(member.assignment)
            if found is None:
                return False
            for name, partitions in found:
                assigned.setdefault(name, {}).update(dict.fromkeys(partitions))
        known = (self._topics.find(name) for name in sorted(group.subscribed or ()))
        return any(topic is not None and topic.partition_count > len(assigned.get(topic.name, ())) for topic in known)

    def _take_over(self, group: ClassicGroup, member: ClassicMember, command: JoinGroup) -> None:
        """What it says now counts."""
        group.offer(member, command.protocols)
        member.client_id, member.client_host = command.client_id, command.client_host
        member.session_timeout_ms = command.session_timeout_ms
        member.rebalance_timeout_ms = command.rebalance_timeout_ms
        member.skips_assignment = command.skips_assignment

    def _answer_replaced(
        self, ticket: Ticket, group: ClassicGroup, member: ClassicMember, old_leader_id: str, turn: Turn
    ) -> None:
        """It is to sync, and not to assign: one that does not know how not to is told that the old one leads."""
        is_leader = member.member_id == group.leader_id
        joined = group.joined(member, tells_members=is_leader and member.skips_assignment)
        if member.skips_assignment:
            joined = dataclasses.replace(joined, skip_assignment=is_leader)
        else:
            joined = dataclasses.replace(joined, leader_id=old_leader_id)
        turn.answer_written(ticket, joined)

    def _store_replaced(self, group: ClassicGroup, member: ClassicMember, old: "_Before", turn: Turn) -> None:
        turn.records.append(GroupRecord(group.group_id, group.stored()))
        generation = group.generation

        def take_back(again: Turn, error: KraftpyError) -> None:
            assert group.generation == generation
            self._rebalance.forget_session(group, member.member_id)
            group.replace(member, old.key.member_id)
            group.offer(member, old.protocols)
            member.session_timeout_ms, member.rebalance_timeout_ms = old.session_timeout_ms, old.rebalance_timeout_ms
            self._rebalance.keep_alive(group, member, again)

        turn.if_refused(take_back)

    def _store_id(self, ticket: Ticket, group: ClassicGroup, member: ClassicMember, turn: Turn) -> None:
        """In the generation that the log knows, a static member has its new id from now on. A coordinator that begins
        before the next one is stored would take it for one whose place another has taken, and end it. (Kafka's does.)
        """
        stored = self._stored(group.group_id)
        static = None if stored is None else stored.static_member(member.key.instance_id)
        if stored is None or static is None:
            return
        turn.records.append(GroupRecord(group.group_id, stored.with_id(static, member.member_id)))
        turn.waits_for_records(ticket)

        def end_wait(again: Turn, error: KraftpyError) -> None:
            if member.join_ticket == ticket:
                self._end_waits(group, member, error, again)
                self._rebalance.keep_alive(group, member, again)

        turn.if_refused(end_wait)


class _Before:
    """A static member as it was before another took its place."""

    def __init__(self, member: ClassicMember) -> None:
        self.key = member.key
        self.protocols: tuple[ProtocolOffer, ...] = member.protocols
        self.session_timeout_ms = member.session_timeout_ms
        self.rebalance_timeout_ms = member.rebalance_timeout_ms
        self._assignment = member.assignment

    def owes_a_rejoin(self, protocol: str | None) -> bool:
        """Whether it joined with partitions that it was not given again: it was to join once more when it has given
        them up, so that others get them (KIP-429). Who takes its place knows nothing of that. (Kafka lets such
        partitions lie until something else makes the group rebalance.)"""
        said, assigned = read_subscription(self._metadata(protocol)), read_assignment(self._assignment)
        if said is None or assigned is None:
            return False
        kept = {(topic, partition): None for topic, partitions in assigned for partition in partitions}
        return any((topic, partition) not in kept for topic, partitions in said.owned for partition in partitions)

    def _metadata(self, protocol: str | None) -> bytes:
        return next((offer.metadata for offer in self.protocols if offer.name == protocol), b"")

    def reads_the_same(self, member: ClassicMember, protocol: str | None) -> bool:
        """Whether its topics are the old ones, where it says what they are. (Kafka lets a static member come back with
        other topics unnoticed; its assignment then lacks them until the next rebalance.)"""
        topics, now = subscribed_topics(self._metadata(protocol)), subscribed_topics(member.metadata(protocol))
        return topics is None or now is None or sorted(topics) == sorted(now)
