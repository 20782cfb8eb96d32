"""ConsumerGroupHeartbeat (KIP-848): members of consumer groups come, stay and go; each is led to its target.

    heartbeat ─→ who is it ─→ what changed ─→ group epoch + 1 ─→ target assignment ─→ the member's next step ─→ answer

- Whoever leaves, falls silent, or does not give up in time what it was told to, is no member any more: the group's
  epoch rises, and the next heartbeat of anybody makes the new target.
- A static member that leaves for a while (epoch -2) keeps its target, until its session ends.
- Patterns are matched when a member comes with a new one, and again when topics came or went.
"""

from hashlib import blake2b
from typing import TYPE_CHECKING
from uuid import UUID

from broker.coordinator.core import Ticket, check_lengths
from broker.coordinator.groups.assignors import ASSIGNORS, members_to_assign
from broker.coordinator.groups.commands import (
    JOINS,
    LEAVES,
    LEAVES_FOR_A_WHILE,
    ConsumerHeartbeat,
    ConsumerHeartbeatAnswer,
    TopicsChanged,
)
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.consumer_group import ConsumerGroup, places
from broker.coordinator.groups.consumer_records import (
    ConsumerGroupRecord,
    ConsumerMember,
    ConsumerMemberRecord,
    CurrentAssignment,
    CurrentAssignmentRecord,
    GroupEpoch,
    MemberState,
    Partitions,
    PatternRecord,
    ResolvedPattern,
    TargetEpochRecord,
    TargetRecord,
)
from broker.coordinator.groups.migration import Migration
from broker.coordinator.groups.reconciliation import next_assignment
from broker.coordinator.groups.registry import Groups
from broker.coordinator.groups.timers import Timer, TimerKind, Timers
from broker.coordinator.groups.topics import Topics
from broker.coordinator.groups.turn import Draft, Turn
from broker.coordinator.pattern import NamePattern
from kraftpy.errors import (
    FencedInstanceIdError,
    FencedMemberEpochError,
    GroupMaxSizeReachedError,
    InvalidRegularExpressionError,
    InvalidRequestError,
    UnknownMemberIdError,
    UnreleasedInstanceIdError,
    UnsupportedAssignorError,
)

if TYPE_CHECKING:
    from random import Random

RETRY_PAUSE_MS = 1_000
"""After a log refused that a member is no member any more."""


class ConsumerHeartbeats:
    """See the module's docstring."""

    def __init__(
        self,
        config: GroupConfig,
        groups: Groups,
        topics: Topics,
        timers: Timers,
        migration: Migration,
        random: "Random",
    ) -> None:
        self._config = config
        self._groups = groups
        self._topics = topics
        self._timers = timers
        self._migration = migration
        self._random = random
        self._looked_ms: dict[str, int] = {}  # when a group's topics were looked at; not there: to be done

    # --- heartbeats --------------------------------------------------------------------------------------------------

    def heartbeat(self, ticket: Ticket, command: ConsumerHeartbeat, turn: Turn) -> None:
        """Raises what refuses it, and then nothing has changed."""
        _check(command, self._config)
        if command.epoch in (LEAVES, LEAVES_FOR_A_WHILE):
            self._leave(ticket, command, turn)
        else:
            self._stay(ticket, command, turn)

    def _stay(self, ticket: Ticket, command: ConsumerHeartbeat, turn: Turn) -> None:
        pattern = NamePattern(command.pattern) if command.pattern else None  # before anything is written
        group = self._existing(command)
        member_id = command.member.member_id
        if command.gives_member_id and not member_id:
            member_id = str(UUID(int=self._random.getrandbits(128), version=4))
        self.check_room(group, member_id)
        replaced_id = _validated(group, command, member_id)
        resolved = None if pattern is None else self._resolved(command.pattern or "", pattern, group, turn)

        draft = self._migration.consumer_draft(command.group_id, turn)
        before = draft.group.current(replaced_id or member_id)
        # Who joins says everything (KIP-848): what another of its name said, or its former self, is over.
        known = None if command.epoch == JOINS else draft.group.members.get(member_id)
        member = _updated(known, command)
        current = self.step(draft, member_id, member, replaced_id, command.owned, turn, resolved)
        is_full = command.rebalance_timeout_ms is not None and command.owned is not None
        lost_answer = command.epoch != before.epoch
        tells = is_full or command.epoch == JOINS or lost_answer or before.assigned != current.assigned
        answer = ConsumerHeartbeatAnswer(
            member_id,
            current.epoch,
            self._config.consumer_heartbeat_interval_ms,
            current.assigned if tells else None,
        )
        turn.answer_written(ticket, answer)

    def step(
        self,
        draft: Draft,
        member_id: str,
        member: ConsumerMember,
        replaced_id: str | None,
        owned: Partitions | None,
        turn: Turn,
        resolved: ResolvedPattern | None = None,
    ) -> CurrentAssignment:
        """The member is as it says; the target follows, if it must, and the member as far as it can."""
        if replaced_id is not None:
            self._replace(draft, replaced_id, member_id)
        self._update(draft, member_id, member, resolved, turn)
        self._assign_if_due(draft)
        current = self._reconcile(draft, member_id, owned, turn)
        self.keep_alive(draft.group, member_id, turn)
        return current

    def _existing(self, command: ConsumerHeartbeat) -> ConsumerGroup | None:
        """None: the member is the first. Raises where it cannot be."""
        group = self._groups.consumer(command.group_id)
        if group is not None:
            return group
        if command.epoch != JOINS:
            raise UnknownMemberIdError(f"there is no consumer group {command.group_id}")
        return self._migration.upgraded(command.group_id)

    def check_room(self, group: ConsumerGroup | None, member_id: str) -> None:
        if group is None or member_id in group.members:
            return
        if len(group.members) >= self._config.consumer_members_max:
            raise GroupMaxSizeReachedError(
                f"group {group.group_id} has {len(group.members)} members (group.consumer.max.size)"
            )

    def _replace(self, draft: Draft, old_id: str, member_id: str) -> None:
        """A static member has come back, by another id: it takes over what the old one had."""
        group = draft.group
        member, target = group.members[old_id], group.target(old_id)
        current = group.current(old_id)
        group_id = group.group_id
        for record in _removal(group_id, old_id):
            draft.write(record)
        draft.write(ConsumerMemberRecord(group_id, member_id, member))
        draft.write(TargetRecord(group_id, member_id, target))
        draft.write(CurrentAssignmentRecord(group_id, member_id, CurrentAssignment(assigned=current.assigned)))

    # --- what changed ------------------------------------------------------------------------------------------------

    def _update(
        self,
        draft: Draft,
        member_id: str,
        member: ConsumerMember,
        resolved: ResolvedPattern | None,
        turn: Turn,
    ) -> None:
        group_id = draft.group.group_id
        before = draft.group.members.get(member_id)
        read_before = () if before is None else draft.group.topics_of(before)
        if member != before:
            draft.write(ConsumerMemberRecord(group_id, member_id, member))
        pattern = member.pattern
        if pattern is not None and resolved is not None and draft.group.patterns.get(pattern) != resolved:
            draft.write(PatternRecord(group_id, pattern, resolved))
        if before is not None:
            self._drop_unused_pattern(draft, before.pattern)
        bumps = sorted(read_before) != sorted(draft.group.topics_of(member)) or draft.group.epoch == 0
        looks = self._take_look_if_due(group_id, turn)
        if looks:
            bumps = self._resolve_again(draft, turn) or bumps
        if bumps or looks:
            self._set_epoch(draft, bumps=bumps)

    def _set_epoch(self, draft: Draft, *, bumps: bool) -> None:
        """The next epoch, if anything changed that an assignment depends on."""
        group = draft.group
        metadata_hash = self._hash(group.topics())
        if bumps or metadata_hash != group.metadata_hash:
            draft.write(ConsumerGroupRecord(group.group_id, GroupEpoch(group.epoch + 1, metadata_hash)))

    def _hash(self, names: tuple[str, ...]) -> int:
        """Of what an assignment depends on. Racks are not in it, as the assignors do not look at them."""
        known = [topic for topic in map(self._topics.find, names) if topic is not None]
        if not known:
            return 0
        text = "".join(f"{topic.name}:{topic.topic_id}:{topic.partition_count};" for topic in known)
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)

    # --- patterns, topics --------------------------------------------------------------------------------------------

    def topics_changed(self, ticket: Ticket, command: TopicsChanged, turn: Turn) -> None:
        """Groups that read them, or may by a pattern, look again at the next heartbeat."""
        changed = frozenset(command.topics)
        for group in self._groups.consumers():
            if group.patterns or any(topic in changed for topic in group.topics()):
                self._looked_ms.pop(group.group_id, None)
        turn.answer(ticket, None)

    def _take_look_if_due(self, group_id: str, turn: Turn) -> bool:
        """Whether the group's topics are to be looked at in this turn; the next look is due an interval from now."""
        looked_ms = self._looked_ms.get(group_id)
        now_ms = turn.now.monotonic_ms
        if looked_ms is not None and now_ms - looked_ms < self._config.consumer_regex_refresh_interval_ms:
            return False
        self._looked_ms[group_id] = now_ms
        turn.if_refused(lambda again, error: self.forget(group_id))
        return True

    def look_if_due(self, draft: Draft, turn: Turn) -> None:
        """The next epoch, if its topics have changed: no more than that is done for who stays as it is."""
        if self._take_look_if_due(draft.group.group_id, turn):
            self._set_epoch(draft, bumps=self._resolve_again(draft, turn))

    def forget(self, group_id: str) -> None:
        """The group is gone, or never began."""
        self._looked_ms.pop(group_id, None)

    def _resolved(self, text: str, pattern: NamePattern, group: ConsumerGroup | None, turn: Turn) -> ResolvedPattern:
        known = None if group is None else group.patterns.get(text)
        if known is not None and known.metadata_version == self._topics.version:
            return known
        return self._resolve(pattern, turn)

    def _resolve(self, pattern: NamePattern, turn: Turn) -> ResolvedPattern:
        return ResolvedPattern(pattern.matching(self._topics.names()), self._topics.version, turn.now.wall_ms)

    def _resolve_again(self, draft: Draft, turn: Turn) -> bool:
        """Whether any pattern stands for other topics now."""
        has_changed = False
        for text, known in list(draft.group.patterns.items()):
            try:
                resolved = self._resolve(NamePattern(text), turn)
            except InvalidRegularExpressionError:
                continue  # it took too much work this time: it stands for what it did
            if resolved.topics != known.topics:
                draft.write(PatternRecord(draft.group.group_id, text, resolved))
                has_changed = True
        return has_changed

    def _drop_unused_pattern(self, draft: Draft, pattern: str | None) -> None:
        if pattern is not None and pattern in draft.group.patterns and not draft.group.uses_pattern(pattern):
            draft.write(PatternRecord(draft.group.group_id, pattern, None))

    # --- assigning ---------------------------------------------------------------------------------------------------

    def _assign_if_due(self, draft: Draft) -> None:
        """The target follows the group's epoch."""
        group = draft.group
        if group.epoch <= group.target_epoch:
            return
        topics = [topic for topic in map(self._topics.find, group.topics()) if topic is not None]
        members = members_to_assign(group, {topic.name: topic.topic_id for topic in topics})
        assign = ASSIGNORS[group.assignor(self._config.consumer_assignors[0])]
        targets = assign(members, {topic.topic_id: topic.partition_count for topic in topics})
        epoch = group.epoch
        for member_id, target in targets.items():
            if target != group.target(member_id):
                draft.write(TargetRecord(group.group_id, member_id, target))
        draft.write(TargetEpochRecord(group.group_id, epoch))

    def _reconcile(self, draft: Draft, member_id: str, owned: Partitions | None, turn: Turn) -> CurrentAssignment:
        group = draft.group
        before = group.current(member_id)
        current = next_assignment(group, member_id, group.target(member_id), owned)
        if current == before:
            return current
        draft.write(CurrentAssignmentRecord(group.group_id, member_id, current))
        timer = Timer(TimerKind.REVOCATION, group.group_id, member_id)
        if current.state is MemberState.UNREVOKED_PARTITIONS:
            wait_ms = group.members[member_id].rebalance_timeout_ms
            self._timers.set(timer, turn.now.monotonic_ms + wait_ms)
        elif self._timers.is_set(timer):
            due_ms = turn.now.monotonic_ms + group.members[member_id].rebalance_timeout_ms
            self._timers.cancel(timer)
            turn.if_refused(lambda again, error: self._timers.set(timer, due_ms))
        return current

    # --- leaving -----------------------------------------------------------------------------------------------------

    def _leave(self, ticket: Ticket, command: ConsumerHeartbeat, turn: Turn) -> None:
        group = self._groups.consumer(command.group_id)
        if group is None:
            raise UnknownMemberIdError(f"there is no consumer group {command.group_id}")
        member_id = command.member.member_id
        if command.member.instance_id is not None:
            _check_static(group, command, member_id)
        elif member_id not in group.members:
            raise UnknownMemberIdError(f"group {group.group_id} has no member {member_id}")
        draft = Draft(group, turn)
        if command.epoch == LEAVES_FOR_A_WHILE:
            current = group.current(member_id)
            gone = CurrentAssignment(LEAVES_FOR_A_WHILE, current.epoch, assigned=current.assigned)
            draft.write(CurrentAssignmentRecord(group.group_id, member_id, gone))
        else:
            self.remove(draft, member_id, turn)
        answer = ConsumerHeartbeatAnswer(member_id, command.epoch, self._config.consumer_heartbeat_interval_ms)
        turn.answer_written(ticket, answer)

    def remove(self, draft: Draft, member_id: str, turn: Turn) -> None:
        """It is no member any more: others will be given what it had."""
        group_id = draft.group.group_id
        member = draft.group.members[member_id]
        for record in _removal(group_id, member_id):
            draft.write(record)
        self._drop_unused_pattern(draft, member.pattern)
        if member.classic is not None or not self._migration.downgrade_if_due(draft, turn):
            self._set_epoch(draft, bumps=True)

    # --- time --------------------------------------------------------------------------------------------------------

    def loaded(self, turn: Turn) -> None:
        """Sessions begin anew."""
        for group in self._groups.consumers():
            for member_id, member in group.members.items():
                self.keep_alive(group, member_id, turn)
                if group.current(member_id).state is MemberState.UNREVOKED_PARTITIONS:
                    timer = Timer(TimerKind.REVOCATION, group.group_id, member_id)
                    self._timers.set(timer, turn.now.monotonic_ms + member.rebalance_timeout_ms)

    def keep_alive(self, group: ConsumerGroup, member_id: str, turn: Turn) -> None:
        classic = group.members[member_id].classic
        wait_ms = self._config.consumer_session_timeout_ms if classic is None else classic.session_timeout_ms
        timer = Timer(TimerKind.CONSUMER_SESSION, group.group_id, member_id)
        self._timers.set(timer, turn.now.monotonic_ms + wait_ms)

    def time_is_over(self, timer: Timer, turn: Turn) -> None:
        """Of a session, for a revocation, or to join again. Timers outlive their members."""
        group = self._groups.consumer(timer.group_id)
        if group is None:
            return
        draft = Draft(group, turn)
        if timer.member_id not in draft.group.members:
            return
        is_revoking = draft.group.current(timer.member_id).state is MemberState.UNREVOKED_PARTITIONS
        if timer.kind is TimerKind.REVOCATION and not is_revoking:
            return
        if timer.kind is TimerKind.REJOIN and draft.group.members[timer.member_id].classic is None:
            return
        self.remove(draft, timer.member_id, turn)
        due_ms = turn.now.monotonic_ms + RETRY_PAUSE_MS
        turn.if_refused(lambda again, error: self._timers.set(timer, due_ms))


def _removal(group_id: str, member_id: str) -> tuple[CurrentAssignmentRecord, TargetRecord, ConsumerMemberRecord]:
    return (
        CurrentAssignmentRecord(group_id, member_id, None),
        TargetRecord(group_id, member_id, None),
        ConsumerMemberRecord(group_id, member_id, None),
    )


def _updated(before: ConsumerMember | None, command: ConsumerHeartbeat) -> ConsumerMember:
    """What is not said stays."""
    old = before or ConsumerMember(None, None, "", "", (), None, 0, None)
    said = command.rebalance_timeout_ms
    return ConsumerMember(
        command.member.instance_id or old.instance_id,
        command.rack_id or old.rack_id,
        command.client_id,
        command.client_host,
        old.topics if command.topics is None else tuple(sorted(dict.fromkeys(command.topics))),
        old.pattern if command.pattern is None else command.pattern or None,
        old.rebalance_timeout_ms if said is None else said,
        command.assignor or old.assignor,
    )


# --- who may --------------------------------------------------------------------------------------------------------


def _check(command: ConsumerHeartbeat, config: GroupConfig) -> None:
    """What a request must say, whoever sends it."""
    if not command.group_id:
        raise InvalidRequestError("a group needs a name (group.id)")
    member = command.member
    check_lengths(
        member_id=member.member_id,
        instance_id=member.instance_id,
        client_id=command.client_id,
        rack_id=command.rack_id,
    )
    if command.epoch < LEAVES_FOR_A_WHILE:
        raise InvalidRequestError(f"there is no member epoch {command.epoch}")
    if not command.member.member_id and not (command.epoch == JOINS and command.gives_member_id):
        raise InvalidRequestError("a member needs an id")
    if command.member.instance_id == "" or command.rack_id == "":
        raise InvalidRequestError("an instance id or a rack is not empty")
    if command.epoch == LEAVES_FOR_A_WHILE and command.member.instance_id is None:
        raise InvalidRequestError("only static members leave for a while")
    if command.epoch == JOINS:
        if command.rebalance_timeout_ms is None or command.rebalance_timeout_ms < 0:
            raise InvalidRequestError("who joins says its rebalance time-out")
        if command.owned is None or any(True for _ in places(command.owned)):
            raise InvalidRequestError("who joins has no partitions, and says so")
        if command.topics is None and not command.pattern:
            raise InvalidRequestError("who joins says what it reads")
    if command.assignor is not None and command.assignor not in config.consumer_assignors:
        raise UnsupportedAssignorError(
            f"there is no assignor {command.assignor}, there are {', '.join(config.consumer_assignors)}"
        )


def _validated(group: ConsumerGroup | None, command: ConsumerHeartbeat, member_id: str) -> str | None:
    """The member id that this member takes the place of; None: it is new, or known as who it says it is."""
    if command.member.instance_id is None:
        if command.epoch != JOINS and (group is None or member_id not in group.members):
            raise UnknownMemberIdError(f"group {command.group_id} has no member {member_id}")
        if group is not None and member_id in group.members:
            _check_epoch(group, member_id, command)
        return None
    static_id = None if group is None else group.static_member(command.member.instance_id)
    if command.epoch != JOINS:
        assert group is not None
        _check_static(group, command, member_id)
        _check_epoch(group, member_id, command)
        return None
    if group is None or static_id is None:
        return None
    if group.current(static_id).epoch == LEAVES_FOR_A_WHILE or group.members[static_id].classic is not None:
        return static_id
    if static_id != member_id:
        raise UnreleasedInstanceIdError(f"{command.member.instance_id} is in use by another member")
    _check_epoch(group, member_id, command)  # its last answer was lost (Kafka refuses it until its session is over)
    return None


def _check_static(group: ConsumerGroup, command: ConsumerHeartbeat, member_id: str) -> None:
    static_id = group.static_member(command.member.instance_id)
    if static_id is None:
        raise UnknownMemberIdError(f"group {group.group_id} has no member {command.member.instance_id}")
    if static_id != member_id:
        raise FencedInstanceIdError(f"another consumer has taken the place of {command.member.instance_id}")


def _check_epoch(group: ConsumerGroup, member_id: str, command: ConsumerHeartbeat) -> None:
    """A member that did not get its last answer is an epoch behind, and has no more than it was given."""
    current = group.current(member_id)
    if command.epoch == current.epoch:
        return
    if command.epoch == current.previous_epoch < current.epoch and command.owned is not None:
        given = frozenset(places(current.assigned))
        if all(place in given for place in places(command.owned)):
            return
    raise FencedMemberEpochError(
        f"the member comes with epoch {command.epoch}, and is in {current.epoch}: it gives up all, and joins again"
    )
