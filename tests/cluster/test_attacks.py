"""Attacks on three real nodes under load, one kind at a time: each time nothing is lost, doubled or reordered."""

import re
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kraftpy import Producer
from kraftpy.testing import Cluster
from tests.cluster.chaos import NODES, PARTITIONS, TOPIC, Fault, Round, chaos_cluster, play
from tests.cluster.load import Load

FILE_BYTES_MAX = 256 * 1024  # some seconds of the load, and more than a node's own log


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Each test leaves all nodes up and in sync."""
    with chaos_cluster() as made:
        yield made


@pytest.fixture
def load(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Load]:
    """A topic of the test's own under load, judged at the end."""
    topic = f"{TOPIC}-{request.node.name}"[:100]
    cluster.admin.create_topic(topic, partitions=PARTITIONS, replication_factor=NODES)
    cluster.wait_in_sync()
    with Load(cluster.bootstrap, topic, PARTITIONS) as made:
        made.wait_acknowledged(200)
        yield made
        findings = made.finish()
        assert not findings, findings
        assert made.ledger.failed == 0


def until(happens: Callable[[], bool], timeout: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout
    while not happens():
        assert time.monotonic() < deadline_s, f"waited {timeout:g} s in vain"
        threading.Event().wait(0.05)


def test_kill_of_all_nodes_at_once_loses_nothing(cluster: Cluster, load: Load) -> None:
    play(cluster, load, Round(Fault.KILL_ALL, tuple(cluster.node_ids), 0))


def test_a_rolling_restart_under_load_loses_nothing(cluster: Cluster, load: Load) -> None:
    """SIGTERM is a controlled shutdown: leaderships move before the node goes, so records hardly wait."""
    for node_id in cluster.node_ids:
        outcome = play(cluster, load, Round(Fault.STOP, (node_id,), 100))
        print(f"node {node_id}: {outcome}")
        assert "stopping although" not in cluster.log(node_id)


def test_the_death_of_a_broker_that_leads_nothing_is_noticed_at_once(cluster: Cluster, load: Load) -> None:
    leader = cluster.quorum_leader()
    victim = next(node_id for node_id in cluster.node_ids if node_id != leader)
    for _ in range(2):  # the second time it leads nothing: leaderships do not go back at once
        mark = len(cluster.log(leader))
        play(cluster, load, Round(Fault.KILL, (victim,), 500))
        assert cluster.quorum_leader() == leader
        logged = cluster.log(leader)[mark:]
        assert "nobody listens there" in logged and "silent for" not in logged, logged


def test_a_topic_deleted_while_a_node_is_down_frees_its_files_there(cluster: Cluster, load: Load) -> None:
    cluster.admin.create_topic("doomed", partitions=2, replication_factor=NODES)
    victim = next(node_id for node_id in cluster.node_ids if node_id != cluster.quorum_leader())
    home = Path(cluster.directory) / f"node-{victim}"
    with Producer(cluster.bootstrap) as producer:
        for partition in range(2):  # before its first record a log has no files
            producer.send("doomed", b"a record", partition=partition).result(30)
    until(lambda: len(list(home.glob("doomed-*"))) == 2)
    cluster.kill(victim)
    cluster.admin.delete_topic("doomed")
    assert len(list(home.glob("doomed-*"))) == 2
    cluster.start(victim)
    cluster.wait_in_sync()
    until(lambda: not [path for path in home.glob("doomed-?") if path.is_dir()])


def test_kafka_10778_a_full_disk_takes_its_node_out_and_loses_nothing(cluster: Cluster, load: Load) -> None:
    """Files of node 3 may not grow beyond a limit: an append fails, and nothing more is accepted on that directory."""
    mark = len(cluster.log(3))
    resource.prlimit(cluster.pid(3), resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, FILE_BYTES_MAX))
    until(lambda: 3 not in cluster.running)
    assert re.search(r"log directory \S+ failed while .*File too large", cluster.log(3)[mark:]), cluster.log(3)[mark:]
    load.wait_acknowledged(500)  # by the others
    cluster.start(3)  # with room again
    cluster.wait_in_sync()
    load.wait_acknowledged(200)
