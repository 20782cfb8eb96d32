"""Runs a plan: starts and stops clusters, one at a time, takes every measure, keeps what it found, tells what it does.

A measure that fails is a result that says so, and the next one has its turn; a cluster that does not start fails all of
its measures. Whatever ends the run ends the clusters (their `with`, and the reaper behind it).
"""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.versus import consuming, disk, grid, kept
from bench.versus.contenders import Contender, cluster_of
from bench.versus.memory import PageCache
from bench.versus.rounds import Step, Taken, alternated
from bench.versus.rows import Measure
from bench.versus.stage import Stage
from tests.compatibility.cache import Cache

NOTE_CHARACTERS = 200


@dataclass(slots=True)
class Session:
    """One run of the command, which may go on with an earlier one's results."""

    cache: Cache
    results_path: Path
    quick: bool
    found: kept.Kept
    memory: PageCache | None = None
    _done: int = 0
    _total: int = 0
    _began_s: float = field(default_factory=time.monotonic)

    def run(self, steps: Sequence[Step]) -> None:
        """Every step whose measures have not all been taken already."""
        left = [
            (step, wanted) for step in steps if (wanted := [each for each in step.measures if self._lacks(step, each)])
        ]
        self._total = sum(len(wanted) for _, wanted in left)
        for step, wanted in left:
            self.measure_disk(step.round)
            if not step.needs_cluster:
                self._take_all(step, wanted, self._stage(step))
                continue
            try:
                with self._cluster(step.contender, step.nodes) as stage:
                    if not wanted[0].own_cluster:
                        consuming.warm(stage)
                    self._take_all(step, wanted, stage)
            except Exception as error:  # a cluster that does not start, or does not end: a row that says so
                for measure in wanted:
                    if self._lacks(step, measure):
                        self._keep(step, measure, Taken(error=_note(error)))

    def run_grid(self, rounds: int) -> None:
        """All cells, by turns."""
        for number in range(rounds):
            for contender in alternated(grid.CONTENDERS, number):
                if (number, contender.value) in self.found.grid:
                    continue
                self.measure_disk(number)
                try:
                    self._take_grid(number, contender)
                except Exception as error:  # a cluster that does not start: the other one's cells are kept
                    tell(f"grid, round {number + 1}, {contender.value} failed: {_note(error)}")

    def _take_grid(self, number: int, contender: Contender) -> None:
        with self._cluster(contender, grid.NODES) as stage:
            consuming.warm(stage)
            place = f"grid, round {number + 1}, {contender.value}"
            self.found.grid[number, contender.value] = grid.measure(stage, lambda line: tell(f"  {place}: {line}"))
        kept.save(self.results_path, self.found)

    def measure_disk(self, number: int) -> None:
        """Once a round, before its first cluster."""
        if number in self.found.disk:
            return
        figures = disk.flushed(0.5 if self.quick else disk.SECONDS)
        self.found.disk[number] = figures
        kept.save(self.results_path, self.found)
        tell(f"round {number + 1}: the disk gives {figures['one']:.0f} MB/s to one writer, {figures['three']:.0f} to 3")

    @contextlib.contextmanager
    def _cluster(self, contender: Contender, nodes: int) -> Iterator[Stage]:
        began = time.monotonic()
        with cluster_of(contender, nodes, self.cache) as cluster:
            name = "Apache Kafka" if contender.is_kafka else "kraftpy"
            self.found.facts[name] = cluster.version
            tell(f"{contender.value}, {nodes} nodes, is up after {time.monotonic() - began:.1f} s")
            yield Stage(contender, nodes, self.cache, self.quick, cluster, self.memory)

    def _stage(self, step: Step) -> Stage:
        return Stage(step.contender, step.nodes, self.cache, self.quick, None, self.memory)

    def _take_all(self, step: Step, wanted: Sequence[Measure], stage: Stage) -> None:
        for measure in wanted:
            began = time.monotonic()
            try:
                taken = Taken(measure.run(stage))
            except Exception as error:  # whatever it is, it is this measure's result
                taken = Taken(error=_note(error))
            self._keep(step, measure, taken, time.monotonic() - began)

    def _lacks(self, step: Step, measure: Measure) -> bool:
        """Whether it is not there, or failed in an earlier run."""
        taken = self.found.results.get((step.round, measure.name, step.contender.value))
        return taken is None or bool(taken.error)

    def _keep(self, step: Step, measure: Measure, taken: Taken, seconds: float = 0.0) -> None:
        self.found.results[step.round, measure.name, step.contender.value] = taken
        kept.save(self.results_path, self.found)
        self._done += 1
        shown = taken.error or ", ".join(f"{name} {figure:,.4g}" for name, figure in taken.figures.items())
        left_s = (time.monotonic() - self._began_s) / self._done * (self._total - self._done)
        place = f"round {step.round + 1}, {step.contender.value}, {measure.name}"
        tell(f"  {place}: {shown} ({seconds:.0f} s; {self._done} of {self._total}, about {left_s / 60:.0f} min left)")


def tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _note(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:NOTE_CHARACTERS]
