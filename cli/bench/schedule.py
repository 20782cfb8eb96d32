"""When each record is due. Pure.

A load with a rate is an open one: record `i` is due `i / rate` seconds after the start, whether the cluster has
answered the earlier ones or not, and its latency counts from then. So a cluster that stands still for a second is seen
by all the records that were due in it, and not only by the one that happened to be under way (Gil Tene's "coordinated
omission").

With rate 0 there is no schedule: a record is due when it is sent.

Invariants: `due_us` never goes back; `due_by(t)` is how many `i` there are with `due_us(i) <= t`.
"""

from fractions import Fraction

SECOND_US = 1_000_000
RATE_DENOMINATOR_MAX = 1_000  # a record in 1,000 s is the slowest step between two rates


class Schedule:
    """`rate` records a second, evenly."""

    __slots__ = ("_denominator", "_numerator", "rate")

    def __init__(self, rate: float) -> None:
        """Raises `ValueError` where `rate` is not above 0."""
        exact = Fraction(rate).limit_denominator(RATE_DENOMINATOR_MAX)
        if exact <= 0:
            raise ValueError(f"a rate of {rate} records a second has no schedule")
        self.rate = rate
        interval_us = SECOND_US / exact
        self._numerator = interval_us.numerator
        self._denominator = interval_us.denominator

    def due_us(self, index: int) -> int:
        """Microseconds after the start at which record `index` is due."""
        return index * self._numerator // self._denominator

    def due_by(self, elapsed_us: int) -> int:
        """How many records are due within the first `elapsed_us` microseconds, both ends included."""
        if elapsed_us < 0:
            return 0
        # floor(i * n / d) <= t  <=>  i * n / d < t + 1  <=>  i < (t + 1) * d / n
        return -(-(elapsed_us + 1) * self._denominator // self._numerator)

    def count_in(self, seconds: float) -> int:
        """How many records are due in so many seconds, at least 1; the end is excluded."""
        return max(self.due_by(round(seconds * SECOND_US) - 1), 1)
