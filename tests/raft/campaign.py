"""Many seeds: `python -m tests.raft.campaign --seeds 20000 --jobs 2`; one of them, told: `--seed 4711`.

A progress line goes to the terminal every few seconds. The first seed that fails ends the campaign with the command
that replays it, and exit status 1.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from multiprocessing import get_context

from tests.raft.invariants import Violation
from tests.raft.scenario import Outcome, run_seed


def _judge(seed: int) -> Outcome | str:
    try:
        return run_seed(seed)
    except Violation as violation:
        return str(violation)


def _outcomes(seeds: range, jobs: int) -> Iterator[Outcome | str]:
    if jobs == 1:
        yield from map(_judge, seeds)
        return
    with get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(_judge, seeds, chunksize=20)


def campaign(first: int, count: int, jobs: int) -> int:
    began = told = time.monotonic()
    events = simulated_ms = faults = acknowledged = reads = epochs = 0
    for done, outcome in enumerate(_outcomes(range(first, first + count), jobs), 1):
        if isinstance(outcome, str):
            print(f"\n{outcome}", file=sys.stderr)
            return 1
        events += outcome.events
        simulated_ms += outcome.simulated_ms
        faults += outcome.faults
        acknowledged += outcome.acknowledged
        reads += outcome.reads
        epochs += outcome.epochs
        now = time.monotonic()
        if now - told >= 5 or done == count:
            told = now
            print(
                f"{done}/{count} seeds, {done / (now - began):.1f}/s, {simulated_ms / 3_600_000:.1f} simulated hours, "
                f"{faults} faults, {events} events, {epochs} leaders, {acknowledged} acknowledged, {reads} reads",
                flush=True,
            )
    return 0


def tell(seed: int) -> int:
    trace: list[str] = []
    try:
        print(run_seed(seed, trace=trace))
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
    options = parser.parse_args()
    if options.seed is not None:
        return tell(options.seed)
    return campaign(options.first, options.seeds, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
