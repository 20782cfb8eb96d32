"""Groups that change their type: from classic to consumer groups (KIP-848) and back.

An empty group of either type becomes one of the other when a member of that type comes.
"""

from collections.abc import Callable

from broker.coordinator.groups.classic_group import EMPTY, ClassicGroup
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.consumer_group import ConsumerGroup
from broker.coordinator.groups.records import GroupRecord
from broker.coordinator.groups.registry import Groups
from broker.coordinator.groups.turn import Draft, Turn
from kraftpy.errors import GroupIdNotFoundError, InconsistentGroupProtocolError


class Migration:
    """See the module's docstring."""

    def __init__(self, config: GroupConfig, groups: Groups, is_stored: Callable[[str], bool]) -> None:
        """`is_stored`: whether the log knows a classic group."""
        self._config = config
        self._groups = groups
        self._is_stored = is_stored

    def upgraded(self, group_id: str) -> ConsumerGroup | None:
        """The consumer group that a classic one would become; None: an empty one. Raises where it cannot."""
        classic = self._groups.classic(group_id)
        if classic is None or is_unused(classic):
            return None
        raise GroupIdNotFoundError(f"group {group_id} is a classic group, and has members")

    def check_classic(self, group_id: str) -> None:
        """Raises where a member of a classic group cannot join."""
        group = self._groups.consumer(group_id)
        if group is not None and not group.is_empty:
            raise InconsistentGroupProtocolError(
                f"the members of group {group_id} speak the consumer protocol (group.protocol=consumer)"
            )

    def consumer_draft(self, group_id: str, turn: Turn) -> Draft:
        """The consumer group, made of the classic one if need be."""
        group = self._groups.consumer(group_id)
        if group is not None:
            return Draft(group, turn)
        classic = self._groups.classic(group_id)
        if classic is not None:
            self._groups.remove(group_id)
            turn.if_refused(lambda again, error: self._groups.add(classic))
            if self._is_stored(group_id):
                turn.records.append(GroupRecord(group_id, None))
        return Draft(ConsumerGroup(group_id), turn)

    def downgrade_if_due(self, draft: Draft, turn: Turn) -> None:
        """After a member left."""


def is_unused(classic: ClassicGroup) -> bool:
    """Nobody is in it, and nobody is about to be."""
    return classic.state is EMPTY and not classic.pending_joins
