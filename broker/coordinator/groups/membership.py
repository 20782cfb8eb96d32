"""Heartbeat and LeaveGroup: members that stay, and members that go."""

from broker.coordinator.core import Ticket
from broker.coordinator.groups.classic_group import EMPTY, PREPARING, ClassicGroup
from broker.coordinator.groups.commands import (
    NO_MEMBER_ID,
    Heartbeat,
    LeaveGroup,
    MemberKey,
    MembersLeft,
    Refusal,
)
from broker.coordinator.groups.rebalance import Rebalance
from broker.coordinator.groups.registry import Groups
from broker.coordinator.groups.timers import Timer, TimerKind, Timers
from broker.coordinator.groups.turn import Turn
from kraftpy.errors import (
    IllegalGenerationError,
    InvalidGroupIdError,
    KraftpyError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)


class Membership:
    """See the module's docstring."""

    def __init__(self, groups: Groups, rebalance: Rebalance, timers: Timers) -> None:
        self._groups = groups
        self._rebalance = rebalance
        self._timers = timers

    def heartbeat(self, ticket: Ticket, command: Heartbeat, turn: Turn) -> None:
        """Its session goes on, also where it is told to join again."""
        group = self._group(command.group_id)
        member = group.validated(command.member)
        if group.state is EMPTY:
            raise UnknownMemberIdError(f"group {command.group_id} has no members")
        if command.generation != group.generation:
            raise IllegalGenerationError(f"group {group.group_id} is in generation {group.generation}")
        self._rebalance.keep_alive(group, member, turn)
        if group.state is PREPARING:
            turn.answer(ticket, RebalanceInProgressError(f"group {group.group_id} rebalances: join again"))
        else:
            turn.answer(ticket, None)

    def leave(self, ticket: Ticket, command: LeaveGroup, turn: Turn) -> None:
        group = self._group(command.group_id)
        refusals = tuple(self._leave(group, key, turn) for key in command.members)
        turn.answer(ticket, MembersLeft(refusals))

    def _leave(self, group: ClassicGroup, key: MemberKey, turn: Turn) -> Refusal:
        if key.member_id in group.pending_joins and key.instance_id is None:
            self._timers.cancel(Timer(TimerKind.PENDING_JOIN, group.group_id, key.member_id))
            self._rebalance.pending_join_is_over(group, key.member_id, turn)
            return None
        static = group.static_member(key.instance_id) if key.member_id == NO_MEMBER_ID else None
        try:
            member = static or group.validated(key)
        except KraftpyError as error:
            return error
        self._rebalance.remove(group, member.member_id, UnknownMemberIdError("the member has left"), turn)
        return None

    def _group(self, group_id: str) -> ClassicGroup:
        if not group_id:
            raise InvalidGroupIdError("a group needs a name (group.id)")
        group = self._groups.classic(group_id)
        if group is None:
            raise UnknownMemberIdError(f"there is no group {group_id}")
        return group
