"""Five real nodes whose quorum grows and shrinks under faults: nothing acknowledged is lost, and all agree in the end.

    python -m simulation.run --scenario voters --seed 1 --seeds 1000

runs as many seeds as there is time for.
"""

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from simulation.faults import Plan
from simulation.scenarios.changing_voters import HOSTS, LENGTH_MS, VOTERS
from tests.simulation.plans import plans
from tests.tools.replay import passed


@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.integers(0, 1 << 30), plans(HOSTS, LENGTH_MS))
@example(417, VOTERS.plan(417))  # a controller that had just been started took a broker for one of another cluster
def test_a_quorum_grows_and_shrinks_whatever_happens(seed: int, plan: Plan) -> None:
    passed("voters", seed, plan)
