"""Real nodes whose replicas die one by one, to the last (KIP-966): nothing lost, nobody elected who lacks something.

python -m simulation.run --scenario cluster-last-replicas --seed 1 --seeds 1000
"""

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from simulation.faults import Plan
from simulation.scenarios.last_replicas import LENGTH_MS, VOTERS
from tests.simulation.plans import plans
from tests.tools.replay import passed


@settings(max_examples=6, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.integers(0, 1 << 30), plans(VOTERS, LENGTH_MS))
def test_kip_966_whoever_is_eligible_has_everything_whatever_happens(seed: int, plan: Plan) -> None:
    passed("cluster-last-replicas", seed, plan)
