"""What is done about a damaged replica: the table, row by row, and what must hold in every state."""

from dataclasses import replace
from itertools import product

from broker.metadata.records import NO_LEADER
from broker.metadata.state import PartitionState
from broker.replication.damaged import Progress, Step, next_step

OURS = 1
STATE = PartitionState((1, 2, 3), (2, 3), 2, 5, 7)


def test_nothing_is_cut_that_counts() -> None:
    for isr, eligible, leader, progress, is_marked in product(
        [(2, 3), (1, 2), (1,), ()], [(), (1,), (3,)], [OURS, 2, NO_LEADER], Progress, [False, True]
    ):
        state = replace(STATE, isr=isr, eligible_replicas=eligible, leader=leader)
        if next_step(state, OURS, progress, is_marked=is_marked) is Step.CUT:
            assert is_marked and leader == 2 and OURS not in (*isr, *eligible) and progress is Progress.DAMAGED


def test_a_follower_is_reported_first_and_cut_once_it_is_marked_outside() -> None:
    inside = replace(STATE, isr=(1, 2, 3))
    for is_marked in (False, True):
        assert next_step(inside, OURS, Progress.DAMAGED, is_marked=is_marked) is Step.REPORT
    assert next_step(STATE, OURS, Progress.DAMAGED, is_marked=False) is Step.REPORT, "its leader may take it in"
    assert next_step(STATE, OURS, Progress.DAMAGED, is_marked=True) is Step.CUT


def test_a_leader_reports_and_goes_on_as_long_as_it_leads() -> None:
    leading = replace(STATE, leader=OURS, isr=(1,))
    assert next_step(leading, OURS, Progress.DAMAGED, is_marked=False) is Step.REPORT


def test_where_nobody_leads_it_may_be_the_last_resort() -> None:
    orphan = replace(STATE, leader=NO_LEADER, isr=())
    for progress in Progress:
        assert next_step(orphan, OURS, progress, is_marked=False) is Step.WAIT
        assert next_step(orphan, OURS, progress, is_marked=True) is Step.RETURN


def test_a_cut_replica_returns_only_after_its_leader_has_heard_from_it() -> None:
    assert next_step(STATE, OURS, Progress.CUT, is_marked=True) is Step.WAIT
    assert next_step(STATE, OURS, Progress.FETCHED, is_marked=True) is Step.RETURN
