"""Groups on three real nodes under faults: one owner each, no offset lost, nothing skipped, and they come to rest.

python -m simulation.run --scenario groups --seed 1 --seeds 1000
"""

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from simulation.faults import Plan
from simulation.scenarios.groups import LENGTH_MS
from simulation.scenarios.whole_cluster import HOSTS
from tests.simulation.plans import plans
from tests.tools.replay import passed


@settings(max_examples=6, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.integers(0, 1 << 30), plans(HOSTS, LENGTH_MS))
def test_groups_share_and_commit_whatever_happens(seed: int, plan: Plan) -> None:
    passed("groups", seed, plan)
