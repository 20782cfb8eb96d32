"""Many seeds, one after the other or several at once, for as long as one likes; goes on where it stopped.

What it has come to is in one file, written after every seed: whoever interrupts it loses the seeds under way, no more.
Each worker is a process of its own, begun anew now and then, so that what Python keeps does not grow for ever.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from itertools import count
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path

from cli.simulate.one_run import Progress
from simulation.campaign import Tally, keep, scenario_of_seed, tally_from_json
from simulation.scenario import RunReport, run_scenario

RUNS_A_WORKER = 40
SAY_S = 60.0  # where nobody looks on, a line as often


class Campaign:
    """One campaign with its file. Raises `ValueError` where that holds something else."""

    def __init__(self, state: Path, kept: Path, seed: int, scenario: str | None, jobs: int) -> None:
        self._state = state
        self._kept = kept
        self._scenario = scenario
        self._jobs = jobs
        self.tally = _read(state) if state.exists() else Tally(first_seed=seed, next_seed=seed)

    def run(self, hours: float, progress: Progress, say: Callable[[str], object]) -> None:
        """Until the time is over, or somebody interrupts it (`KeyboardInterrupt`)."""
        began, until, before_s = time.monotonic(), time.monotonic() + hours * 3600, self.tally.real_s
        said = began
        for report in self._reports(until, self._jobs if hours > 0 else 0):
            self.tally.add(report)
            self.tally.real_s = before_s + time.monotonic() - began
            if not report.ok:
                why = report.error.splitlines()[0]
                say(f"FAILED: {report.scenario} seed {report.seed}: {why}; {self._keep(report)}")
            elif report.unknown:
                say(f"UNKNOWN: {self.tally.unknown[-1]}")
            _write(self._state, self.tally.to_json())
            progress.show(self.line())
            if not progress.shows and time.monotonic() - said > SAY_S:
                said = time.monotonic()
                say(self.line())
        progress.clear()

    def line(self) -> str:
        """How far it is."""
        tally = self.tally
        return (
            f"{tally.seeds:,} seeds, {tally.virtual_ms / 3_600_000:,.2f} virtual hours, "
            f"{tally.seeds * 60 / max(tally.real_s, 1):.1f} seeds a minute, {len(tally.failures)} failures, "
            f"{len(tally.unknown)} unknown"
        )

    def _reports(self, until: float, at_least: int) -> Iterator[RunReport]:
        """Reports as they come, since one seed may take a thousand times as long as another; so many of them, whatever
        the time."""
        pool = ProcessPoolExecutor(
            self._jobs, mp_context=get_context("spawn"), initializer=_begin, max_tasks_per_child=RUNS_A_WORKER
        )
        under_way: set[Future[RunReport]] = set()
        fresh = (seed for seed in count(self.tally.next_seed) if self.tally.lacks(seed))
        begun = 0
        try:
            while True:
                while len(under_way) < self._jobs and (time.monotonic() < until or begun < at_least):
                    seed = next(fresh)
                    under_way.add(pool.submit(_run, self._scenario or scenario_of_seed(seed), seed))
                    begun += 1
                if not under_way:
                    return
                ended, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for each in sorted(ended, key=lambda future: future.result().seed):
                    yield each.result()
        except KeyboardInterrupt:
            for worker in active_children():  # a seed may take minutes
                worker.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _keep(self, report: RunReport) -> str:
        kept = keep(report)
        self._kept.mkdir(parents=True, exist_ok=True)
        path = self._kept / kept.file_name
        _write(path, kept.to_json())
        return f"kept in {path}"


def _begin() -> None:
    """In a worker: an interrupt is the parent's affair, without which it ends; and nodes log into the trace."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.disable()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run(scenario: str, seed: int) -> RunReport:
    return replace(run_scenario(scenario, seed), trace=())  # a trace is made again from the seed


def _read(path: Path) -> Tally:
    try:
        return tally_from_json(path.read_text())
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is no campaign's file: {error}") from None


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text)
    os.replace(temporary, path)
