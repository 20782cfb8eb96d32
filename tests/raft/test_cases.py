"""Known cases as stories, by their names: small clusters on the heap of events, with faults at chosen moments."""

from collections.abc import Callable
from functools import partial

import pytest

from raft.core import RaftCore
from raft.events import NodeId, Voter, VoterSet
from tests.raft.bugs import WIPED_VOTES, core_with
from tests.raft.cluster import Cluster, MakeCore
from tests.raft.invariants import Violation
from tests.raft.parts import Node

ONE, TWO, THREE, FOUR = NodeId(1), NodeId(2), NodeId(3), NodeId(4)


def started(voters: int, observers: int = 0, seed: int = 1, make_core: MakeCore = RaftCore) -> Cluster:
    cluster = Cluster(voters, observers, seed, make_core=make_core)
    for node_id in cluster.nodes:
        cluster.start(node_id)
    cluster.run(500)
    return cluster


def leader(cluster: Cluster) -> Node:
    epochs = [(node.core.epoch, node.node_id) for node in cluster.leaders() if node.core is not None]
    assert epochs, "nobody leads"
    return cluster.nodes[max(epochs)[1]]


def followers(cluster: Cluster) -> list[Node]:
    return [node for node in cluster.nodes.values() if node is not leader(cluster)]


def leads(cluster: Cluster, node: Node) -> bool:
    return node in cluster.leaders()


def others_lead(cluster: Cluster, former: Node) -> bool:
    return any(node is not former for node in cluster.leaders())


def epoch(node: Node) -> int:
    assert node.core is not None
    return node.core.epoch


def isolate(cluster: Cluster, *inner: NodeId) -> None:
    for one in inner:
        for other in cluster.nodes:
            if other not in inner:
                cluster.network.blocked[(one, other)] = None
                cluster.network.blocked[(other, one)] = None


def run_until(cluster: Cluster, happened: Callable[[], object], within_ms: int) -> int:
    began_ms = cluster.now_ms
    while not happened():
        assert cluster.now_ms - began_ms < within_ms, "it did not happen"
        cluster.run(1)
    return cluster.now_ms - began_ms


def commit(cluster: Cluster) -> None:
    """By a leader that may not have its own epoch's entry committed yet: again until it has."""
    before = len(cluster.acknowledged)
    for _ in range(50):
        cluster.propose(leader(cluster).node_id)
        cluster.run(20)
        if len(cluster.acknowledged) > before:
            return
    raise AssertionError("nothing is committed")


# --- leaders that come and go


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


def test_kip_996_a_flapping_link_does_not_move_the_leader() -> None:
    cluster = started(3)
    first, lonely = leader(cluster), followers(cluster)[0]
    for _ in range(20):
        isolate(cluster, lonely.node_id)
        cluster.run(1_700)
        cluster.network.blocked.clear()
        cluster.run(150)
    assert leader(cluster) is first and epoch(first) == 1


def test_kafka_15489_a_leader_cut_off_from_the_voters_resigns() -> None:
    cluster = started(3)
    first = leader(cluster)
    isolate(cluster, first.node_id)
    run_until(cluster, lambda: first not in cluster.leaders(), 1_600)
    assert first.core is not None and first.core.role.name == "resigned"


def test_kafka_15489_one_follower_is_not_enough_of_five() -> None:
    cluster = started(5)
    first, friend = leader(cluster), followers(cluster)[0]
    isolate(cluster, first.node_id, friend.node_id)
    run_until(cluster, lambda: first not in cluster.leaders(), 1_600)
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


def test_a_single_voter_leads_for_ever() -> None:
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
    assert sorted(waits)[15] < 1_500 and max(waits) < 1_700


def test_same_epoch_restart_after_power_loss() -> None:
    """The leader loses what it had not flushed and comes back before anybody notices: it must not go on in its epoch,
    or two different entries would stand at one offset of one epoch."""
    for seed in range(20):
        cluster = started(3, seed=seed)
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


# --- disks that come back as others


def wiped_voter_with_a_lagging_one(make_core: MakeCore = RaftCore) -> Cluster:
    """Committed by the leader and one follower; that follower gets a new disk, the leader dies. What is left is a voter
    that lags and a stranger by a voter's name: together they must not elect."""
    cluster = started(3, make_core=make_core)
    first = leader(cluster)
    kept, lagging = followers(cluster)
    isolate(cluster, lagging.node_id)
    for _ in range(5):
        commit(cluster)
    cluster.wipe(kept.node_id)
    cluster.crash(first.node_id)
    cluster.network.blocked.clear()
    cluster.start(kept.node_id)
    cluster.run(20_000)
    return cluster


def test_a_wiped_voter_with_a_lagging_one() -> None:
    cluster = wiped_voter_with_a_lagging_one()
    assert cluster.leaders() == []
    for node_id in cluster.nodes:
        cluster.start(node_id)
    run_until(cluster, cluster.leaders, 3_000)
    commit(cluster)
    cluster.run(1_000)
    assert len({(node.applied_offset, node.digest) for node in cluster.nodes.values()}) == 1


def test_a_wiped_voter_with_a_lagging_one_is_found_where_directories_do_not_count() -> None:
    with core_with(WIPED_VOTES) as make_core, pytest.raises(Violation, match=WIPED_VOTES.verdict):
        wiped_voter_with_a_lagging_one(make_core)


def test_two_wiped_voters_of_three_elect_nobody() -> None:
    cluster = started(3)
    commit(cluster)
    wiped = followers(cluster)
    for node in wiped:
        cluster.wipe(node.node_id)
        cluster.start(node.node_id)
    cluster.run(30_000)
    assert cluster.leaders() == []
    assert all(node.core is not None and node.core.role.name == "observer" for node in wiped)


def test_kip_853_a_wiped_voter_is_replaced_by_remove_and_add() -> None:
    cluster = started(3)
    commit(cluster)
    old = followers(cluster)[0]
    cluster.wipe(old.node_id)
    cluster.start(old.node_id)
    cluster.run(2_000)
    first = leader(cluster)
    assert old.digest == first.digest  # it observes
    rest = tuple(voter for voter in cluster.founders.voters if voter.key.node_id != old.node_id)
    for voters in (rest, tuple(sorted((*rest, Voter(old.key, "new", 9093)), key=lambda voter: voter.key))):
        cluster.change_voters(first.node_id, VoterSet(voters))
        cluster.run(500)
    assert old.core is not None and old.core.role.name == "follower"
    cluster.crash(next(node.node_id for node in followers(cluster) if node is not old))
    commit(cluster)


def test_kip_853_one_change_at_a_time() -> None:
    cluster = started(3, observers=2)
    first = leader(cluster)
    cluster.run(500)
    four = VoterSet((*cluster.founders.voters, Voter(cluster.nodes[FOUR].key, "n4", 9093)))
    three = VoterSet(cluster.founders.voters[:2])
    before = cluster.refused
    cluster.change_voters(first.node_id, four)
    cluster.change_voters(first.node_id, three)
    assert cluster.refused == before + 1
    cluster.run(500)
    assert first.core is not None and first.core.voters == four


def test_kip_853_a_cut_off_change_is_undone_with_its_entry() -> None:
    cluster = started(3, observers=1)
    cluster.run(500)
    first = leader(cluster)
    isolate(cluster, first.node_id)
    four = VoterSet((*cluster.founders.voters, Voter(cluster.nodes[FOUR].key, "n4", 9093)))
    cluster.change_voters(first.node_id, four)
    assert first.core is not None and first.core.voters == four
    run_until(cluster, partial(others_lead, cluster, first), 5_000)
    commit(cluster)
    cluster.network.blocked.clear()
    cluster.run(2_000)
    assert first.core.voters == cluster.founders


def test_a_follower_with_a_slow_disk_is_not_taken_for_lost() -> None:
    """Flushes of up to 4 s: longer than the fetch time-out, and no reason for anybody to move."""
    cluster = started(3)
    first = leader(cluster)
    for node in followers(cluster):
        node.flush_ms_max = 4_000
    for _ in range(20):
        cluster.propose(first.node_id)
        cluster.run(1_000)
    assert leader(cluster) is first and epoch(first) == 1
