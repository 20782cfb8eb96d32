"""For tests of simulations: a run that fails says how to replay it, and a seed always gives the same trace hash.

report = passed("register", 7)                  # raises with the replay command otherwise
assert_replays("register", [1, 2, 3])           # same hash twice in this process and under two PYTHONHASHSEEDs
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from simulation.faults import Plan
from simulation.scenario import RunReport, run_scenario
from simulation.verdicts import Verdict

ROOT = Path(__file__).resolve().parents[2]
HASH_SEEDS = ("1", "2718281")


def passed(scenario: str, seed: int, plan: Plan | None = None) -> RunReport:
    """Run one seed; an `AssertionError` holds the failure, or what a checker gave up, and the one command that replays
    it."""
    report = run_scenario(scenario, seed, plan)
    assert report.verdict is Verdict.OK, f"\n{report}"
    return report


def hashes_in_a_fresh_process(scenario: str, seeds: Sequence[int], hash_seed: str) -> list[str]:
    """The trace hashes of the seeds from `seeds[0]` on, under another order of sets and other addresses."""
    assert list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    command = [sys.executable, "-m", "simulation.run", "--scenario", scenario, "--hash"]
    command += ["--seed", str(seeds[0]), "--seeds", str(len(seeds))]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
    return result.stdout.split()


def assert_replays(scenario: str, seeds: Sequence[int]) -> None:
    """The same seeds give the same hashes, whatever else differs between two runs."""
    first = [passed(scenario, seed).trace_hash for seed in seeds]
    assert [passed(scenario, seed).trace_hash for seed in seeds] == first, "differs between two runs of one process"
    for hash_seed in HASH_SEEDS:
        fresh = hashes_in_a_fresh_process(scenario, seeds, hash_seed)
        assert fresh == first, f"{scenario}: differs under PYTHONHASHSEED={hash_seed}: {fresh} is not {first}"
