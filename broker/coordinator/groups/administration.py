"""What administrators ask: describe, list and delete groups; and what follows the deletion of topics.

A group that is deleted may have more offsets than fit in one batch. So it goes in parts (`chores`), each in a
turn of its own; what is not gone yet is looked up anew each time, and a member that comes in between stops it.
"""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain

from broker.coordinator.core import BatchRoom, Ticket
from broker.coordinator.groups.chores import Chores, part_room
from broker.coordinator.groups.classic_group import STABLE
from broker.coordinator.groups.commands import (
    ConsumerDescription,
    ConsumerGroupDescription,
    DeleteGroup,
    DescribeConsumerGroup,
    DescribeGroup,
    GroupDescription,
    GroupListing,
    GroupType,
    ListGroups,
    MemberDescription,
    TopicsDeleted,
)
from broker.coordinator.groups.consumer_group import ConsumerGroup
from broker.coordinator.groups.offsets import Offsets
from broker.coordinator.groups.records import GroupRecord, GroupsRecord, OffsetRecord
from broker.coordinator.groups.registry import AnyGroup, Groups
from broker.coordinator.groups.subscription import CONSUMER_PROTOCOL
from broker.coordinator.groups.topics import Topics
from broker.coordinator.groups.turn import Turn
from kraftpy.errors import GroupIdNotFoundError, KraftpyError, NonEmptyGroupError


class Administration:
    """See the module's docstring."""

    def __init__(
        self,
        groups: Groups,
        offsets: Offsets,
        chores: Chores,
        topics: Topics,
        is_stored: Callable[[str], bool],
        default_assignor: str,
    ) -> None:
        self._default_assignor = default_assignor
        self._groups = groups
        self._offsets = offsets
        self._chores = chores
        self._topics = topics
        self._is_stored = is_stored

    # --- describe, list ----------------------------------------------------------------------------------------------

    def describe(self, ticket: Ticket, command: DescribeGroup, turn: Turn) -> None:
        group = self._groups.classic(command.group_id)
        if group is None:
            raise GroupIdNotFoundError(f"there is no group {command.group_id}")
        members = tuple(
            MemberDescription(
                member.key,
                member.client_id,
                member.client_host,
                member.metadata(group.protocol) if group.state is STABLE else b"",
                member.assignment if group.state is STABLE else b"",
            )
            for member in group.members.values()
        )
        protocol = (group.protocol or "") if group.state is STABLE else ""
        turn.answer(
            ticket,
            GroupDescription(group.group_id, group.state.value, group.protocol_type or "", protocol, members),
        )

    def describe_consumers(self, ticket: Ticket, command: DescribeConsumerGroup, turn: Turn) -> None:
        group = self._groups.consumer(command.group_id)
        if group is None:
            raise GroupIdNotFoundError(f"there is no consumer group {command.group_id}")
        members = tuple(
            ConsumerDescription(member_id, member, group.current(member_id), group.target(member_id))
            for member_id, member in group.members.items()
        )
        assignor = group.assignor(self._default_assignor)
        turn.answer(
            ticket,
            ConsumerGroupDescription(
                group.group_id, group.state.value, group.epoch, group.target_epoch, assignor, members
            ),
        )

    def list_groups(self, ticket: Ticket, command: ListGroups, turn: Turn) -> None:
        states = frozenset(state.lower() for state in command.states)
        types = frozenset(type_name.lower() for type_name in command.types)
        listings = map(_listing, self._groups.all())
        turn.answer(
            ticket,
            tuple(
                each
                for each in listings
                if (not states or each.state.lower() in states) and (not types or each.type.value in types)
            ),
        )

    # --- delete ------------------------------------------------------------------------------------------------------

    def delete(self, ticket: Ticket, command: DeleteGroup, turn: Turn) -> None:
        self._deletable(command.group_id)
        self._chores.begin(lambda later: self._delete_part(ticket, command.group_id, later), turn)

    def _deletable(self, group_id: str) -> AnyGroup:
        group = self._groups.any(group_id)
        if group is None:
            raise GroupIdNotFoundError(f"there is no group {group_id}")
        if not group.is_empty:
            raise NonEmptyGroupError(f"group {group_id} has members")
        return group

    def _delete_part(self, ticket: Ticket, group_id: str, turn: Turn) -> bool:
        try:
            group = self._deletable(group_id)
        except KraftpyError as error:
            turn.answer(ticket, error)
            return False
        if not _fill(self._erased(group_id), part_room(), turn):
            turn.if_refused(lambda again, error: self._stop(ticket, error, again))
            return True
        turn.records += self.removal(group, turn)
        turn.answer_written(ticket, None)
        return False

    def _erased(self, group_id: str) -> Iterator[OffsetRecord]:
        """Deletions of all that is left of the group's offsets, those of open transactions too."""
        committed = (place for place, _ in self._offsets.of_group(group_id))
        places = chain(committed, self._offsets.pending_of_group(group_id))
        return (OffsetRecord(group_id, topic, partition, None) for topic, partition in dict.fromkeys(places))

    def removal(self, group: AnyGroup, turn: Turn) -> list[GroupsRecord]:
        """What is to be written for a group without offsets to be gone; a classic one is forgotten."""
        if isinstance(group, ConsumerGroup):
            return list(group.removal())
        self._groups.remove(group.group_id)
        turn.if_refused(lambda again, error: self._groups.add(group))
        return [GroupRecord(group.group_id, None)] if self._is_stored(group.group_id) else []

    def _stop(self, ticket: Ticket, error: KraftpyError, turn: Turn) -> None:
        self._chores.stop_first()
        turn.answer(ticket, error)

    # --- topics ------------------------------------------------------------------------------------------------------

    def topics_deleted(self, ticket: Ticket, command: TopicsDeleted, turn: Turn) -> None:
        """Answered at once: the rest is done bit by bit."""
        turn.answer(ticket, None)
        topics = frozenset(command.topics)
        group_ids = deque(self._offsets.group_ids())
        self._chores.begin(lambda later: self._erase_topics(topics, group_ids, later), turn)

    def _erase_topics(self, topics: frozenset[str], group_ids: deque[str], turn: Turn) -> bool:
        done: deque[str] = deque()
        room, is_full = part_room(), False
        while group_ids and not is_full:
            done.append(group_ids.popleft())
            is_full = not _fill(self._gone(done[-1], topics), room, turn)
        if is_full:
            group_ids.append(done[-1])  # it has more of them
        turn.if_refused(
            lambda again, error: self._chores.begin_later(lambda later: self._erase_topics(topics, done, later), again)
        )
        return bool(group_ids)

    def _gone(self, group_id: str, topics: frozenset[str]) -> Iterator[OffsetRecord]:
        """Deletions of what is left of these topics, and not of one that was made anew since by the same name. Where an
        open transaction says something of that, a deletion would take it along: it will replace the old offset."""
        for (topic, partition), value in self._offsets.of_group(group_id):
            if topic not in topics:
                continue
            known = self._topics.find(topic)
            if known is not None and (
                value.topic_id == known.topic_id or self._offsets.is_unstable(group_id, topic, partition)
            ):
                continue
            yield OffsetRecord(group_id, topic, partition, None)


def _fill(records: Iterator[OffsetRecord], room: BatchRoom, turn: Turn) -> bool:
    """Write them as far as there is room. False: there are more."""
    for record in records:
        if not room.take(record.group_id, record.topic):
            return False
        turn.records.append(record)
    return True


def _listing(group: AnyGroup) -> GroupListing:
    if isinstance(group, ConsumerGroup):
        return GroupListing(group.group_id, CONSUMER_PROTOCOL, group.state.value, GroupType.CONSUMER)
    return GroupListing(group.group_id, group.protocol_type or "", group.state.value, GroupType.CLASSIC)
