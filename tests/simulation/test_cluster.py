"""Three real nodes under faults: what clients see is linearizable, and nothing that must not be is ever on a disk.

    python -m simulation.run --scenario cluster --seed 1 --seeds 1000

runs as many seeds as there is time for; `docs/campaigns.md` tells what that has found.
"""

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from simulation.faults import Fault, Plan, Step
from simulation.scenario import run_scenario
from simulation.scenarios.compacted_transactions import COMPACTED_TRANSACTIONS
from simulation.scenarios.compaction import HOSTS as COMPACTION_HOSTS
from simulation.scenarios.compaction import LENGTH_MS as COMPACTION_MS
from simulation.scenarios.whole_cluster import CLUSTER_DISKS, CLUSTER_MOVES, HOSTS, LENGTH_MS
from tests.simulation.plans import plans
from tests.tools.replay import passed

SEEDS = st.integers(0, 1 << 30)
FINDING = (Phase.explicit, Phase.generate)  # a failure tells its plan, which is short; to shrink it takes minutes


@settings(max_examples=12, deadline=None, phases=FINDING)
@given(SEEDS, plans(HOSTS, LENGTH_MS))
def test_clients_of_three_nodes_see_one_history_whatever_happens(seed: int, plan: Plan) -> None:
    passed("cluster", seed, plan)


@settings(max_examples=6, deadline=None, phases=FINDING)
@given(SEEDS, plans(HOSTS, LENGTH_MS, CLUSTER_DISKS.faults))
@example(262144, (Step(696, Fault.FULL_DISK, "n2", 50),))  # calls to a node whose replica of the quorum has stopped
def test_clients_of_three_nodes_see_one_history_whatever_their_disks_do(seed: int, plan: Plan) -> None:
    passed("cluster-disks", seed, plan)


@settings(max_examples=6, deadline=None, phases=FINDING)
@given(SEEDS, plans(COMPACTION_HOSTS, COMPACTION_MS))
def test_the_last_value_of_each_key_survives_compaction_whatever_happens(seed: int, plan: Plan) -> None:
    passed("compaction", seed, plan)


@settings(max_examples=2, deadline=None, phases=FINDING)
@given(SEEDS, plans(HOSTS, COMPACTED_TRANSACTIONS.length_ms, COMPACTED_TRANSACTIONS.faults))
def test_nothing_goes_from_a_compacted_topic_with_transactions_before_its_time(seed: int, plan: Plan) -> None:
    passed("compacted-transactions", seed, plan)


@settings(max_examples=6, deadline=None, phases=FINDING)
@given(SEEDS, plans(CLUSTER_MOVES.hosts, LENGTH_MS))
def test_clients_see_one_history_while_partitions_move_between_four_nodes(seed: int, plan: Plan) -> None:
    passed("cluster-moves", seed, plan)


@settings(max_examples=4, deadline=None, phases=FINDING)
@given(SEEDS, plans(COMPACTION_HOSTS, COMPACTION_MS))
def test_a_topic_that_is_compacted_no_more_is_copied_with_its_gaps(seed: int, plan: Plan) -> None:
    passed("compacted-once", seed, plan)


def test_a_node_whose_only_disk_fails_stops_and_is_whole_again_after_its_restart() -> None:
    plan = (Step(5_000, Fault.FAILING_SYNC, "n1", 3_000),)
    report = run_scenario("cluster-disks", 2, plan, keep_trace=True)
    assert report.ok, str(report)
    assert any("stopped-by-its-disk n1" in line for line in report.trace)
