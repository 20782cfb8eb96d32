"""A node's clocks: one that only goes forward, and the wall's, which an operator or NTP may set to anything.

The monotonic clock is the loop's own time for that node (`Loop.local_us`), so that a node whose clock runs fast also
sees its timers fire early. It never goes back; only the wall's clock jumps.
"""

from simulation.lane import Lane
from simulation.loop import Loop

WALL_START_MS = 1_700_000_000_000  # when every simulated history begins
DRIFT_PPM_MAX = 200_000


class SimulatedClock:
    """The clock port of one life of a node."""

    def __init__(self, loop: Loop, lane: Lane, wall_offset_ms: int = 0) -> None:
        self._loop = loop
        self._lane = lane
        self.wall_offset_ms = wall_offset_ms

    def monotonic_ms(self) -> int:
        lane = self._lane
        if lane.rate == 1.0 and not lane.base_us and not lane.origin_us:
            return self._loop.now_us // 1000
        return int(self._loop.local_us(lane)) // 1000

    def wall_ms(self) -> int:
        return WALL_START_MS + self.monotonic_ms() + self.wall_offset_ms

    def jump(self, by_ms: int) -> None:
        """Set the wall's clock forward or back."""
        self.wall_offset_ms += by_ms

    def drift(self, parts_per_million: int) -> None:
        """From now on run fast (above zero) or slow by that much."""
        assert abs(parts_per_million) <= DRIFT_PPM_MAX
        self._loop.set_clock(self._lane, 1.0 + parts_per_million / 1e6)
