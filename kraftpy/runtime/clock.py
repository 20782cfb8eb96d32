"""The system's clocks behind `ports.Clock`.

The monotonic clock starts anywhere and never goes back; only differences of it mean something. The wall clock may jump:
it stamps records and file ages, and decides no time-out.
"""

import time


class SystemClock:
    """`CLOCK_MONOTONIC` and `CLOCK_REALTIME`, in whole milliseconds."""

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000
