"""Producers with transactions on three real nodes under faults: all or nothing, fenced, and nothing hangs.

python -m simulation.run --scenario cluster-transactions --seed 1 --seeds 1000
"""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from simulation.checkers.transactions import check_transactions
from simulation.faults import Plan
from simulation.scenarios.transactions import Told
from simulation.scenarios.whole_cluster import HOSTS, LENGTH_MS
from simulation.transactional_client import Fate
from tests.simulation.plans import plans
from tests.tools.replay import passed


@settings(max_examples=6, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.integers(0, 1 << 30), plans(HOSTS, LENGTH_MS))
def test_a_transaction_is_all_or_nothing_whatever_happens(seed: int, plan: Plan) -> None:
    passed("cluster-transactions", seed, plan)


COMMITTED, UNKNOWN, NEVER = Fate.COMMITTED, Fate.UNKNOWN, Fate.NEVER_COMMITTED
FIRST, SECOND = ((0, "p/1/a"), (1, "p/1/b")), ((0, "p/2/a"), (1, "p/2/b"))


@pytest.mark.parametrize(
    "fates, partitions, seen, offset, problem",
    [
        ((COMMITTED, COMMITTED), {0: ["p/1/a", "p/2/a"], 1: ["p/1/b", "p/2/b"]}, ["p/1/a"], 2, ""),
        ((COMMITTED, UNKNOWN), {0: ["p/1/a"], 1: ["p/1/b"]}, [], 1, ""),
        ((NEVER, UNKNOWN), {0: ["p/2/a"], 1: ["p/2/b"]}, [], 2, ""),
        ((NEVER, NEVER), {0: [], 1: []}, [], 0, ""),
        ((COMMITTED, NEVER), {0: ["p/1/a", "p/2/a"], 1: ["p/1/b", "p/2/b"]}, [], 2, "nobody committed it"),
        ((COMMITTED, COMMITTED), {0: ["p/1/a"], 1: ["p/1/b"]}, [], 1, "was committed, and is not there"),
        ((COMMITTED, UNKNOWN), {0: ["p/1/a", "p/2/a"], 1: ["p/1/b"]}, [], 2, "there is only"),
        ((COMMITTED, NEVER), {0: ["p/1/a", "p/1/a"], 1: ["p/1/b"]}, [], 1, "2 times"),
        ((COMMITTED, COMMITTED), {0: ["p/2/a", "p/1/a"], 1: ["p/1/b", "p/2/b"]}, [], 2, "stands after"),
        ((COMMITTED, NEVER), {0: ["p/1/a"], 1: ["p/1/b"]}, ["p/2/a"], 1, "given to a committed reader"),
        ((COMMITTED, NEVER), {0: ["p/1/a", "q/1/a"], 1: ["p/1/b"]}, [], 1, "written by nobody"),
        ((COMMITTED, NEVER), {0: ["p/1/a"], 1: ["p/1/b"]}, [], 2, "the group of p is at 2"),
    ],
)
def test_what_the_checker_says(
    fates: tuple[Fate, Fate], partitions: dict[int, list[str]], seen: list[str], offset: int, problem: str
) -> None:
    told = [
        Told("p", number, values, fate) for number, values, fate in zip((1, 2), (FIRST, SECOND), fates, strict=True)
    ]
    problems = check_transactions(told, partitions, seen, {"p": offset})
    assert any(problem in each for each in problems) if problem else problems == []
