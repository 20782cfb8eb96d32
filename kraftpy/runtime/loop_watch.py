"""How long the event loop of this process has stood still: between two turns nobody is served.

A timer looks at the clock every `INTERVAL_S`, and less often where there was next to nothing to do for a second; how
late it comes is how long something held the loop. It misses up to one interval of a stall that began before the timer
was due. Where the system tells (Linux), the time that the loop's
thread waited for a processor, because others had it, is told apart: only the rest is the node's own doing. Of that,
what it computed is told apart from waiting for the disk, or for another thread of its own that has the interpreter.

What is told is what was found; nothing is decided here.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

INTERVAL_S = 0.01
"""12 µs of processor time each while the loop is busy, and 60 where a look is all that wakes it: 0.6 % of a core."""

REST_INTERVAL_S = 0.1
"""While a node is at rest: half of the least stall that is worth a line."""

BUSY_RUN_S = 0.002
"""What the loop of a node at rest computes at most within `INTERVAL_S`: a heartbeat or a fetch takes 0.5 ms."""

REST_RUN_S = 0.01
"""The same within `REST_INTERVAL_S`, where several of them come together."""

REST_AFTER_LOOKS = 100
"""A burst now and then, as where the quorum's leader is asked by several at once, takes half of them back."""

TOLD_MS = 200.0
"""A stall of its own doing that is worth a line: longer than anything that a node does on its loop."""

WAITED_TOLD_MS = 1000.0
"""A wait for a processor that is worth a line: as long as half of the silence after which a leader is doubted."""

TOLD_AGAIN_S = 60.0
"""Until another one, unless it is worse."""


class Stall(NamedTuple):
    """One time that the loop was late. Its own doing took `lasted_ms - waited_ms`."""

    lasted_ms: float
    waited_ms: float  # for a processor; at most `lasted_ms`

    @property
    def own_ms(self) -> float:
        return self.lasted_ms - self.waited_ms

    @property
    def gravity(self) -> float:
        """More than 1: worth a line."""
        return max(self.own_ms / TOLD_MS, self.waited_ms / WAITED_TOLD_MS)


class LoopWatch:
    """Watches the loop that it is started on, until it is stopped."""

    def __init__(
        self, tell: Callable[[Stall], None] = lambda stall: None, rested: Callable[[], None] = lambda: None
    ) -> None:
        """`tell` hears of stalls with a gravity of more than 1, now and then; `rested` is called when rest begins."""
        self.longest_ms = 0.0
        """The longest stall since the start."""
        self.longest_own_ms = 0.0
        """The longest part of one that was not waiting for a processor."""
        self.longest_run_ms = 0.0
        """The most that the thread computed between two looks; up to an interval of it may have been several turns."""
        self._tell = tell
        self._rested = rested
        self._told_gravity = 1.0
        self._told_at_s = 0.0
        self._since_s = 0.0
        self._waited_ns = 0
        self._ran_s = 0.0
        self._interval_s = INTERVAL_S
        self._looks_at_rest = 0  # counted up to where it is sure, and halved by one that is not
        self._schedstat: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """On the running loop, from its thread."""
        try:
            self._schedstat = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        except OSError:
            self._schedstat = None
        self._again()

    def stop(self) -> None:
        """May be repeated."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        schedstat, self._schedstat = self._schedstat, None
        if schedstat is not None:
            os.close(schedstat)

    def _again(self) -> None:
        self._interval_s = REST_INTERVAL_S if self._looks_at_rest >= REST_AFTER_LOOKS else INTERVAL_S
        self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._look)
        self._since_s = time.monotonic()
        self._waited_ns = self._read_waited_ns()
        self._ran_s = time.thread_time()

    def _look(self) -> None:
        run_s = time.thread_time() - self._ran_s
        if run_s >= (BUSY_RUN_S if self._interval_s == INTERVAL_S else REST_RUN_S):
            self._looks_at_rest //= 2
        elif self._looks_at_rest < REST_AFTER_LOOKS:
            self._looks_at_rest += 1
            if self._looks_at_rest == REST_AFTER_LOOKS:
                self._rested()
        self.longest_run_ms = max(self.longest_run_ms, run_s * 1000)
        lasted_ms = (time.monotonic() - self._since_s - self._interval_s) * 1000
        if lasted_ms > min(self.longest_own_ms, TOLD_MS):
            waited_ms = (self._read_waited_ns() - self._waited_ns) / 1e6
            self._note(Stall(lasted_ms, min(waited_ms, lasted_ms)))
        self._again()

    def _note(self, stall: Stall) -> None:
        self.longest_ms = max(self.longest_ms, stall.lasted_ms)
        self.longest_own_ms = max(self.longest_own_ms, stall.own_ms)
        now_s = time.monotonic()
        if stall.gravity > (1.0 if now_s - self._told_at_s > TOLD_AGAIN_S else self._told_gravity):
            self._told_gravity, self._told_at_s = stall.gravity, now_s
            self._tell(stall)

    def _read_waited_ns(self) -> int:
        """Second of the three numbers: time on a queue of a processor."""
        if self._schedstat is None:
            return 0
        return int(os.pread(self._schedstat, 64, 0).split()[1])
