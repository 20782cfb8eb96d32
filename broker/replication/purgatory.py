"""Where requests wait: until an offset of a partition is passed, or until their time is over.

Nothing here polls. Whoever moves an offset calls `OffsetWaits.passed`; time-outs of all requests share one heap and one
timer of the loop (`Deadlines`), not a task each.

Invariants
- A request is settled once: later settlements, and its deadline, find it done and do nothing.
- What is done leaves soon: when more than half of a heap is. So the space is within a factor of two of what really
  waits, and a wait costs O(log n), amortized.
- A deadline that the loop itself made late (the process was stopped, or busy) is judged one round later, after the
  messages that arrived meanwhile were handled: they may bring what the request waits for.
"""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Protocol

from kraftpy.errors import KraftpyError
from kraftpy.runtime.ports import Clock

LATE_MS = 50
COMPACT_FROM = 64


class Parked(Protocol):
    """A request that waits for offsets in some of its slots, one for each partition."""

    def settle(self, slot: int, error: KraftpyError | None) -> None:
        """The offset of `slot` was passed, or never will be (`error`)."""

    @property
    def is_done(self) -> bool: ...


class OffsetWaits:
    """Those who wait until one offset of one partition has passed theirs."""

    __slots__ = ("_compact_at", "_heap", "_sequence")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Parked, int]] = []  # (offset, order of arrival, request, slot)
        self._sequence = count()
        self._compact_at = COMPACT_FROM

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, offset: int, request: Parked, slot: int) -> None:
        """Settle `slot` of `request` once the offset is at least `offset`."""
        if len(self._heap) >= self._compact_at:
            self._heap = [entry for entry in self._heap if not entry[2].is_done]
            heapq.heapify(self._heap)
            self._compact_at = max(COMPACT_FROM, 2 * len(self._heap))
        heapq.heappush(self._heap, (offset, next(self._sequence), request, slot))

    def passed(self, offset: int, error: KraftpyError | None = None) -> None:
        """The offset is now `offset`: settle everybody up to it, in offset order, with `error` if there is one."""
        heap = self._heap
        while heap and heap[0][0] <= offset:
            _, _, request, slot = heapq.heappop(heap)
            request.settle(slot, error)

    def fail(self, error: KraftpyError) -> None:
        """Settle everybody with `error`: the offset will not move under this leader any more."""
        waiting, self._heap = sorted(self._heap), []
        for _, _, request, slot in waiting:
            request.settle(slot, error)


class Deadline:
    """A handle: `cancel` when the request was answered in time."""

    __slots__ = ("_deadlines", "callback", "due_ms")

    def __init__(self, deadlines: "Deadlines", due_ms: int, callback: Callable[[], None]) -> None:
        self._deadlines = deadlines
        self.due_ms = due_ms
        self.callback: Callable[[], None] | None = callback  # None: cancelled, or called

    def cancel(self) -> None:
        """Its timer may still ring, once, for nobody."""
        if self.callback is not None:
            self.callback = None
            self._deadlines.note_cancelled()


class Deadlines:
    """Callbacks at times of the monotonic clock. One heap, one timer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Deadline]] = []  # (when it is due in ms, order of arrival, handle)
        self._cancelled_count = 0  # of those in the heap
        self._sequence = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled_count

    def add(self, due_ms: int, callback: Callable[[], None]) -> Deadline:
        deadline = Deadline(self, due_ms, callback)
        heapq.heappush(self._heap, (due_ms, next(self._sequence), deadline))
        if self._timer is None or due_ms < self._timer_ms:
            self._arm()
        return deadline

    def note_cancelled(self) -> None:
        self._cancelled_count += 1
        if self._cancelled_count >= COMPACT_FROM and 2 * self._cancelled_count > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled_count = 0

    def close(self) -> None:
        """Forget everything; nothing is called."""
        for _, _, deadline in self._heap:
            deadline.callback = None
        self._heap = []
        self._cancelled_count = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _first(self) -> Deadline | None:
        """The earliest that still waits; what was cancelled before it leaves."""
        heap = self._heap
        while heap:
            deadline = heap[0][2]
            if deadline.callback is not None:
                return deadline
            heapq.heappop(heap)
            self._cancelled_count -= 1
        return None

    def _arm(self) -> None:
        first = self._first()
        if first is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms = first.due_ms
        delay_ms = max(0, first.due_ms - self._clock.monotonic_ms())
        self._timer = asyncio.get_running_loop().call_later(delay_ms / 1000, self._ring)

    def _ring(self) -> None:
        if self._clock.monotonic_ms() - self._timer_ms > LATE_MS:
            self._timer = asyncio.get_running_loop().call_later(0.001, self._judge)
        else:
            self._judge()

    def _judge(self) -> None:
        self._timer = None
        now_ms = self._clock.monotonic_ms()
        while (first := self._first()) is not None and first.due_ms <= now_ms:
            heapq.heappop(self._heap)
            callback, first.callback = first.callback, None
            assert callback is not None
            callback()
        if self._timer is None:
            self._arm()
