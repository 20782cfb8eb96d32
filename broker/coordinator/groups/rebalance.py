"""The rounds of a classic group: when one begins, whom it waits for, and when it is over.

    prepare ─→ all join again, or the time is over ─→ complete_joining ─→ the leader assigns (`syncing`) ─→ Stable

- A rebalance waits as long as the slowest member asks (its rebalance time-out). Dynamic members that have not joined
  by then are no members any more; static ones keep their places until their sessions end.
- The first rebalance of an empty group waits `initial_rebalance_delay_ms` for others to come, and again as long as
  somebody came (KIP-134).
- Members that do not sync within the time after a join phase are no members any more either.
- Nobody's session ends while the coordinator owes it an answer; but one that is new, and may have gone without knowing
  its id, is given up after `NEW_MEMBER_JOIN_TIMEOUT_MS`.
"""

from broker.coordinator.groups.classic_group import (
    COMPLETING,
    EMPTY,
    PREPARING,
    STABLE,
    ClassicGroup,
    ClassicMember,
)
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.records import GroupRecord
from broker.coordinator.groups.timers import Timer, TimerKind, Timers
from broker.coordinator.groups.turn import Turn
from kraftpy.errors import KraftpyError, RebalanceInProgressError, UnknownMemberIdError

NEW_MEMBER_JOIN_TIMEOUT_MS = 5 * 60 * 1_000
STATIC_WAIT_MS_MIN = 1_000
"""Between two looks for static members of whom none has joined, however short their rebalance time-outs are."""


class Rebalance:
    """What `joining`, `syncing` and `membership` set going."""

    def __init__(self, config: GroupConfig, timers: Timers) -> None:
        self._config = config
        self._timers = timers

    # --- beginning ---------------------------------------------------------------------------------------------------

    def prepare(self, group: ClassicGroup, turn: Turn) -> None:
        """Everybody is to join again; whoever caused it has been noted already."""
        if group.state is PREPARING:
            self.advance(group, turn)
            return
        if group.state is COMPLETING:
            self.fail_waiting_syncs(group, RebalanceInProgressError("the group rebalances again"), turn)
        self._timers.cancel(Timer(TimerKind.SYNC, group.group_id))
        is_first = group.state is EMPTY
        group.move(PREPARING, turn.now.wall_ms)
        if is_first:
            delay_ms = self._config.initial_rebalance_delay_ms
            self._delay(group, delay_ms, max(0, group.rebalance_timeout_ms - delay_ms), turn)
        elif group.all_have_joined:
            self.complete_joining(group, turn)
        else:
            self._set_join_timer(group, group.rebalance_timeout_ms, turn)

    def advance(self, group: ClassicGroup, turn: Turn) -> None:
        """Somebody joined or went: perhaps nobody is waited for any more."""
        if group.state is PREPARING and group.previous_state is not EMPTY and group.all_have_joined:
            self.complete_joining(group, turn)

    def _delay(self, group: ClassicGroup, delay_ms: int, remaining_ms: int, turn: Turn) -> None:
        group.has_new_members = False
        group.delay_remaining_ms = remaining_ms
        self._set_join_timer(group, delay_ms, turn)

    def _set_join_timer(self, group: ClassicGroup, wait_ms: int, turn: Turn) -> None:
        self._timers.set(Timer(TimerKind.JOIN, group.group_id), turn.now.monotonic_ms + wait_ms)

    # --- time is over ------------------------------------------------------------------------------------------------

    def join_time_is_over(self, group: ClassicGroup, turn: Turn) -> None:
        remaining_ms = group.delay_remaining_ms
        if group.previous_state is EMPTY and group.has_new_members and remaining_ms > 0:
            delay_ms = min(self._config.initial_rebalance_delay_ms, remaining_ms)
            self._delay(group, delay_ms, remaining_ms - delay_ms, turn)
        else:
            self.complete_joining(group, turn)

    def sync_time_is_over(self, group: ClassicGroup, turn: Turn) -> None:
        for member_id in list(group.pending_syncs):
            self.drop(group, member_id, UnknownMemberIdError("the member did not sync in time"), turn)
        self.prepare(group, turn)

    def session_is_over(self, group: ClassicGroup, member_id: str, turn: Turn) -> None:
        self.remove(group, member_id, UnknownMemberIdError("the member's session is over"), turn)

    def pending_join_is_over(self, group: ClassicGroup, member_id: str, turn: Turn) -> None:
        group.pending_joins.pop(member_id, None)
        self.advance(group, turn)

    # --- the join phase is over --------------------------------------------------------------------------------------

    def complete_joining(self, group: ClassicGroup, turn: Turn) -> None:
        self._timers.cancel(Timer(TimerKind.JOIN, group.group_id))
        for member in list(group.members.values()):
            if member.join_ticket is None and member.key.instance_id is None:
                self.drop(group, member.member_id, UnknownMemberIdError("the member did not join in time"), turn)
        if group.members and not group.elect_joined_leader():
            # Only static members are left and none has come: they may still, until their sessions end.
            self._set_join_timer(group, max(group.rebalance_timeout_ms, STATIC_WAIT_MS_MIN), turn)
            return
        group.begin_generation(turn.now.wall_ms)
        if group.state is EMPTY:
            turn.records.append(GroupRecord(group.group_id, group.stored()))
        else:
            self._tell_joined(group, turn)

    def _tell_joined(self, group: ClassicGroup, turn: Turn) -> None:
        for member in group.members.values():
            ticket = group.end_wait_for_join(member)
            if ticket is not None:
                turn.answer(ticket, group.joined(member, tells_members=member.member_id == group.leader_id))
            member.is_new = False
            group.pending_syncs[member.member_id] = None
            self.keep_alive(group, member, turn)
        wait_ms = group.rebalance_timeout_ms
        self._timers.set(Timer(TimerKind.SYNC, group.group_id), turn.now.monotonic_ms + wait_ms)

    # --- syncs -------------------------------------------------------------------------------------------------------

    def synced(self, group: ClassicGroup, member: ClassicMember) -> None:
        """The member has asked for what is its own; nobody waits for that any more."""
        group.pending_syncs.pop(member.member_id, None)
        if not group.pending_syncs:
            self._timers.cancel(Timer(TimerKind.SYNC, group.group_id))

    def fail_waiting_syncs(self, group: ClassicGroup, error: KraftpyError, turn: Turn) -> None:
        for member in group.members.values():
            ticket, member.sync_ticket = member.sync_ticket, None
            if ticket is not None:
                turn.answer(ticket, error)
                self.keep_alive(group, member, turn)

    # --- members -----------------------------------------------------------------------------------------------------

    def keep_alive(self, group: ClassicGroup, member: ClassicMember, turn: Turn) -> None:
        """Its session begins again."""
        if member.is_new:
            wait_ms = NEW_MEMBER_JOIN_TIMEOUT_MS
        elif member.is_waiting:
            self._timers.cancel(_session(group, member.member_id))
            return
        else:
            wait_ms = member.session_timeout_ms
        self._timers.set(_session(group, member.member_id), turn.now.monotonic_ms + wait_ms)

    def forget_session(self, group: ClassicGroup, member_id: str) -> None:
        self._timers.cancel(_session(group, member_id))

    def remove(self, group: ClassicGroup, member_id: str, error: KraftpyError, turn: Turn) -> None:
        """It is no member any more, and the others share what it had."""
        self.drop(group, member_id, error, turn)
        if group.state in (STABLE, COMPLETING):
            self.prepare(group, turn)
        else:
            self.advance(group, turn)

    def drop(self, group: ClassicGroup, member_id: str, error: KraftpyError, turn: Turn) -> None:
        """It is no member any more, and that is all."""
        member = group.remove(member_id)
        self._timers.cancel(_session(group, member_id))
        if member is not None:
            for ticket in (member.join_ticket, member.sync_ticket):
                if ticket is not None:
                    turn.answer(ticket, error)


def _session(group: ClassicGroup, member_id: str) -> Timer:
    return Timer(TimerKind.SESSION, group.group_id, member_id)
