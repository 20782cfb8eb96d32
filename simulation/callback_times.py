"""How long a user's program takes in the callbacks of a rebalance: it opens files, looks into its own store, calls a
database that does not answer.

In runs of even seeds some programs are slow there; those of odd seeds are what they were before there were slow ones.
Most of a slow program's callbacks take some milliseconds, a few longer than a heartbeat's interval, and some longer
than the group waits for a poll, so that the member is thrown out meanwhile. Chance is their own, so that all else that
a seed draws is as it was.
"""

from random import Random
from typing import Final

PROGRAMS_RATE: Final = 0.5  # that are slow, in a run that has any
RANGES_S: Final = ((0.002, 0.05), (0.05, 0.7), (0.7, 2.5), (5.1, 7.5))
"""Up to a heartbeat's interval, from one on, and longer than a member may go without a poll."""
WEIGHTS: Final = (45, 30, 19, 6)


class CallbackTimes:
    """Those of one program, by its name; from `until_us` on its callbacks are done at once, so that groups settle."""

    def __init__(self, seed: int, name: str, until_us: int) -> None:
        self._random = Random(f"{seed}/callbacks/{name}")
        self._until_us = until_us
        self._are_slow = seed % 2 == 0 and self._random.random() < PROGRAMS_RATE

    def draw_s(self, now_us: int) -> float:
        """What a callback that begins now takes, seconds; 0: it does not wait at all."""
        if not self._are_slow or now_us >= self._until_us:
            return 0.0
        return self._random.uniform(*self._random.choices(RANGES_S, WEIGHTS)[0])
