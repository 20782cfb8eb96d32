"""`kraftpy.testing.Cluster` on real processes: every call, and nothing left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kraftpy import Consumer, Producer
from kraftpy.testing import Cluster, ClusterError, PortInUseError
from kraftpy.testing.ports import ReservedPort
from tests.testing.processes import ends_within, path_vanishes_within


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three nodes; each test leaves all of them up and in sync."""
    with Cluster(nodes=3, config={"min.insync.replicas": 2, "auto.create.topics.enable": False}) as made:
        made.admin.create_topic("lines", partitions=3, replication_factor=3)
        made.wait_in_sync()
        yield made


def publish(cluster: Cluster, *values: bytes) -> None:
    with Producer(cluster.bootstrap) as producer:
        for value in values:
            producer.send("lines", value, key=b"k")
        producer.flush(30)


def values_read(cluster: Cluster, count: int) -> list[bytes]:
    with Consumer("lines", bootstrap=cluster.bootstrap, auto_offset_reset="earliest") as consumer:
        return [next(consumer).value for _ in range(count)]


def test_a_cluster_is_whole_when_it_begins(cluster: Cluster) -> None:
    assert cluster.node_ids == cluster.running == [1, 2, 3]
    assert cluster.admin.cluster_health().healthy
    assert sorted(cluster.leader("lines", partition) for partition in range(3)) == [1, 2, 3]
    assert cluster.quorum_leader() in (1, 2, 3)
    assert "in service" in cluster.log(1)


def test_a_killed_leader_is_replaced_and_comes_back(cluster: Cluster) -> None:
    publish(cluster, b"before")
    leader = cluster.leader("lines", 0)
    cluster.kill(leader)
    assert cluster.running == [node_id for node_id in (1, 2, 3) if node_id != leader]
    assert cluster.leader("lines", 0) != leader
    publish(cluster, b"meanwhile")
    cluster.start(leader)
    cluster.wait_in_sync()
    assert values_read(cluster, 2) == [b"before", b"meanwhile"]


def test_a_paused_quorum_leader_is_replaced_and_wakes_up(cluster: Cluster) -> None:
    leader = cluster.quorum_leader()
    cluster.pause(leader)
    assert leader in cluster.running
    assert cluster.quorum_leader() != leader
    cluster.resume(leader)
    cluster.wait_in_sync()


def test_a_stop_is_a_controlled_shutdown(cluster: Cluster) -> None:
    cluster.stop(2)
    assert cluster.running == [1, 3]
    assert "stopped" in cluster.log(2).splitlines()[-1]
    with pytest.raises(RuntimeError, match="node 2 is not running"):
        cluster.pause(2)
    cluster.start(2)
    cluster.wait_in_sync()
    with pytest.raises(RuntimeError, match="node 2 is running already"):
        cluster.start(2)


def test_waiting_in_vain_ends_with_the_logs(cluster: Cluster) -> None:
    cluster.kill(3)
    try:
        with pytest.raises(
            ClusterError, match=r"(?s)waited 0.2 s until every replica is in sync.*node 3 \(exit code -9\)"
        ):
            cluster.wait_in_sync(timeout=0.2)
    finally:
        cluster.start(3)
        cluster.wait_in_sync()


def test_a_node_that_cannot_start_is_told_with_its_log() -> None:
    refused = pytest.raises(ClusterError, match=r"(?s)node 1 ended by itself, exit code 2.*log\.segment\.bytes")
    with refused, Cluster(1, config={"log.segment.bytes": "many"}):
        pytest.fail("it must not start")


def test_a_setting_that_nobody_knows_is_refused() -> None:
    refused = pytest.raises(ClusterError, match=r"(?s)unknown setting num\.partition; did you mean num\.partitions\?")
    with refused, Cluster(1, config={"num.partition": 3}):
        pytest.fail("it must not start")


def test_a_node_that_the_cluster_does_not_have_is_named(cluster: Cluster) -> None:
    for call in (cluster.kill, cluster.pause, cluster.stop, cluster.start, cluster.log, cluster.address):
        with pytest.raises(ValueError, match=r"there is no node 9; the nodes of this cluster are 1, 2, 3"):
            call(9)


def test_data_stays_in_a_directory_that_is_given(tmp_path: os.PathLike[str]) -> None:
    with Cluster(1, directory=tmp_path, flush=False) as first:
        first.admin.create_topic("kept")
        first.stop_all()
    with Cluster(1, directory=tmp_path) as second:
        assert [topic.name for topic in second.admin.list_topics()] == ["kept"]


def test_a_wiped_node_keeps_nothing_on_any_disk() -> None:
    with Cluster(1, log_dirs=2, flush=False) as cluster:
        cluster.kill(1)
        assert all(map(os.listdir, cluster.log_dirs(1)))
        cluster.wipe(1)
        assert not any(map(os.path.exists, cluster.log_dirs(1)))


def test_ports_that_are_taken_are_named() -> None:
    with ReservedPort() as taken:
        taken._socket.listen()
        with (
            pytest.raises(PortInUseError, match=f"port {taken.number} of 127.0.0.1"),
            Cluster(1, first_port=taken.number),
        ):
            pytest.fail("it must not start")


def test_a_failing_test_shows_the_logs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(pytest.fail.Exception), Cluster(1):
        pytest.fail("the test failed")
    assert "--- node 1 (running, pid " in capsys.readouterr().err
    with pytest.raises(pytest.skip.Exception), Cluster(1):
        pytest.skip("not now")
    assert "--- node 1" not in capsys.readouterr().err


def test_what_cannot_be_shown_stops_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where stderr is a pipe whose reader is gone."""
    cluster = Cluster(1)
    closed: list[bool] = []
    cluster._stack.callback(closed.append, True)
    monkeypatch.setattr(sys, "stderr", _Gone())
    with pytest.raises(BrokenPipeError):
        cluster.__exit__(LookupError, LookupError(), None)
    assert closed == [True]


class _Gone:
    def write(self, _text: str) -> int:
        raise BrokenPipeError


DIES = """
import os, signal, sys
from kraftpy.testing import Cluster
cluster = Cluster(2).__enter__()
cluster.pause(2)
print(cluster.directory, *[node.pid for node in cluster._nodes.values()], flush=True)
sys.stdin.readline()
"""


def test_nothing_is_left_when_the_test_process_is_killed() -> None:
    test = subprocess.Popen(
        [sys.executable, "-c", DIES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_with_path()
    )
    with test:
        assert test.stdout is not None
        directory, *pids = test.stdout.readline().split()
        test.send_signal(signal.SIGKILL)
    assert len(pids) == 2
    assert all(ends_within(int(pid), 10) for pid in pids)
    assert path_vanishes_within(directory, 10)


def _with_path() -> dict[str, str]:
    from kraftpy.testing.reaper import python_path

    return {**os.environ, "PYTHONPATH": os.pathsep.join(python_path())}
