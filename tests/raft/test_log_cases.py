"""Known cases of logs and disks, as stories by their names."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

import pytest

from raft.core import RaftCore
from raft.events import (
    Epoch,
    FetchRequest,
    LogPosition,
    NodeId,
    Offset,
    ReplicaKey,
    RequestId,
    RequestReceived,
    Respond,
    Voter,
    VoterSet,
)
from tests.bugs.bug import Bug
from tests.bugs.catalogue import BUGS
from tests.raft.bugs import core_with
from tests.raft.cluster import Cluster, MakeCore
from tests.raft.invariants import Violation
from tests.raft.stories import (
    FOUR,
    commit,
    epoch,
    followers,
    isolate,
    leader,
    others_lead,
    run_until,
    same_logs,
    started,
)


def a_restarted_follower_leads(make_core: MakeCore = RaftCore) -> None:
    """It has a record that the former leader acknowledged, and does not know yet that it is committed."""
    cluster = started(3, make_core=make_core)
    first, kept = leader(cluster), followers(cluster)[0]
    isolate(cluster, followers(cluster)[1].node_id)
    body = cluster.propose(first.node_id)
    run_until(cluster, lambda: body in cluster.acknowledged, 100)
    end_offset = cluster.acknowledged[body]
    assert kept.core is not None and kept.core.high_watermark < end_offset
    cluster.crash(first.node_id)
    cluster.crash(kept.node_id)
    cluster.start(kept.node_id)
    cluster.network.blocked.clear()
    run_until(cluster, cluster.leaders, 3_000)
    assert leader(cluster) is kept
    cluster.start(first.node_id)
    commit(cluster)
    cluster.run(1_000)
    assert same_logs(cluster)
    cluster.witness.check_acknowledged(cluster.acknowledged)


def test_kip_101_a_record_outlives_an_old_high_watermark() -> None:
    a_restarted_follower_leads()


def double_failovers(make_core: MakeCore = RaftCore) -> None:
    """Each leader is cut off with entries of its own, and so is its successor at once: the epochs interleave."""
    truncations = 0
    for seed in range(15):
        trace: list[str] = []
        cluster = started(3, seed=seed, make_core=make_core, trace=trace)
        for _ in range(4):
            first = leader(cluster)
            isolate(cluster, first.node_id)
            for _ in range(3):
                cluster.propose(first.node_id)
            run_until(cluster, partial(others_lead, cluster, first), 4_000)
            second = next(node for node in cluster.leaders() if node is not first)
            cluster.network.blocked.clear()
            cluster.run(cluster.random.randrange(10))
            isolate(cluster, second.node_id)
            cluster.propose(second.node_id)
            run_until(cluster, partial(others_lead, cluster, second), 4_000)
            cluster.network.blocked.clear()
        cluster.run(2_000)
        commit(cluster)
        cluster.run(500)
        assert same_logs(cluster), "the logs differ"
        truncations += sum("> Truncate" in line for line in trace)
    assert truncations > 10


def test_kip_279_fast_double_failovers_end_in_one_lineage() -> None:
    double_failovers()


@pytest.mark.parametrize(
    ("bug", "story"),
    [
        (BUGS["quorum-cut-to-watermark"], a_restarted_follower_leads),
        (BUGS["quorum-logs-not-compared"], double_failovers),
    ],
    ids=lambda value: value.name if isinstance(value, Bug) else "",
)
def test_without_its_defence_the_case_happens(bug: Bug, story: Callable[[MakeCore], None]) -> None:
    with core_with(bug) as make_core, pytest.raises(AssertionError, match=f"{bug.verdict}|the logs differ"):
        story(make_core)


def test_kafka_13837_the_epoch_is_looked_at_before_who_asks() -> None:
    """A stranger in a wrong epoch is not even remembered; in the right one it observes, and is not counted."""
    cluster = started(3)
    core = leader(cluster).core
    assert core is not None
    stranger = ReplicaKey(NodeId(9), UUID(int=9))
    end_offset = core.log.end_offset

    def fetch(epoch: int) -> bool:
        position = LogPosition(Epoch(1), end_offset)
        request = FetchRequest(stranger, Epoch(epoch), position, Offset(0), 0, 0)
        effects = core.step(RequestReceived(cluster.now_ms, RequestId(1), request))
        return any(isinstance(each, Respond) and each.response.granted for each in effects.items)  # type: ignore[union-attr]

    assert not fetch(epoch=0)
    assert stranger not in [each.key for each in core.replicas()]
    assert fetch(epoch=1)
    assert [each.key for each in core.replicas() if not each.is_voter] == [stranger]


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
    with core_with(BUGS["wiped-votes"]) as make_core, pytest.raises(Violation, match=BUGS["wiped-votes"].verdict):
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


def test_a_leader_that_removed_itself_and_died_is_still_needed() -> None:
    """Of two voters the leader takes itself out, and dies before the other hears of it. Only its log has that set, and
    the other cannot be elected without its vote, which it gives to no shorter log: so it must stand once more."""
    cluster = started(2)
    commit(cluster)
    first, (other,) = leader(cluster), followers(cluster)
    isolate(cluster, first.node_id)
    alone = VoterSet(tuple(voter for voter in cluster.founders.voters if voter.key == other.key))
    cluster.change_voters(first.node_id, alone)
    cluster.run(100)  # durable there, and nowhere else
    cluster.crash(first.node_id)
    cluster.network.blocked.clear()
    cluster.run(5_000)
    assert cluster.leaders() == []
    cluster.start(first.node_id)
    run_until(cluster, partial(others_lead, cluster, first), 5_000)
    commit(cluster)
    assert leader(cluster) is other and other.core is not None and other.core.voters == alone
    cluster.run(2_000)
    assert first.core is not None and first.core.role.name == "observer"


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
