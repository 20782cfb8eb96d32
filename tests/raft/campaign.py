"""Many seeds: `python -m tests.raft.campaign --seeds 20000 --jobs 2`; one of them, told: `--seed 4711`.

Cores in a heap of events (`tests.raft.scenario`), or with `--shells` whole nodes on a simulated loop
(`tests.raft.chaos`). A progress line goes to the terminal every few seconds. The first seed that fails ends the
campaign with the command that replays it, and exit status 1.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from multiprocessing import get_context

from tests.raft.chaos import run_chaos
from tests.raft.invariants import Violation
from tests.raft.scenario import run_seed

Verdict = Counter[str] | str
Judge = Callable[[int], Verdict]


def judge_core(seed: int) -> Verdict:
    try:
        return Counter(asdict(run_seed(seed)))
    except Violation as violation:
        return str(violation)


def judge_shells(seed: int) -> Verdict:
    try:
        return Counter(asdict(run_chaos(seed)))
    except Violation as violation:
        return str(violation)


def _verdicts(judge: Judge, seeds: range, jobs: int) -> Iterator[Verdict]:
    if jobs == 1:
        yield from map(judge, seeds)
        return
    with get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(judge, seeds, chunksize=20)


def campaign(judge: Judge, first: int, count: int, jobs: int) -> int:
    began = told = time.monotonic()
    totals: Counter[str] = Counter()
    for done, verdict in enumerate(_verdicts(judge, range(first, first + count), jobs), 1):
        if isinstance(verdict, str):
            print(f"\n{verdict}", file=sys.stderr)
            return 1
        totals.update(verdict)
        now = time.monotonic()
        if now - told >= 5 or done == count:
            told = now
            print(f"{done}/{count} seeds, {done / (now - began):.1f}/s, {_tell(totals)}", flush=True)
    return 0


def _tell(totals: Counter[str]) -> str:
    hours = totals["simulated_ms"] / 3_600_000
    counts = [f"{total} {name}" for name, total in totals.items() if name not in ("seed", "digest", "simulated_ms")]
    return ", ".join([f"{hours:.1f} simulated hours", *counts])


def tell(seed: int, shells: bool) -> int:
    trace: list[str] = []
    try:
        print(run_chaos(seed) if shells else run_seed(seed, trace=trace))
    except Violation as violation:
        print("\n".join(trace))
        print(violation, file=sys.stderr)
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Simulated quorums under faults, one history per seed.")
    parser.add_argument("--seeds", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--shells", action="store_true", help="whole nodes on a simulated loop")
    options = parser.parse_args()
    if options.seed is not None:
        return tell(options.seed, options.shells)
    return campaign(judge_shells if options.shells else judge_core, options.first, options.seeds, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
