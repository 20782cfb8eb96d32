"""Every invariant is proven by a bug put back: the seeds must find it, and find it as what it is."""

import re

import pytest

from tests.bugs.bug import Bug
from tests.bugs.quorum import FOUND_BY_SEEDS
from tests.raft.bugs import core_with
from tests.raft.invariants import Violation
from tests.raft.scenario import run_seed

SEEDS = 600


@pytest.mark.parametrize("bug", FOUND_BY_SEEDS, ids=lambda bug: bug.name)
def test_the_seeds_find(bug: Bug) -> None:
    with core_with(bug) as make_core:
        for seed in range(SEEDS):
            try:
                run_seed(seed, make_core)
            except Violation as violation:
                if re.match(bug.verdict, str(violation), re.DOTALL):
                    return
    raise AssertionError(f"{SEEDS} seeds did not find: {bug.name}")


def test_every_invariant_of_the_quorum_has_its_bug() -> None:
    named = " ".join(bug.verdict for bug in FOUND_BY_SEEDS)
    assert [number for number in "123456" if number not in named] == []
