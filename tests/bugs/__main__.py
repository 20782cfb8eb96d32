"""Looks for every known bug, and writes the table of what found it:

    python -m tests.bugs [--only NAME,…] [--jobs N] [--seeds COUNT] [--results FILE] [--again]

Seeds are tried from 0 on, so that their number is honest. What was tried is kept in the file of results, seed by seed,
so the campaign can be stopped (Ctrl-C) and goes on where it was; a bug that has changed since begins anew. All are
looked for with few seeds first, what is left then with more. The table goes to docs/known-bugs.md when the results are
those of the project (`RESULTS`).
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bugs.bug import Bug, Outgrown, Story
from tests.bugs.catalogue import BUGS
from tests.bugs.results import RESULTS, Results
from tests.bugs.search import look_for
from tests.bugs.table import DOCUMENT, document

ROUNDS = (1, 20, 200)
"""So many seeds of everything first, before what is not found yet takes more."""
SEEDS = 2_000


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bugs")
    parser.add_argument("--only", help="names, with commas between them")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of each bug, at most")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="forget what was found before")
    options = parser.parse_args(arguments)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # after the seed that is under way, and without its copy
        signal.signal(number, lambda number, frame: stopping.set())
    bugs = [BUGS[name] for name in options.only.split(",")] if options.only else list(BUGS.values())
    results = Results.read(options.results)
    if options.again:
        results.forget(bugs)
    run(bugs, results, options.seeds, options.jobs, stopping)
    if options.results == RESULTS:
        DOCUMENT.write_text(document(results))
    left = [bug.name for bug in bugs if not results.of(bug).found]
    print(f"{len(bugs) - len(left)} of {len(bugs)} known bugs found{'; not: ' + ', '.join(left) if left else ''}")
    return 0


def run(bugs: Sequence[Bug], results: Results, seeds: int, jobs: int, stopping: threading.Event) -> None:
    for most in [*(each for each in ROUNDS if each < seeds), seeds]:
        wanted = [bug for bug in bugs if not results.of(bug).found and results.of(bug).tried < _limit(bug, most)]
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda bug, most=most: _look(bug, results, _limit(bug, most), stopping), wanted))


def _limit(bug: Bug, seeds: int) -> int:
    return min(1, seeds) if isinstance(bug.finder, Story) and not bug.finder.is_random else seeds


def _look(bug: Bug, results: Results, seeds: int, stopping: threading.Event) -> None:
    if stopping.is_set():
        return
    first = results.of(bug).tried
    began = time.monotonic()
    try:
        for tried in look_for(bug, bug.counted_from + first, seeds - first):
            results.note(bug, tried)
            told = f"{bug.name}: {tried.said[:100]}" if tried.said else bug.name
            print(f"{results.found} found, {time.monotonic() - began:6.1f} s, seed {tried.seed} of {told}", flush=True)
            if stopping.is_set():
                break
    except (RuntimeError, Outgrown) as error:
        if not stopping.is_set():  # which its process was told too
            print(f"{bug.name} cannot be looked for: {error}", flush=True)  # the others can
    results.save()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
