"""What of a soak is flat, by its samples. Pure.

The first tenth does not count: caches fill, and retention has nothing to delete yet. Of the rest the first quarter is
compared with the last one, by medians, so that neither one stall nor one quiet moment decides.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.soak.watch import Sample

WARM_UP = 0.1
QUARTER = 0.25


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what it was in the first quarter and in the last, and the most that this may have grown to."""

    name: str
    unit: str
    first: float
    last: float
    most: float
    limit: float

    @property
    def is_flat(self) -> bool:
        return self.last <= self.limit


def judged(samples: Sequence[Sample]) -> list[Finding]:
    """Memory and files may grow by a tenth (files: and ten), the disk by a quarter, waits by a half (and a ms).

    Raises `ValueError` for too few samples.
    """
    counted = samples[int(len(samples) * WARM_UP) :]
    quarter = int(len(counted) * QUARTER)
    if quarter < 2:
        raise ValueError(f"{len(samples)} looks are too few to judge by")
    return [
        _finding(name, unit, of, counted, quarter, factor, extra)
        for name, unit, of, factor, extra in (
            ("RssAnon of a node", "MB", lambda sample: max(sample.memory_mb), 1.1, 0.0),
            ("open files of a node", "", lambda sample: max(sample.files), 1.1, 10.0),
            ("logs of a node", "MB", lambda sample: max(sample.disk_mb), 1.25, 0.0),
            ("end to end, p50", "ms", lambda sample: sample.waits.get("p50"), 1.5, 1.0),
            ("end to end, p99", "ms", lambda sample: sample.waits.get("p99"), 1.5, 1.0),
        )
    ]


def _finding(
    name: str,
    unit: str,
    of: Callable[[Sample], float | None],
    samples: Sequence[Sample],
    quarter: int,
    factor: float,
    extra: float,
) -> Finding:
    seen = [of(sample) for sample in samples]
    first, last = (
        statistics.median([each for each in part if each is not None] or [0.0])
        for part in (seen[:quarter], seen[-quarter:])
    )
    most = max((each for each in seen if each is not None), default=0.0)
    return Finding(name, unit, first, last, most, first * factor + extra)


def elections(samples: Sequence[Sample]) -> Iterator[str]:
    """Every change of a leader's epoch between two looks."""
    for before, after in pairwise(samples):
        for name, epoch in after.epochs.items():
            if epoch != before.epochs.get(name, epoch):
                yield f"{name}: epoch {before.epochs[name]} → {epoch}, {after.at_s:.0f} s after the start"
