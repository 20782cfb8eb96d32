"""What is due when: deadlines by key, cheap to move forward as every heartbeat does.

A deadline that moves to later leaves its place in the heap; the place is looked at when its old time comes, and then
moves. So a heartbeat costs a write to a dictionary.
"""

from enum import Enum
from heapq import heapify, heappop, heappush
from typing import NamedTuple

_STALE_MAX = 1_000


class TimerKind(Enum):
    """What is over when the time comes."""

    SESSION = "a member's session"
    PENDING_JOIN = "the patience with a member that was given an id and never came with it"
    JOIN = "the time to join a rebalance"
    SYNC = "the time to sync after it"
    CONSUMER_SESSION = "the session of a member of a consumer group"
    REVOCATION = "the time that such a member has to give up partitions"
    REJOIN = "the time that a member of the classic protocol has to join a consumer group again"
    CHORE = "a pause between two parts of a long piece of work"
    EXPIRY = "the interval between looks for expired offsets"


class Timer(NamedTuple):
    """A key."""

    kind: TimerKind
    group_id: str = ""
    member_id: str = ""


class Timers:
    """See the module's docstring. Times are of the monotonic clock, in milliseconds."""

    def __init__(self) -> None:
        self._due_ms: dict[Timer, int] = {}
        self._places: list[tuple[int, int, Timer]] = []  # a heap: time, number of the place, key
        self._place_of: dict[Timer, int] = {}  # the number of each key's valid place
        self._next_number = 0

    def set(self, timer: Timer, due_ms: int) -> None:
        """Once; a second time moves it."""
        before = self._due_ms.get(timer)
        self._due_ms[timer] = due_ms
        if before is None or due_ms < before:
            self._push(timer, due_ms)
            self._clear_out()

    def cancel(self, timer: Timer) -> None:
        if self._due_ms.pop(timer, None) is not None:
            del self._place_of[timer]
            self._clear_out()

    def is_set(self, timer: Timer) -> bool:
        return timer in self._due_ms

    def next_ms(self) -> int | None:
        self._settle()
        return self._places[0][0] if self._places else None

    def pop_due(self, now_ms: int) -> Timer | None:
        """The one that is due first, which is set no more; None: nothing is."""
        self._settle()
        if not self._places or self._places[0][0] > now_ms:
            return None
        timer = heappop(self._places)[2]
        del self._due_ms[timer], self._place_of[timer]
        return timer

    def _push(self, timer: Timer, due_ms: int) -> None:
        self._next_number += 1
        self._place_of[timer] = self._next_number
        heappush(self._places, (due_ms, self._next_number, timer))

    def _settle(self) -> None:
        """Until the first place is one that counts, at its time."""
        while self._places:
            place_ms, number, timer = self._places[0]
            if self._place_of.get(timer) != number:
                heappop(self._places)
            elif self._due_ms[timer] > place_ms:
                heappop(self._places)
                self._push(timer, self._due_ms[timer])
            else:
                return

    def _clear_out(self) -> None:
        """Drop the places that no longer count, once they are many: cancelled timers must not pile up."""
        if len(self._places) <= 2 * len(self._due_ms) + _STALE_MAX:
            return
        self._places = [each for each in self._places if self._place_of.get(each[2]) == each[1]]
        heapify(self._places)
