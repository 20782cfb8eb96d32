"""The coordinator of groups: `broker.coordinator.core.Core`. Commands in, records and answers out.

Durable, changed by `replay` and `end_transaction`: the stored classic groups, the consumer groups, and the offsets.
Soft, from `loaded` on: the classic groups with their members, and all timers. `handle` looks at both, changes the soft
ones, and writes records.
"""

from typing import TYPE_CHECKING, assert_never

from broker.coordinator.core import Moment, Producer, Result, Ticket
from broker.coordinator.groups.administration import Administration
from broker.coordinator.groups.chores import Chores, part_room, takes_room
from broker.coordinator.groups.classic_group import ClassicGroup
from broker.coordinator.groups.classic_members import ClassicMembers
from broker.coordinator.groups.commands import (
    Command,
    CommitOffsets,
    CommitOffsetsInTransaction,
    ConsumerHeartbeat,
    DeleteGroup,
    DeleteOffsets,
    DescribeConsumerGroup,
    DescribeGroup,
    FetchOffsets,
    Heartbeat,
    JoinGroup,
    LeaveGroup,
    ListGroups,
    SyncGroup,
    TopicsChanged,
    TopicsDeleted,
)
from broker.coordinator.groups.committing import Committing
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.consumer_group import ConsumerGroup
from broker.coordinator.groups.consumer_heartbeats import ConsumerHeartbeats
from broker.coordinator.groups.consumer_records import ConsumerGroupRecord
from broker.coordinator.groups.expiry import Expiry
from broker.coordinator.groups.joining import Joining
from broker.coordinator.groups.membership import Membership
from broker.coordinator.groups.migration import Migration
from broker.coordinator.groups.offsets import Offsets
from broker.coordinator.groups.rebalance import Rebalance
from broker.coordinator.groups.records import GroupRecord, GroupsRecord, OffsetRecord, StoredGroup
from broker.coordinator.groups.registry import Groups
from broker.coordinator.groups.syncing import Syncing
from broker.coordinator.groups.timers import Timer, TimerKind, Timers
from broker.coordinator.groups.topics import NoTopics, Topics
from broker.coordinator.groups.turn import Turn
from kraftpy.errors import KraftpyError

if TYPE_CHECKING:
    from random import Random

DUE_AT_ONCE = 1_000
"""Timers that one turn deals with; the rest of them in the next, at once."""


class GroupCore:
    """See the module's docstring."""

    def __init__(self, config: GroupConfig, random: "Random", topics: Topics | None = None) -> None:
        """`random` is for member ids; `topics`: what there is to be assigned, for consumer groups."""
        self._stored: dict[str, StoredGroup] = {}
        self._offsets = Offsets()
        self._groups = Groups()
        self._is_active = False
        self._last = Turn(Moment(0, 0))
        self._timers = Timers()
        self._chores = Chores(self._timers)
        self._rebalance = Rebalance(config, self._timers)
        known = topics or NoTopics()
        self._migration = Migration(config, self._groups, known, self._timers, self._rebalance, self._is_stored)
        self._joining = Joining(config, self._groups, self._rebalance, self._timers, random, known, self._stored.get)
        self._syncing = Syncing(self._groups, self._rebalance)
        self._membership = Membership(self._groups, self._rebalance, self._timers)
        self._committing = Committing(config, self._groups, self._offsets, self._rebalance, known)
        self._consumers = ConsumerHeartbeats(config, self._groups, known, self._timers, self._migration, random)
        self._classic_members = ClassicMembers(known, self._timers, self._consumers, self._migration, random)
        self._administration = Administration(
            self._groups, self._offsets, self._chores, known, self._is_stored, config.consumer_assignors[0]
        )
        self._expiry = Expiry(config, self._groups, self._offsets, self._administration, self._chores, self._timers)

    def _is_stored(self, group_id: str) -> bool:
        return group_id in self._stored

    # --- the log -----------------------------------------------------------------------------------------------------

    @property
    def stored(self) -> dict[str, StoredGroup]:
        """The classic groups that the log knows, by id. To be looked at."""
        return self._stored

    @property
    def offsets(self) -> Offsets:
        """To be looked at."""
        return self._offsets

    @property
    def groups(self) -> Groups:
        """To be looked at."""
        return self._groups

    def replay(self, record: GroupsRecord, producer: Producer | None) -> None:
        match record:
            case OffsetRecord():
                self._offsets.replay(record, producer)
                if producer is None and record.value is not None:
                    self._know(record.group_id)
            case GroupRecord(group_id, None):
                self._stored.pop(group_id, None)
            case GroupRecord(group_id, stored):
                assert stored is not None
                self._stored[group_id] = stored
            case ConsumerGroupRecord(group_id, None):
                self._groups.replay(record)
                self._consumers.forget(group_id)
                self._migration.forget(group_id)
            case _:
                self._groups.replay(record)

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        for group_id in self._offsets.end_transaction(producer_id, committed):
            self._know(group_id)

    def _know(self, group_id: str) -> None:
        """A group with offsets is one, even if nobody ever joined it."""
        if self._is_active and self._groups.any(group_id) is None:
            self._groups.add(ClassicGroup(group_id))

    def loaded(self, now: Moment) -> Result[GroupsRecord]:
        """Members have the whole of their sessions to find the new coordinator."""
        turn = self._begin(now)
        self._is_active = True
        for group_id, stored in self._stored.items():
            group = ClassicGroup.from_stored(group_id, stored)
            self._groups.add(group)
            for member in group.members.values():
                self._rebalance.keep_alive(group, member, turn)
            if stored.members and stored.leader_id is None:
                self._rebalance.prepare(group, turn)  # it was a consumer group a moment ago: see `migration`
        for group_id in self._offsets.group_ids():
            self._know(group_id)
        self._consumers.loaded(turn)
        self._expiry.look_later(turn)
        return turn.result()

    # --- commands ----------------------------------------------------------------------------------------------------

    def handle(self, ticket: Ticket, command: Command, now: Moment) -> Result[GroupsRecord]:
        turn = self._begin(now)
        self._handle(ticket, command, turn)
        return turn.result()

    def _handle(self, ticket: Ticket, command: Command, turn: Turn) -> None:
        if isinstance(command, JoinGroup | SyncGroup | Heartbeat | LeaveGroup):
            group = self._groups.consumer(command.group_id)
            if group is not None and not group.is_empty:
                self._handle_classic_member(ticket, group, command, turn)
                return
        match command:
            case JoinGroup():
                self._joining.join(ticket, command, turn)
            case SyncGroup():
                self._syncing.sync(ticket, command, turn)
            case Heartbeat():
                self._membership.heartbeat(ticket, command, turn)
            case LeaveGroup():
                self._membership.leave(ticket, command, turn)
            case CommitOffsets():
                self._committing.commit(ticket, command, turn)
            case CommitOffsetsInTransaction():
                self._committing.commit_in_transaction(ticket, command, turn)
            case FetchOffsets():
                self._committing.fetch(ticket, command, turn)
            case DeleteOffsets():
                self._committing.delete(ticket, command, turn)
            case ConsumerHeartbeat():
                self._consumers.heartbeat(ticket, command, turn)
            case TopicsChanged():
                self._consumers.topics_changed(ticket, command, turn)
            case DescribeConsumerGroup():
                self._administration.describe_consumers(ticket, command, turn)
            case DescribeGroup():
                self._administration.describe(ticket, command, turn)
            case ListGroups():
                self._administration.list_groups(ticket, command, turn)
            case DeleteGroup():
                self._administration.delete(ticket, command, turn)
            case TopicsDeleted():
                self._administration.topics_deleted(ticket, command, turn)
            case _:
                assert_never(command)

    def _handle_classic_member(
        self,
        ticket: Ticket,
        group: ConsumerGroup,
        command: JoinGroup | SyncGroup | Heartbeat | LeaveGroup,
        turn: Turn,
    ) -> None:
        match command:
            case JoinGroup():
                self._joining.check(command)
                self._classic_members.join(ticket, group, command, turn)
            case SyncGroup():
                self._classic_members.sync(ticket, group, command, turn)
            case Heartbeat():
                self._classic_members.heartbeat(ticket, group, command, turn)
            case LeaveGroup():
                self._classic_members.leave(ticket, group, command, turn)

    def refused(self, result: Result[GroupsRecord], error: KraftpyError, now: Moment) -> Result[GroupsRecord]:
        """`result` is the one that was given last."""
        return self._last.refuse(error)

    def _begin(self, now: Moment) -> Turn:
        self._last = Turn(now)
        return self._last

    # --- time --------------------------------------------------------------------------------------------------------

    def next_deadline_ms(self) -> int | None:
        return self._timers.next_ms()

    def tick(self, now: Moment) -> Result[GroupsRecord]:
        turn, room = self._begin(now), part_room()
        for _ in range(DUE_AT_ONCE):
            timer = self._timers.pop_due(now.monotonic_ms)
            if timer is None:
                break
            written = len(turn.records)
            self._ring(timer, turn)
            if timer.kind in (TimerKind.CHORE, TimerKind.EXPIRY):
                break  # it has filled a batch, perhaps
            if not all(takes_room(record, room) for record in turn.records[written:]):
                break  # the rest in the next turn, at once
        return turn.result()

    def _ring(self, timer: Timer, turn: Turn) -> None:
        if timer.kind is TimerKind.CHORE:
            self._chores.go_on(turn)
            return
        if timer.kind is TimerKind.EXPIRY:
            self._expiry.look(turn)
            return
        if timer.kind in (TimerKind.CONSUMER_SESSION, TimerKind.REVOCATION, TimerKind.REJOIN):
            self._consumers.time_is_over(timer, turn)
            return
        group = self._groups.classic(timer.group_id)
        if group is None:
            assert timer.kind is TimerKind.PENDING_JOIN, f"{timer} belongs to a group that is not there"
            return
        match timer.kind:
            case TimerKind.SESSION:
                self._rebalance.session_is_over(group, timer.member_id, turn)
            case TimerKind.PENDING_JOIN:
                self._rebalance.pending_join_is_over(group, timer.member_id, turn)
            case TimerKind.JOIN:
                self._rebalance.join_time_is_over(group, turn)
            case TimerKind.SYNC:
                self._rebalance.sync_time_is_over(group, turn)
            case _:
                assert_never(timer.kind)
