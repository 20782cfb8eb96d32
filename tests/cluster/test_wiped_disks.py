"""Voters that come back without their disks, or without the quorum's log on it: they neither elect each other nor found
anything, and nothing is lost."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from kraftpy import Admin, Consumer, Producer
from kraftpy.errors import KraftpyError
from kraftpy.testing import Cluster
from log_store.file_names import QUORUM_LOG

TOPIC = "lines"
RECORDS = 300
REFUSED = "was its disk wiped? It serves as a broker and does not vote"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three nodes and `RECORDS` acknowledged records."""
    config = {"min.insync.replicas": 2, "auto.create.topics.enable": False}
    with Cluster(nodes=3, config=config) as made:
        made.admin.create_topic(TOPIC, partitions=3, replication_factor=3)
        made.wait_in_sync()
        with Producer(made.bootstrap) as producer:
            for number in range(RECORDS):
                producer.send(TOPIC, b"%d" % number)
        yield made


def wipe(cluster: Cluster, node_id: int) -> None:
    """Its disk is lost; `restore` finds it again."""
    os.rename(data_of(cluster, node_id), data_of(cluster, node_id) + ".lost")


def restore(cluster: Cluster, node_id: int) -> None:
    os.rename(data_of(cluster, node_id), data_of(cluster, node_id) + ".new")
    os.rename(data_of(cluster, node_id) + ".lost", data_of(cluster, node_id))


def data_of(cluster: Cluster, node_id: int) -> str:
    return os.path.join(cluster.directory, f"node-{node_id}")


def until(happens: Callable[[], bool], timeout: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout
    while not happens():
        assert time.monotonic() < deadline_s, f"waited {timeout:g} s in vain"
        threading.Event().wait(0.05)


def lose_the_quorums_log(cluster: Cluster, node_id: int) -> str:
    """As somebody does who takes it for one of the partitions, which are copied anew; where it was put aside."""
    path = os.path.join(data_of(cluster, node_id), QUORUM_LOG)
    return shutil.move(path, os.path.join(cluster.directory, f"quorum-log-of-{node_id}"))


def logged_since(cluster: Cluster, node_id: int, mark: int) -> str:
    return cluster.log(node_id)[mark:]


def assert_all_records_are_there(cluster: Cluster) -> None:
    with Consumer(TOPIC, bootstrap=cluster.bootstrap, auto_offset_reset="earliest") as consumer:
        values = [next(consumer).value for _ in range(RECORDS)]
    assert sorted(int(value) for value in values) == list(range(RECORDS))


def leaders_of_the_quorum(cluster: Cluster) -> list[int]:
    """Every change of the controller that any node has logged, by node."""
    return [node_id for node_id in cluster.node_ids for _ in range(cluster.log(node_id).count("controller is active"))]


def has_no_controller(address: str) -> bool:
    """Whether this node refuses what needs a controller, and knows none."""
    with Admin(address) as admin:
        try:
            admin.create_topic("second-cluster", timeout=1)
        except KraftpyError:
            return True
    return False


def test_two_wiped_voters_of_three_elect_nobody_and_found_no_second_cluster(cluster: Cluster) -> None:
    cluster_id = cluster.admin.describe_cluster().cluster_id
    for node_id in (2, 3):
        cluster.kill(node_id)
        wipe(cluster, node_id)
    led = leaders_of_the_quorum(cluster)
    marks = {node_id: len(cluster.log(node_id)) for node_id in cluster.node_ids}
    for node_id in (2, 3):
        cluster.start(node_id, wait=False)
    for node_id in (2, 3):
        until(lambda node_id=node_id: REFUSED in logged_since(cluster, node_id, marks[node_id]))  # type: ignore[misc]
        until(lambda node_id=node_id: "not registered yet" in logged_since(cluster, node_id, marks[node_id]))  # type: ignore[misc]
    assert all(has_no_controller(cluster.address(node_id)) for node_id in cluster.node_ids)
    assert leaders_of_the_quorum(cluster) == led
    assert not any("founded" in logged_since(cluster, node_id, marks[node_id]) for node_id in cluster.node_ids)

    cluster.kill(3)
    restore(cluster, 3)
    cluster.start(3, wait=False)
    cluster.wait_in_sync()  # node 2 as a broker with a new disk
    assert cluster.admin.describe_cluster().cluster_id == cluster_id
    assert cluster.quorum_leader() in (1, 3)
    assert_all_records_are_there(cluster)


def test_a_wiped_voter_with_a_lagging_one_elects_nobody(cluster: Cluster) -> None:
    cluster.kill(3)
    with Admin(cluster.bootstrap) as admin:
        admin.create_topic("decided-without-3", assignment={0: [1, 2]})
    cluster.kill(1)
    cluster.kill(2)
    wipe(cluster, 2)
    led = leaders_of_the_quorum(cluster)
    marks = {node_id: len(cluster.log(node_id)) for node_id in cluster.node_ids}
    for node_id in (2, 3):
        cluster.start(node_id, wait=False)
    until(lambda: REFUSED in logged_since(cluster, 2, marks[2]))
    until(lambda: "not registered yet" in logged_since(cluster, 3, marks[3]))
    assert all(has_no_controller(cluster.address(node_id)) for node_id in (2, 3))
    assert leaders_of_the_quorum(cluster) == led

    cluster.kill(2)
    restore(cluster, 2)
    for node_id in (1, 2):
        cluster.start(node_id, wait=False)
    cluster.wait_in_sync()
    assert "decided-without-3" in [topic.name for topic in cluster.admin.list_topics()]
    assert_all_records_are_there(cluster)


def test_one_wiped_voter_serves_as_a_broker_and_copies_everything(cluster: Cluster) -> None:
    cluster.kill(2)
    wipe(cluster, 2)
    cluster.start(2)
    assert REFUSED in cluster.log(2)
    cluster.wait_in_sync()
    cluster.kill(3)  # of the voters that are left one may not go, but its records are elsewhere
    cluster.start(3)
    cluster.wait_in_sync()
    assert_all_records_are_there(cluster)


def test_a_voter_without_its_quorum_log_does_not_vote_again_and_comes_back_as_a_new_replica(cluster: Cluster) -> None:
    cluster.kill(2)
    lose_the_quorums_log(cluster, 2)
    mark = len(cluster.log(2))
    for _ in range(2):  # the first start has made an empty log
        cluster.start(2, wait=False)
        assert cluster.wait_ended(2) == 1
    told = logged_since(cluster, 2, mark)
    assert "its disk lost data. Give it an empty (first) log directory" in told and "founded" not in told
    wipe(cluster, 2)
    cluster.start(2)
    assert REFUSED in logged_since(cluster, 2, mark)
    cluster.wait_in_sync()
    old = next(voter.directory_id for voter in cluster.admin.describe_quorum().voters if voter.node_id == 2)
    cluster.admin.remove_raft_voter(2, directory_id=old)
    cluster.admin.add_raft_voter(2)
    assert sorted(voter.node_id for voter in cluster.admin.describe_quorum().voters) == [1, 2, 3]
    assert_all_records_are_there(cluster)


def test_a_lone_voter_without_its_quorum_log_does_not_begin_again_and_deletes_nothing() -> None:
    with Cluster(nodes=1) as cluster:
        cluster.admin.create_topic(TOPIC, partitions=3)
        with Producer(cluster.bootstrap) as producer:
            for number in range(RECORDS):
                producer.send(TOPIC, b"%d" % number)
        cluster.kill(1)
        aside = lose_the_quorums_log(cluster, 1)
        mark = len(cluster.log(1))
        cluster.start(1, wait=False)
        assert cluster.wait_ended(1) == 1
        assert "its quorum log is empty and no listed voter has one: restore" in logged_since(cluster, 1, mark)

        shutil.rmtree(os.path.join(data_of(cluster, 1), QUORUM_LOG))
        shutil.move(aside, os.path.join(data_of(cluster, 1), QUORUM_LOG))
        cluster.start(1)
        assert_all_records_are_there(cluster)
