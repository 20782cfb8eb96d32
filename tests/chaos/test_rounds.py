"""A short life among real faults: nothing acknowledged is lost, repeated or swapped, and the replicas are equal.

Many more, of every kind: `make chaos`.
"""

from tests.chaos.cluster import DiskKind
from tests.chaos.disk_faults import PowerFailure
from tests.chaos.disks import Journal
from tests.chaos.faults import BadLinks, LeaderCutOff
from tests.chaos.kinds import NODES
from tests.chaos.rounds import Life, Round, play_life
from tests.chaos.test_faults import run_inside


def short_life(directory: str) -> None:
    """Inside an enclosure."""
    rounds = (
        Round("one_way", BadLinks("nothing gets from node 1 to node 2", [(1, 2)], True, loss=1.0), 0.5),
        Round("power_all", PowerFailure(NODES, Journal.LOST), 0.0),
        Round("isolate_leader", LeaderCutOff(), 0.5),
    )
    play_life(f"{directory}/cluster", Life(DiskKind.EXT4, 2, rounds))


def test_a_cut_a_power_failure_of_all_and_a_leader_cut_off_lose_nothing() -> None:
    run_inside("tests.chaos.test_rounds:short_life")
