"""Known cases of leaders that come and go, as stories by their names."""

from collections.abc import Callable
from functools import partial

import pytest

from raft.config import RaftConfig
from raft.core import RaftCore
from tests.bugs.bug import Bug
from tests.bugs.catalogue import BUGS
from tests.raft.bugs import core_with
from tests.raft.cluster import MakeCore
from tests.raft.stories import commit, epoch, followers, isolate, leader, leads, others_lead, run_until, started


@pytest.mark.parametrize("voters", [3, 5])
def test_kip_996_a_partitioned_voter_comes_back(voters: int) -> None:
    """No epoch inflation, leader kept."""
    cluster = started(voters)
    first, lonely = leader(cluster), followers(cluster)[0]
    isolate(cluster, lonely.node_id)
    cluster.run(60_000)
    assert epoch(lonely) == epoch(first) == 1
    cluster.network.blocked.clear()
    cluster.run(2_000)
    assert leader(cluster) is first and epoch(first) == 1
    commit(cluster)
    cluster.run(100)
    assert lonely.digest == first.digest


def a_link_flaps(make_core: MakeCore = RaftCore) -> None:
    cluster = started(3, make_core=make_core)
    first, lonely = leader(cluster), followers(cluster)[0]
    for turn in range(20):
        isolate(cluster, lonely.node_id)
        cluster.run(1_700 + 70 * turn)
        cluster.network.blocked.clear()
        cluster.run(150)
    assert leader(cluster) is first and epoch(first) == 1, "the epoch has moved on"


def test_kip_996_a_flapping_link_does_not_move_the_leader() -> None:
    a_link_flaps()


def a_leader_is_cut_off_from_the_voters(make_core: MakeCore = RaftCore) -> None:
    cluster = started(3, make_core=make_core)
    first = leader(cluster)
    isolate(cluster, first.node_id)
    run_until(cluster, lambda: first not in cluster.leaders(), RaftConfig().resign_after_ms)
    assert first.core is not None and first.core.role.name == "resigned"


def test_kafka_15489_a_leader_cut_off_from_the_voters_resigns() -> None:
    a_leader_is_cut_off_from_the_voters()


def test_kafka_15489_one_follower_is_not_enough_of_five() -> None:
    cluster = started(5)
    first, friend = leader(cluster), followers(cluster)[0]
    isolate(cluster, first.node_id, friend.node_id)
    run_until(cluster, lambda: first not in cluster.leaders(), RaftConfig().resign_after_ms)
    run_until(cluster, cluster.leaders, 2_000)
    commit(cluster)


def test_kafka_15489_one_way_silence() -> None:
    """The leader hears nobody, everybody hears the leader."""
    cluster = started(3)
    first = leader(cluster)
    for other in followers(cluster):
        cluster.network.blocked[(other.node_id, first.node_id)] = None
    run_until(cluster, partial(others_lead, cluster, first), 4_000)
    commit(cluster)


def test_kafka_16144_a_single_voter_leads_for_ever() -> None:
    cluster = started(1)
    cluster.run(3_600_000)
    assert epoch(leader(cluster)) == 1


def test_a_dead_leader_is_replaced_at_once_and_a_silent_one_after_the_fetch_time_out() -> None:
    waits = []
    for seed in range(30):
        cluster = started(3, seed=seed)
        first = leader(cluster)
        cluster.run(seed * 40)
        cluster.crash(first.node_id)
        waits.append(run_until(cluster, cluster.leaders, 2_500))
    assert sorted(waits)[15] < 60 and max(waits) < 200
    waits = []
    for seed in range(30):
        cluster = started(3, seed=seed)
        first = leader(cluster)
        cluster.run(seed * 40)
        cluster.pause(first.node_id, 60_000)
        waits.append(run_until(cluster, partial(others_lead, cluster, first), 4_000))
    time_out_ms = RaftConfig().fetch_timeout_ms
    assert sorted(waits)[15] < time_out_ms and max(waits) < time_out_ms + 200


def restarts_in_one_epoch(make_core: MakeCore = RaftCore) -> None:
    """The leader loses what it had not flushed and comes back before anybody notices: it must not go on in its epoch,
    or two different entries would stand at one offset of one epoch."""
    for seed in range(20):
        cluster = started(3, seed=seed, make_core=make_core)
        first = leader(cluster)
        first.flush_ms_max = 500
        for _ in range(3):
            cluster.propose(first.node_id)
        cluster.run(2)
        cluster.crash(first.node_id)
        cluster.start(first.node_id)
        first.flush_ms_max = 5
        run_until(cluster, cluster.leaders, 3_000)
        assert epoch(leader(cluster)) >= 2
        commit(cluster)


def test_same_epoch_restart_after_power_loss() -> None:
    restarts_in_one_epoch()


def test_crash_of_all() -> None:
    cluster = started(5)
    commit(cluster)
    for _ in range(3):
        for node_id in cluster.nodes:
            cluster.crash(node_id)
        for node_id in cluster.nodes:
            cluster.start(node_id)
        run_until(cluster, cluster.leaders, 4_000)
        commit(cluster)


def test_transfer_to_a_named_voter() -> None:
    for seed in range(20):
        cluster = started(3, seed=seed)
        first, to = leader(cluster), followers(cluster)[seed % 2]
        commit(cluster)
        cluster.transfer(first.node_id, to.node_id)
        run_until(cluster, partial(leads, cluster, to), 200)


def test_a_reader_never_meets_an_old_leader() -> None:
    """The leader is frozen and cut off, another commits, and a read that was asked meanwhile is not answered by it."""
    cluster = started(3)
    first = leader(cluster)
    isolate(cluster, first.node_id)
    cluster.pause(first.node_id, 5_000)
    run_until(cluster, partial(others_lead, cluster, first), 4_000)
    commit(cluster)
    cluster.read(first.node_id)
    cluster.run(10_000)
    assert cluster.reads_answered == 0 and not first.reads


@pytest.mark.parametrize(
    ("bug", "story"),
    [
        (BUGS["no-pre-vote"], a_link_flaps),
        (BUGS["no-check-quorum"], a_leader_is_cut_off_from_the_voters),
        (BUGS["restarted-leader-leads-on"], restarts_in_one_epoch),
    ],
    ids=lambda value: value.name if isinstance(value, Bug) else "",
)
def test_without_its_defence_the_case_happens(bug: Bug, story: Callable[[MakeCore], None]) -> None:
    with core_with(bug) as make_core, pytest.raises(AssertionError, match=bug.verdict):
        story(make_core)
