"""Long pieces of work, done in parts: one part a turn, so that batches stay small and commands get in between."""

from collections import deque
from collections.abc import Callable

from broker.coordinator.core import BatchRoom
from broker.coordinator.groups.consumer_records import (
    ConsumerMemberRecord,
    CurrentAssignmentRecord,
    PatternRecord,
    TargetRecord,
)
from broker.coordinator.groups.records import GroupRecord, GroupsRecord, StoredGroup
from broker.coordinator.groups.timers import Timer, TimerKind, Timers
from broker.coordinator.groups.turn import Turn

PART_RECORDS = 1_000
PART_BYTES = 200_000
"""Written by one part at most, a fifth of what a log takes (max.message.bytes). A group's name may have 32 KB."""
RETRY_PAUSE_MS = 1_000
"""After a log refused what a part had to write."""

Chore = Callable[[Turn], bool]
"""Does the next part; True: there is more to do."""

_TIMER = Timer(TimerKind.CHORE)


def part_room() -> BatchRoom:
    """For one part."""
    return BatchRoom(PART_RECORDS, PART_BYTES)


def takes_room(record: GroupsRecord, room: BatchRoom) -> bool:
    """Of what is written when time is over: deletions, and classic groups. False: it is more than fits."""
    match record:
        case ConsumerMemberRecord() | TargetRecord() | CurrentAssignmentRecord():
            return room.take(record.group_id, record.member_id)
        case PatternRecord():
            return room.take(record.group_id, record.pattern)
        case GroupRecord(group_id, StoredGroup(members=members)):
            names = (name for each in members for name in (each.member_id, each.client_id, each.client_host))
            said_bytes = sum(60 + len(each.subscription) + len(each.assignment) for each in members)
            return room.take(group_id, *names, other_bytes=60 + said_bytes)
        case _:
            return room.take(record.group_id)


class Chores:
    """One goes on at a time, in the order in which they came. Their number is bounded by that of waiting commands."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._chores: deque[Chore] = deque()

    def begin(self, chore: Chore, turn: Turn) -> None:
        """Its first part now, where nothing else goes on."""
        self._chores.append(chore)
        if len(self._chores) == 1:
            self.go_on(turn)

    def begin_later(self, chore: Chore, turn: Turn) -> None:
        """After a pause, and so does everything that waits."""
        self._chores.append(chore)
        self._timers.set(_TIMER, turn.now.monotonic_ms + RETRY_PAUSE_MS)

    def go_on(self, turn: Turn) -> None:
        """One part of the first."""
        if self._chores and not self._chores[0](turn):
            self._chores.popleft()
        if self._chores:
            self._timers.set(_TIMER, turn.now.monotonic_ms)

    def stop_first(self) -> None:
        """The one whose part was done last will do no more."""
        self._chores.popleft()
