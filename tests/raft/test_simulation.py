"""Seeds: whole quorums under faults, judged after every event. `python -m tests.raft.campaign` runs more of them."""

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.raft.scenario import run_seed

ROOT = Path(__file__).parents[2]


@settings(max_examples=300, deadline=None, database=None, print_blob=False)
@given(st.integers(0, 2**32 - 1))
def test_the_invariants_hold_after_every_event_and_all_ends_well(seed: int) -> None:
    run_seed(seed)


def test_a_seed_is_a_history() -> None:
    """Also in another process that hashes strings otherwise."""
    seeds = (3, 14, 159)
    here = [run_seed(seed).digest for seed in seeds]
    program = f"from tests.raft.scenario import run_seed; print([run_seed(seed).digest for seed in {seeds}])"
    for hash_seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        told = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        assert told.stdout.strip() == str(here)
