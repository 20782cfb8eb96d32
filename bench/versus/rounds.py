"""Alternation and what is concluded from it: who runs when, and medians of ratios. Pure.

A ratio is ours : theirs of one round, so that both met the same hour of the same machine; a row is the median of its
rounds' ratios. Every second round goes through the contenders the other way round: what the one before leaves behind
(heat, dirty pages, a fuller disk) is not always the same one's burden.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.versus.contenders import Contender
from bench.versus.rows import Better, Measure, Row

DISK_SHARE_MET = 0.85
"""A flushed row that takes so much of what the disk gives counts as met."""


@dataclass(frozen=True, slots=True)
class Step:
    """One life of one cluster: the measures that run on it, in order."""

    round: int
    contender: Contender
    nodes: int
    measures: Sequence[Measure]

    @property
    def needs_cluster(self) -> bool:
        return not self.measures[0].own_start


@dataclass(frozen=True, slots=True)
class Taken:
    """What a measure found on a contender in a round, or why it failed."""

    figures: Mapping[str, float] = field(default_factory=dict)
    error: str = ""


Place = tuple[int, str, str]
"""Round, measure and contender, by their names."""

Results = dict[Place, Taken]


def plan(measures: Sequence[Measure], rounds: int, contenders: Sequence[Contender]) -> list[Step]:
    """All steps, in order. Never is there more than one cluster."""
    return [
        Step(number, contender, group[0].nodes, tuple(wanted))
        for number in range(rounds)
        for group in groups(measures)
        for contender in alternated(contenders, number)
        if (wanted := [measure for measure in group if contender in measure.contenders])
    ]


def groups(measures: Sequence[Measure]) -> list[list[Measure]]:
    """Those that share a cluster: all for so many nodes, but for those that get their own."""
    shared: dict[int, list[Measure]] = {}
    made: list[list[Measure]] = []
    for measure in measures:
        if measure.own_cluster or measure.own_start:
            made.append([measure])
        elif measure.nodes in shared:
            shared[measure.nodes].append(measure)
        else:
            shared[measure.nodes] = [measure]
            made.append(shared[measure.nodes])
    return made


def alternated(contenders: Sequence[Contender], number: int) -> Iterator[Contender]:
    return reversed(contenders) if number % 2 else iter(contenders)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row's conclusion. What is empty was not found."""

    ours: Sequence[float]
    theirs: Sequence[float]
    ratios: Sequence[float]
    """Of the rounds in which both were found."""

    disk_shares: Sequence[float]
    error: str
    """The first failure, of either."""

    @property
    def ratio(self) -> float | None:
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def disk_share(self) -> float | None:
        return statistics.median(self.disk_shares) if self.disk_shares else None


def compare(measure: Measure, row: Row, results: Results, disk_mb_per_s: Mapping[int, float]) -> Comparison:
    """`disk_mb_per_s` is what three flushing writers got, by round."""
    ours = _of(measure, row.ours, row.figure, results)
    theirs = _of(measure, row.theirs, row.figure, results)
    shares = [
        figure * row.disk_bytes / 1e6 / disk_mb_per_s[number]
        for number, figure in ours.items()
        if row.disk_bytes and number in disk_mb_per_s
    ]
    errors = [
        f"{contender}: {taken.error}"
        for (_, name, contender), taken in sorted(results.items())
        if name == measure.name and contender in (row.ours.value, row.theirs.value) and taken.error
    ]
    ratios = [ours[number] / theirs[number] for number in ours if theirs.get(number)]
    return Comparison(list(ours.values()), list(theirs.values()), ratios, shares, errors[0] if errors else "")


def is_met(row: Row, found: Comparison) -> bool | None:
    """None where there is no target, or nothing to hold against it."""
    if row.target is None:
        return None
    figure = statistics.median(found.ours) if row.target.absolute and found.ours else found.ratio
    if figure is None or (row.target.absolute and not found.ours):
        return None
    if (figure >= row.target.limit) if row.better is Better.HIGHER else (figure <= row.target.limit):
        return True
    return found.disk_share is not None and found.disk_share >= DISK_SHARE_MET


def _of(measure: Measure, contender: Contender, figure: str, results: Results) -> dict[int, float]:
    """By round."""
    return {
        number: taken.figures[figure]
        for (number, name, who), taken in sorted(results.items())
        if name == measure.name and who == contender.value and figure in taken.figures
    }
