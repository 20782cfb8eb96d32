"""A histogram of times with a fixed relative error, however long a run is: counters in log-linear buckets. Pure.

The shape is HdrHistogram's (Gil Tene): below 2,048 every value has a counter of its own; from there on each power of
two is cut into 1,024 equal buckets. So a value is known to one part in 1,024, three significant digits, from 0 to
2**64, and recording is an addition.

| value | shift | bucket | holds |
|---|---|---|---|
| 5 | 0 | 5 | 5 |
| 2,047 | 0 | 2,047 | 2,047 |
| 2,048 | 1 | 2,048 | 2,048 and 2,049 |
| 1,000,000 | 9 | 11,169 | 999,936 to 1,000,447 |

Invariants: a value lies in exactly one bucket; buckets are in the order of their values; `count` is the sum of all
counters; `least`, `most` and `total` are exact.
"""

from array import array
from collections.abc import Mapping

EXACT_BITS = 11  # 2**11 values with counters of their own: an error below 2**-10 above them
VALUE_BITS_MAX = 64

_HALF = 1 << (EXACT_BITS - 1)
_BUCKETS = (VALUE_BITS_MAX - EXACT_BITS) * _HALF + 2 * _HALF


class Histogram:
    """Counts values. In this command they are microseconds.

    One thread may record while others read: `count` is raised last, so there are never fewer counted than it says.
    """

    __slots__ = ("_counts", "count", "least", "most", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0  # the sum of all values
        self.least = 0
        self.most = 0
        self._counts = array("Q", bytes(8 * _BUCKETS))  # 440 KB

    def record(self, value: int) -> None:
        """Count one value, 0 <= value < 2**64. What is less than 0 (a clock that is read twice) counts as 0."""
        if value < 0:
            value = 0
        shift = value.bit_length() - EXACT_BITS
        self._counts[value if shift <= 0 else shift * _HALF + (value >> shift)] += 1  # _bucket_of, without the call
        if value > self.most:
            self.most = value
        if value < self.least or not self.count:
            self.least = value
        self.count += 1
        self.total += value

    def at_percentile(self, percentile: float) -> int:
        """The value that so many percent of all values are not above: the highest of its bucket, and at most `most`.

        0 where nothing was recorded; 0 % is `least`.
        """
        if not self.count or percentile <= 0:
            return self.least
        wanted = min(max(_ceil(percentile / 100 * self.count), 1), self.count)
        seen = 0
        for bucket in range(_bucket_of(self.least), _bucket_of(self.most) + 1):
            seen += self._counts[bucket]
            if seen >= wanted:
                return min(_highest_of(bucket), self.most)
        raise AssertionError("the counters are fewer than the values")

    @property
    def mean(self) -> float:
        """0.0 where nothing was recorded."""
        return self.total / self.count if self.count else 0.0

    def add(self, other: "Histogram") -> None:
        """Count all that `other` has counted."""
        if not other.count:
            return
        for bucket in range(_bucket_of(other.least), _bucket_of(other.most) + 1):
            self._counts[bucket] += other._counts[bucket]
        self.least = min(self.least, other.least) if self.count else other.least
        self.most = max(self.most, other.most)
        self.count += other.count
        self.total += other.total


PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}


def milliseconds(histogram: Histogram) -> Mapping[str, float | None]:
    """What is told of a histogram of microseconds: mean, percentiles and the longest, in milliseconds.

    None for each where nothing was recorded.
    """
    found: dict[str, float] = {"mean": histogram.mean}
    found |= {name: histogram.at_percentile(percentile) for name, percentile in PERCENTILES.items()}
    found["max"] = histogram.most
    return {name: round(value / 1_000, 3) if histogram.count else None for name, value in found.items()}


def _bucket_of(value: int) -> int:
    shift = value.bit_length() - EXACT_BITS
    if shift <= 0:
        return value
    return shift * _HALF + (value >> shift)


def _highest_of(bucket: int) -> int:
    """The highest value that lies in a bucket."""
    shift = max(bucket // _HALF - 1, 0)
    return (((bucket - shift * _HALF) + 1) << shift) - 1


def _ceil(value: float) -> int:
    """Up to the next whole number; 99.9 % of 1,000 is 999 although the product of floats lies a little above."""
    return -int(-value // 1) if abs(value - round(value)) > 1e-6 else round(value)
