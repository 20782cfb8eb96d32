"""SyncGroup: the leader's assignments are stored, and every member is told its own."""

from broker.coordinator.core import Ticket
from broker.coordinator.groups.classic_group import COMPLETING, EMPTY, PREPARING, STABLE, ClassicGroup, ClassicMember
from broker.coordinator.groups.commands import SyncGroup
from broker.coordinator.groups.rebalance import Rebalance
from broker.coordinator.groups.records import GroupRecord
from broker.coordinator.groups.registry import Groups
from broker.coordinator.groups.turn import Turn
from kraftpy.errors import (
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    KraftpyError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)


class Syncing:
    """See the module's docstring."""

    def __init__(self, groups: Groups, rebalance: Rebalance) -> None:
        self._groups = groups
        self._rebalance = rebalance

    def sync(self, ticket: Ticket, command: SyncGroup, turn: Turn) -> None:
        """Raises what refuses it, and then nothing has changed."""
        group, member = self._validated(command)
        if member.sync_ticket is not None:
            turn.answer(member.sync_ticket, RebalanceInProgressError("the member has asked again since"))
        if group.state is COMPLETING:
            member.sync_ticket = ticket
            self._rebalance.synced(group, member)
            self._rebalance.keep_alive(group, member, turn)
            if member.member_id == group.leader_id:
                self._hand_out(group, dict(command.assignments), turn)
        else:
            turn.answer(ticket, group.synced(member))
            self._rebalance.synced(group, member)
            self._rebalance.keep_alive(group, member, turn)

    def _validated(self, command: SyncGroup) -> tuple[ClassicGroup, ClassicMember]:
        if not command.group_id:
            raise InvalidGroupIdError("a group needs a name (group.id)")
        group = self._groups.classic(command.group_id)
        if group is None or group.state is EMPTY:
            raise UnknownMemberIdError(f"group {command.group_id} has no members")
        member = group.validated(command.member)
        if command.generation != group.generation:
            raise IllegalGenerationError(f"group {group.group_id} is in generation {group.generation}")
        if group.state is PREPARING:
            raise RebalanceInProgressError(f"group {group.group_id} rebalances again")
        for asked, actual in ((command.protocol_type, group.protocol_type), (command.protocol, group.protocol)):
            if asked is not None and asked != actual:
                raise InconsistentGroupProtocolError(f"group {group.group_id} uses {actual}, not {asked}")
        return group, member

    def _hand_out(self, group: ClassicGroup, assignments: dict[str, bytes], turn: Turn) -> None:
        """Members that the leader passed over get nothing; assignments of others are dropped."""
        for member in group.members.values():
            member.assignment = assignments.get(member.member_id, b"")
        group.move(STABLE, turn.now.wall_ms)
        turn.records.append(GroupRecord(group.group_id, group.stored()))
        for member in group.members.values():
            ticket, member.sync_ticket = member.sync_ticket, None
            if ticket is not None:
                turn.answer_written(ticket, group.synced(member))
                self._rebalance.keep_alive(group, member, turn)

        def rebalance_again(again: Turn, error: KraftpyError) -> None:
            """What could not be kept must not be used: everybody joins again."""
            for member in group.members.values():
                member.assignment = b""
            self._rebalance.prepare(group, again)

        turn.if_refused(rebalance_again)
