"""Runs one seed and, if it fails, makes it smaller and writes down its story.

A run of virtual time says nothing while it lasts; a thread beside it looks at its clock and shows it on a terminal.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from cli.simulate.report import command_of
from simulation.plan import Plan
from simulation.scenario import RunReport, run_scenario
from simulation.shrink import shrink
from simulation.story import tell
from simulation.world import World

LOOK_S = 0.5


class Progress:
    """One line on a terminal, written over and over; silence where nobody looks."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self.shows = self._out.isatty()
        self._width = 0

    def show(self, text: str) -> None:
        if self.shows:
            print(f"\r{text:<{self._width}}", end="", file=self._out, flush=True)
            self._width = len(text)

    def clear(self) -> None:
        if self._width:
            print(f"\r{'':<{self._width}}\r", end="", file=self._out, flush=True)
            self._width = 0

    @contextmanager
    def of(self, worlds: list[World], what: str) -> Iterator[None]:
        """Show how far the last of `worlds` is, as long as the block lasts."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(LOOK_S):
                if worlds:
                    self.show(f"{what}: {worlds[-1].loop.now_us / 6e7:.1f} virtual minutes")

        thread = threading.Thread(target=look, daemon=True)
        if self.shows:
            thread.start()
        try:
            yield
        finally:
            over.set()
            if thread.is_alive():
                thread.join()
            self.clear()


def run_once(scenario: str, seed: int, plan: Plan | None, progress: Progress) -> RunReport:
    """One run."""
    worlds: list[World] = []
    with progress.of(worlds, f"seed {seed}"):
        return run_scenario(scenario, seed, plan, watch=worlds.append)


def make_smaller(report: RunReport, seconds: float, progress: Progress) -> RunReport:
    """The smallest failing run that is found within so many seconds of real time."""
    until = time.monotonic() + seconds
    runs = 0

    def run(scenario: str, seed: int, plan: Plan) -> RunReport:
        nonlocal runs
        runs += 1
        progress.show(f"smaller: run {runs}, {len(plan)} faults")
        return run_scenario(scenario, seed, plan)

    smallest = shrink(report, run, lambda: time.monotonic() < until)
    progress.clear()
    return smallest


def write_story(report: RunReport, path: Path) -> None:
    """Run it once more, every line kept, and write it down in words."""
    told = run_scenario(report.scenario, report.seed, report.plan, keep_trace=True)
    head = [
        f"The story of {told.scenario}, seed {told.seed}, trace {told.trace_hash}.",
        f"Replay: {command_of(told.scenario, told.seed, told.plan)}",
        "Times are virtual seconds.",
        "",
    ]
    end = ["", *(told.error.splitlines() if not told.ok else [told.summary])]
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines(f"{line}\n" for line in (*head, *tell(told.trace), *end))
