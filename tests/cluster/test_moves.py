"""Partitions move between real processes, under load, with nodes killed in mid-move: nothing is lost."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from kraftpy.client.balancing import PlannedMove
from kraftpy.testing import Cluster
from tests.cluster.load import STEADY, Load
from tests.cluster.replica_files import differences

PARTITIONS = 6


def kraftpy(cluster: Cluster, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "kraftpy", *arguments, "-b", cluster.bootstrap],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def turned(replicas: tuple[int, ...]) -> tuple[int, ...]:
    """Without the last one, and with the one that is not among them."""
    return (next(node_id for node_id in (1, 2, 3, 4) if node_id not in replicas), *replicas[:2])


def wait_until(happened: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline_s
        threading.Event().wait(0.1)


def held(cluster: Cluster) -> Counter[int]:
    topic = cluster.admin.describe_topic("lines")
    return Counter(node_id for partition in topic.partitions for node_id in partition.replicas)


def test_a_fourth_node_gets_its_share_under_load_and_gives_it_back() -> None:
    with Cluster(nodes=3, config={"min.insync.replicas": 2, "default.replication.factor": 3}) as cluster:
        cluster.admin.create_topic("lines", partitions=PARTITIONS)
        with Load(cluster.bootstrap, "lines", PARTITIONS, records_per_s=STEADY) as load:
            load.wait_acknowledged(300)
            assert cluster.add_node() == 4
            assert "nothing has been changed" in kraftpy(cluster, "cluster", "rebalance")
            assert held(cluster) == Counter({1: 6, 2: 6, 3: 6})
            kraftpy(cluster, "cluster", "rebalance", "--execute")
            wait_until(lambda: sorted(held(cluster).values()) == [4, 4, 5, 5])
            load.wait_acknowledged(300)

            topic = cluster.admin.describe_topic("lines")
            moves = [
                PlannedMove("lines", each.partition, each.replicas, turned(each.replicas)) for each in topic.partitions
            ]
            cluster.admin.throttle_replication(moves, 500)
            moving = {(move.topic, move.partition): move.after for move in moves}
            assert not any(result.error for result in cluster.admin.alter_partition_reassignments(moving))
            cluster.kill(1)
            load.wait_acknowledged(300)
            under_way = cluster.admin.list_partition_reassignments()
            assert under_way, "they were killed into"
            assert any(each.progress and each.bytes_lag for each in under_way)
            cluster.start(1)
            load.wait_acknowledged(100)
            cluster.admin.unthrottle_replication()
            wait_until(lambda: not cluster.admin.list_partition_reassignments())
            kraftpy(cluster, "cluster", "rebalance", "--execute")
            load.wait_acknowledged(300)

            assert "holds no replica any more" in kraftpy(cluster, "cluster", "decommission", "4", "--execute")
            wait_until(lambda: held(cluster) == Counter({1: 6, 2: 6, 3: 6}))
            cluster.wait_in_sync()
            assert load.finish() == []
        cluster.stop(4)
        assert "no longer a node" in kraftpy(cluster, "cluster", "decommission", "4", "--execute")
        wait_until(lambda: [each.node_id for each in cluster.admin.describe_cluster().brokers] == [1, 2, 3])
        assert cluster.admin.list_partition_reassignments() == []


@pytest.mark.parametrize("killed", [1, 4], ids=["old-replica", "new-replica"])
def test_a_move_that_is_cancelled_after_a_node_died_in_it_leaves_everything_as_it_was(killed: int) -> None:
    """The throttle keeps the moves from being complete, as the load writes more than it lets through."""
    config = {"min.insync.replicas": 2, "log.segment.delete.delay.ms": 100}
    with Cluster(nodes=4, voters=3, config=config) as cluster:
        before = {partition: ((1, 2, 3), (2, 3, 1), (3, 1, 2))[partition % 3] for partition in range(PARTITIONS)}
        cluster.admin.create_topic("lines", assignment=before)
        with Load(cluster.bootstrap, "lines", PARTITIONS, records_per_s=STEADY) as load:
            load.wait_acknowledged(1_000)
            moves = [PlannedMove("lines", partition, old, turned(old)) for partition, old in before.items()]
            cluster.admin.throttle_replication(moves, 500)
            moving = {(move.topic, move.partition): move.after for move in moves}
            assert not any(result.error for result in cluster.admin.alter_partition_reassignments(moving))
            wait_until(lambda: logs_on(cluster, 4) != [])
            load.wait_acknowledged(300)
            cluster.kill(killed)
            load.wait_acknowledged(300)
            assert len(cluster.admin.list_partition_reassignments()) == PARTITIONS, "killed into the midst of all"
            cancelled = cluster.admin.alter_partition_reassignments(dict.fromkeys(moving))
            assert not any(result.error for result in cancelled)
            assert cluster.admin.list_partition_reassignments() == []
            cluster.admin.unthrottle_replication()
            load.wait_acknowledged(300)
            cluster.start(killed)
            cluster.wait_in_sync()
            load.wait_acknowledged(300)
            partitions = cluster.admin.describe_topic("lines").partitions
            assert {each.partition: each.replicas for each in partitions} == before
            assert not any(each.adding_replicas or each.removing_replicas for each in partitions)
            wait_until(lambda: logs_on(cluster, 4) == [])
            assert load.finish() == []
        cluster.wait_in_sync()
        cluster.stop_all()
        found = [differences(cluster.directory, f"lines-{partition}", [1, 2, 3]) for partition in before]
        assert found == [[]] * PARTITIONS


def logs_on(cluster: Cluster, node_id: int) -> list[str]:
    """The directories of the topic's partitions, those to be deleted too."""
    return [name for name in os.listdir(cluster.log_dirs(node_id)[0]) if name.startswith("lines-")]
