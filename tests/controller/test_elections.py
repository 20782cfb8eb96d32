"""Elections, as the table in `broker.controller.elections` says them."""

from uuid import UUID

import pytest

from broker.controller.elections import Election, elect_preferred, elect_uncleanly, resettle
from broker.controller.eligible import Loss, Rules
from broker.metadata.records import NO_LEADER
from broker.metadata.state import PartitionKey, PartitionState

KEY = PartitionKey(UUID(int=1), 0)


def state(isr: tuple[int, ...], leader: int, known: tuple[int, ...] = ()) -> PartitionState:
    return PartitionState((1, 2, 3), isr, leader, 5, 9, last_known_elr=known)


def after(before: PartitionState, election: Election | None) -> tuple[tuple[int, ...], int, int, bool] | None:
    """(ISR, leader, leader epoch, recovering) afterwards; None where nothing changes."""
    if election is None:
        return None
    changed = before.changed(election.record)
    assert changed.partition_epoch == before.partition_epoch + 1
    return changed.isr, changed.leader, changed.leader_epoch, changed.recovering


@pytest.mark.parametrize(
    ("before", "live", "without", "expected"),
    [
        pytest.param(state((1, 2, 3), 1), {1, 2}, 3, ((1, 2), 1, 5, False), id="a follower goes: no new epoch"),
        pytest.param(state((1, 2, 3), 1), {2, 3}, 1, ((2, 3), 2, 6, False), id="the leader goes: the next by order"),
        pytest.param(state((3, 2, 1), 1), {2, 3}, 1, ((3, 2), 2, 6, False), id="by order of replicas, not of the ISR"),
        pytest.param(state((1, 2), 1), {3}, 1, ((2,), NO_LEADER, 6, False), id="nobody in sync is live"),
        pytest.param(state((1,), 1), {2, 3}, 1, ((1,), NO_LEADER, 6, False), id="the last member stays in the ISR"),
        pytest.param(state((1,), NO_LEADER), {2, 3}, 1, None, id="it went before"),
        pytest.param(state((1, 2), NO_LEADER), {2}, None, ((1, 2), 2, 6, False), id="one in sync comes back"),
        pytest.param(state((1,), NO_LEADER), {2, 3}, None, None, id="one that is not in sync comes back"),
        pytest.param(state((1, 2), 2), {1, 2, 3}, None, None, id="a leader stays"),
    ],
)
def test_clean_elections(
    before: PartitionState, live: set[int], without: int | None, expected: tuple[object, ...] | None
) -> None:
    assert after(before, resettle(KEY, before, live.__contains__, without=without)) == expected


@pytest.mark.parametrize(
    ("before", "live", "without", "expected"),
    [
        pytest.param(state((1,), 1), {1, 2, 3}, 1, ((2,), 2, 6, True), id="the first live replica"),
        pytest.param(state((1, 3), 1), {2, 3}, 1, ((3,), 3, 6, False), id="a clean one is preferred"),
        pytest.param(state((1,), 1), set(), 1, ((1,), NO_LEADER, 6, False), id="nobody is live at all"),
        pytest.param(state((), NO_LEADER, (2, 3)), {1, 3}, None, ((3,), 3, 6, True), id="not who lost the disk"),
        pytest.param(state((), NO_LEADER, (2, 3)), {1}, None, ((1,), 1, 6, True), id="unless there is no other"),
        pytest.param(state((), NO_LEADER, (3,)), {1, 3}, None, ((3,), 3, 6, True), id="the last leader first"),
    ],
)
def test_unclean_elections_where_allowed(
    before: PartitionState, live: set[int], without: int | None, expected: tuple[object, ...]
) -> None:
    election = resettle(KEY, before, live.__contains__, rules=Rules(unclean=True), without=without)
    assert after(before, election) == expected
    assert election is not None and election.unclean == expected[3]


def test_a_lost_disk_leaves_even_the_last_place() -> None:
    before = state((1,), 1)
    election = resettle(KEY, before, {1, 2}.__contains__, without=1, loss=Loss.ALL)
    assert after(before, election) == ((), NO_LEADER, 6, False)
    assert election is not None and before.changed(election.record).last_known_elr == (2, 3)


def test_a_lost_disk_among_others_is_only_gone() -> None:
    before = state((1, 2), 1)
    assert after(before, resettle(KEY, before, {2}.__contains__, without=1, loss=Loss.ALL)) == ((2,), 2, 6, False)


def test_the_preferred_leader_leads_only_in_sync_and_live() -> None:
    before = state((1, 2), 2)
    assert after(before, elect_preferred(KEY, before, {1, 2}.__contains__)) == ((1, 2), 1, 6, False)
    assert elect_preferred(KEY, before, {2}.__contains__) is None
    assert elect_preferred(KEY, state((2,), 2), {1, 2}.__contains__) is None
    assert elect_preferred(KEY, state((1, 2), 1), {1, 2}.__contains__) is None


def test_an_unclean_election_needs_somebody() -> None:
    assert elect_uncleanly(KEY, state((1,), NO_LEADER), lambda _: False) is None
