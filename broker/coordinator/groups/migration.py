"""Groups that change their type: from classic to consumer groups (KIP-848) and back.

| a group | becomes one of the other type |
|---|---|
| Empty, though an id was given to who has not joined with it | when a member of that type comes |
| classic, Stable | when its first consumer of the new protocol comes: the old ones go on as `classic_members` |
| consumer, with members of the classic protocol alone | when the last other one goes or comes back as one; all rejoin |

The second and the third only where `group.consumer.migration.policy` says so; the second not before members have given
up what they were to (KIP-429), the third not where the group is too large for one batch. What members have, they keep.
(Where one comes back so, as static members may (KIP-345), Kafka leaves the group Stable. Then nobody knows that it
leads, and sees that topics grow.)
"""

from collections.abc import Callable, Iterator

from broker.coordinator.core import BatchRoom
from broker.coordinator.groups.chores import takes_room
from broker.coordinator.groups.classic_group import STABLE, ClassicGroup
from broker.coordinator.groups.commands import ProtocolOffer
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.consumer_group import ConsumerGroup
from broker.coordinator.groups.consumer_records import (
    ClassicProtocol,
    ConsumerGroupRecord,
    ConsumerMember,
    ConsumerMemberRecord,
    ConsumerRecord,
    CurrentAssignment,
    CurrentAssignmentRecord,
    GroupEpoch,
    Partitions,
    TargetEpochRecord,
    TargetRecord,
)
from broker.coordinator.groups.rebalance import Rebalance
from broker.coordinator.groups.records import GroupRecord, StoredGroup, StoredMember
from broker.coordinator.groups.registry import Groups
from broker.coordinator.groups.subscription import (
    CONSUMER_PROTOCOL,
    PartitionsByName,
    encoded_assignment,
    read_assignment,
    read_subscription,
)
from broker.coordinator.groups.timers import Timer, TimerKind, Timers
from broker.coordinator.groups.topics import Topics
from broker.coordinator.groups.turn import Draft, Turn
from kraftpy.errors import (
    CoordinatorLoadInProgressError,
    GroupIdNotFoundError,
    GroupMaxSizeReachedError,
    InvalidRequestError,
    KraftpyError,
)

DOWNGRADE_BYTES_MAX = 700_000
"""Of a group that becomes a classic one: there is room in the batch for what is written beside it (`PART_BYTES`)."""


class Migration:
    """See the module's docstring."""

    def __init__(
        self,
        config: GroupConfig,
        groups: Groups,
        topics: Topics,
        timers: Timers,
        rebalance: Rebalance,
        is_stored: Callable[[str], bool],
    ) -> None:
        """`is_stored`: whether the log knows a classic group."""
        self._config = config
        self._groups = groups
        self._topics = topics
        self._timers = timers
        self._rebalance = rebalance
        self._is_stored = is_stored
        self._too_large: dict[str, None] = {}  # groups that the log has no room for as classic ones

    # --- to consumer groups ------------------------------------------------------------------------------------------

    def upgraded(self, group_id: str) -> ConsumerGroup | None:
        """The consumer group that a classic one would become; None: an empty one. Raises where it cannot."""
        classic = self._groups.classic(group_id)
        if classic is None or classic.is_empty:
            return None
        if not self._config.upgrades or classic.protocol_type != CONSUMER_PROTOCOL:
            raise GroupIdNotFoundError(f"group {group_id} is a classic group, and has members")
        if classic.state is not STABLE or self._awaits_partitions(classic):
            raise CoordinatorLoadInProgressError(f"group {group_id} rebalances: try again")
        if len(classic.members) >= self._config.consumer_members_max:
            raise GroupMaxSizeReachedError(f"group {group_id} has too many members (group.consumer.max.size)")
        group = ConsumerGroup(group_id)
        for record in self._conversion(classic):
            group.replay(record)
        return group

    def _awaits_partitions(self, classic: ClassicGroup) -> bool:
        """Whether a member joined with partitions that nobody was given: it has them until it joins once more, and then
        the others get them (KIP-429)."""
        given: dict[tuple[str, int], None] = {}
        owned: list[tuple[str, int]] = []
        for member in classic.members.values():
            said = read_subscription(member.metadata(classic.protocol))
            given.update(dict.fromkeys(_places(read_assignment(member.assignment) or ())))
            owned += () if said is None else _places(said.owned)
        return any(place not in given and self._topics.find(place[0]) is not None for place in owned)

    def consumer_draft(self, group_id: str, turn: Turn) -> Draft:
        """The consumer group, made of the classic one if need be."""
        group = self._groups.consumer(group_id)
        if group is not None:
            return Draft(group, turn)
        draft = Draft(ConsumerGroup(group_id), turn)
        classic = self._groups.classic(group_id)
        if classic is None:
            return draft
        if self._is_stored(group_id):
            turn.records.append(GroupRecord(group_id, None))
        for record in () if classic.is_empty else self._conversion(classic):
            draft.write(record)
        self._put_away(classic, turn)
        return draft

    def _conversion(self, classic: ClassicGroup) -> Iterator[ConsumerRecord]:
        """Raises `GroupIdNotFoundError` where nobody can read what its members say."""
        group_id, epoch = classic.group_id, classic.generation
        for member in classic.members.values():
            said = read_subscription(member.metadata(classic.protocol))
            assigned = read_assignment(member.assignment)
            if said is None or assigned is None:
                raise GroupIdNotFoundError(f"group {group_id} is a classic group whose members nobody can read")
            protocols = tuple((offer.name, offer.metadata) for offer in member.protocols)
            consumer = ConsumerMember(
                member.key.instance_id,
                None,
                member.client_id,
                member.client_host,
                tuple(sorted(dict.fromkeys(said.topics))),
                None,
                member.rebalance_timeout_ms,
                None,
                ClassicProtocol(member.session_timeout_ms, protocols),
            )
            partitions = self._by_id(assigned)
            yield ConsumerMemberRecord(group_id, member.member_id, consumer)
            yield TargetRecord(group_id, member.member_id, partitions)
            current = CurrentAssignment(epoch, epoch, assigned=partitions)
            yield CurrentAssignmentRecord(group_id, member.member_id, current)
        yield TargetEpochRecord(group_id, epoch)
        yield ConsumerGroupRecord(group_id, GroupEpoch(epoch))

    def _by_id(self, partitions: PartitionsByName) -> Partitions:
        known = ((self._topics.find(name), each) for name, each in partitions)
        return {topic.topic_id: tuple(sorted(each)) for topic, each in known if topic is not None and each}

    def _put_away(self, classic: ClassicGroup, turn: Turn) -> None:
        """Its members' sessions go on in the consumer group. Timers of ids that nobody has come with ring for nobody;
        where the log refuses the change, the group needs them."""
        sync_timer = Timer(TimerKind.SYNC, classic.group_id)
        awaits_syncs = self._timers.is_set(sync_timer)
        self._timers.cancel(sync_timer)
        for member in classic.members.values():
            self._rebalance.forget_session(classic, member.member_id)
            timer = Timer(TimerKind.CONSUMER_SESSION, classic.group_id, member.member_id)
            self._timers.set(timer, turn.now.monotonic_ms + member.session_timeout_ms)
        self._groups.remove(classic.group_id)

        def take_back(again: Turn) -> None:
            self._groups.add(classic)
            for member in classic.members.values():
                self._rebalance.keep_alive(classic, member, again)
            if awaits_syncs:
                self._timers.set(sync_timer, again.now.monotonic_ms + classic.rebalance_timeout_ms)

        turn.if_refused(lambda again, error: take_back(again))

    # --- to classic groups -------------------------------------------------------------------------------------------

    def downgrade_if_due(self, draft: Draft, turn: Turn) -> bool:
        """After a member of the consumer protocol went or was replaced. The generation is the latest that a member is
        in: so they hear of the rebalance, and may commit until they join it, and nobody's number goes back. False: it
        is not due."""
        group = draft.group
        shared = _shared_protocol(group)
        if not self._config.downgrades or shared is None or group.group_id in self._too_large:
            return False
        stored = self._stored(group, shared, turn)
        record, removal = GroupRecord(group.group_id, stored), list(group.removal())
        room = BatchRoom(1 + len(removal), DOWNGRADE_BYTES_MAX)
        if not all(takes_room(each, room) for each in (*removal, record)):
            return False
        offers = {
            member_id: tuple(ProtocolOffer(*each) for each in member.classic.protocols)
            for member_id, member in group.members.items()
            if member.classic is not None
        }
        for each in removal:
            draft.write(each)
        turn.records.append(record)
        classic = ClassicGroup.from_stored(group.group_id, stored)
        for member in classic.members.values():
            classic.offer(member, offers[member.member_id])
            self._rebalance.keep_alive(classic, member, turn)
        self._groups.add(classic)
        self._rebalance.prepare(classic, turn)
        turn.if_refused(lambda again, error: self._take_back(classic, error))
        self._cancel_timers(classic)
        return True

    def forget(self, group_id: str) -> None:
        """The consumer group is gone."""
        self._too_large.pop(group_id, None)

    def _stored(self, group: ConsumerGroup, protocol: str, turn: Turn) -> StoredGroup:
        members = []
        for member_id, member in group.members.items():
            assert member.classic is not None
            named = ((self._topics.name_of(each), found) for each, found in group.current(member_id).assigned.items())
            members.append(
                StoredMember(
                    member_id,
                    member.instance_id,
                    member.client_id,
                    member.client_host,
                    member.rebalance_timeout_ms,
                    member.classic.session_timeout_ms,
                    dict(member.classic.protocols)[protocol],
                    encoded_assignment((name, found) for name, found in named if name is not None),
                )
            )
        generation = max(group.current(member_id).epoch for member_id in group.members)
        # Nobody has been told to lead it: a coordinator that reads this has it rebalance (`GroupCore.loaded`).
        return StoredGroup(CONSUMER_PROTOCOL, generation, protocol, None, turn.now.wall_ms, tuple(members))

    def _cancel_timers(self, classic: ClassicGroup) -> None:
        """Nobody is to give anything up, or to join again, for what was a consumer group; it may become one again. (If
        the log refuses this, the next heartbeat of each has it join in time.)"""
        for member_id in classic.members:
            for kind in (TimerKind.REVOCATION, TimerKind.REJOIN):
                self._timers.cancel(Timer(kind, classic.group_id, member_id))

    def _take_back(self, classic: ClassicGroup, error: KraftpyError) -> None:
        if isinstance(error, InvalidRequestError):
            self._too_large[classic.group_id] = None
        self._timers.cancel(Timer(TimerKind.JOIN, classic.group_id))
        for member_id in classic.members:
            self._rebalance.forget_session(classic, member_id)
        self._groups.remove(classic.group_id)


def _places(partitions: PartitionsByName) -> Iterator[tuple[str, int]]:
    return ((name, partition) for name, each in partitions for partition in each)


def _shared_protocol(group: ConsumerGroup) -> str | None:
    """One that all members offer, who all speak the classic protocol; None: there is none."""
    offered: list[list[str]] = []
    for member in group.members.values():
        if member.classic is None:
            return None
        offered.append([name for name, _ in member.classic.protocols])
    if not offered:
        return None
    return next((name for name in offered[0] if all(name in each for each in offered)), None)
