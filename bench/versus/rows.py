"""What the table is made of, as values: a measure, what it finds, the rows that compare it, and their targets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from bench.versus.contenders import Contender
from bench.versus.stage import Stage

Figures = Mapping[str, float]
"""What one run of a measure found, by name."""


class Better(Enum):
    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be reached: by the ratio ours : theirs, or (`absolute`) by our figure itself."""

    limit: float
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a figure of a measure, ours beside theirs."""

    label: str
    figure: str
    unit: str
    better: Better
    target: Target | None = None
    ours: Contender = Contender.OURS
    theirs: Contender = Contender.THEIRS
    disk_bytes: int = 0
    """Where what is flushed may be what the disk gives: bytes that reach it for each one of `unit`; otherwise 0."""


@dataclass(frozen=True, slots=True)
class Measure:
    """Something to run, on each of the contenders that its rows name."""

    name: str
    nodes: int
    run: Callable[[Stage], Figures]
    rows: Sequence[Row]
    settings: str
    """What a reader has to know of it: records, clients, options."""

    own_cluster: bool = False
    """Whether it gets one that nothing else has used."""

    own_start: bool = False
    """Whether it starts nodes itself."""

    @property
    def contenders(self) -> list[Contender]:
        """Those that its rows compare, in the order of `Contender`."""
        wanted = [contender for row in self.rows for contender in (row.ours, row.theirs)]
        return [contender for contender in Contender if contender in wanted]
