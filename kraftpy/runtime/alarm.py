"""Waiting with a deadline, for loops that wake often and mostly not because of their deadline.

`asyncio.timeout` cancels its task and makes an error of that; a timer for each turn of a loop is made and cancelled
again. Both cost more than what most turns do. Here a timer sets the event that is waited for anyway, and one that comes
too early, because the deadline was put off meanwhile, looks again.
"""

import asyncio
from collections.abc import Callable

from kraftpy.runtime.ports import Clock


class Alarm:
    """Calls `ring` once the clock has reached a time, which may be put off or forgotten at no cost."""

    def __init__(self, clock: Clock, ring: Callable[[], object]) -> None:
        self._clock = clock
        self._ring = ring
        self._at_ms: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = 0  # when it comes; not after `_at_ms`, while there are both

    def set(self, at_ms: int | None) -> None:
        """Ring at that time (monotonic) and at no other; None: not at all."""
        self._at_ms = at_ms
        if at_ms is not None and (self._timer is None or at_ms < self._timer_ms):
            self._start(at_ms)

    def cancel(self) -> None:
        """Ring no more, and hold nothing."""
        self._at_ms = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self, at_ms: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms = at_ms
        delay_ms = max(0, at_ms - self._clock.monotonic_ms())
        self._timer = asyncio.get_running_loop().call_later(delay_ms / 1_000, self._look)

    def _look(self) -> None:
        self._timer = None
        at_ms = self._at_ms
        if at_ms is None:
            return
        if self._timer_ms < at_ms:
            self._start(at_ms)
        else:
            self._at_ms = None
            self._ring()


async def is_set_within(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait until an event is set; False after `timeout_s`, and then look at what there is: it may just have come.

    For an event that nobody else waits for.
    """
    if event.is_set():
        return True
    too_late = False

    def ring() -> None:
        nonlocal too_late
        if not event.is_set():  # else somebody was in time, and whoever waits is on its way
            too_late = True
            event.set()

    timer = asyncio.get_running_loop().call_later(max(timeout_s, 0.0), ring)
    try:
        await event.wait()
    finally:
        timer.cancel()
        if too_late:
            event.clear()
    return not too_late
