"""What docs/operations.md says of slow disks, slow followers and clocks that jump, with real processes under load."""

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kraftpy import Admin, Consumer, Producer
from kraftpy.client.admin_values import ConfigResource
from kraftpy.errors import InvalidTimestampError
from kraftpy.testing import Cluster
from tests.cluster import shifted_clock
from tests.cluster.load import Load
from tests.cluster.replica_files import differences
from tests.cluster.test_moves import wait_until

TOPIC = "lines"
LAG_MS = 2_000
SESSION_MS = 4_000
CONFIG: dict[str, str | int | bool] = {
    "min.insync.replicas": 2,
    "replica.lag.time.max.ms": LAG_MS,
    "broker.session.timeout.ms": SESSION_MS,
}
SYNCS = "fdatasync,fsync,syncfs"
HOUR_MS = 3_600_000


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=3, config=CONFIG) as made:
        yield made


def create_topic(cluster: Cluster) -> int:
    """One partition on all nodes; a follower of it that does not lead the quorum."""
    controller = cluster.quorum_leader()
    slow = next(node_id for node_id in cluster.node_ids if node_id != controller)
    leaders = [node_id for node_id in cluster.node_ids if node_id != slow]
    cluster.admin.create_topic(TOPIC, assignment={0: (*leaders, slow)})
    cluster.wait_in_sync()
    return slow


def isr(asked: Admin) -> tuple[int, ...]:
    """As the node that is asked has it: one that stands still answers later, with what it knew before."""
    return tuple(sorted(asked.describe_topic(TOPIC).partitions[0].isr))


def reigns(cluster: Cluster) -> tuple[tuple[int, int], ...]:
    """(leader, epoch) of the quorum and of the partition: another pair is another election."""
    quorum, partition = cluster.admin.describe_quorum(), cluster.admin.describe_topic(TOPIC).partitions[0]
    return (quorum.leader_id, quorum.leader_epoch), (partition.leader, partition.leader_epoch)


def assert_nothing_is_lost(cluster: Cluster, load: Load) -> None:
    cluster.wait_in_sync()
    assert load.finish() == []
    cluster.wait_in_sync()
    cluster.stop_all()
    assert differences(cluster.directory, f"{TOPIC}-0", cluster.node_ids) == []


# --- a slow disk ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def slow_syncs(pid: int, delay_s: float) -> Iterator[None]:
    """Each sync of this process takes so much longer. Skips where nobody may do that to a process.

    The kernel's own syncs, which could not be delayed, are not to be had meanwhile.
    """
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    inject = f"{SYNCS}:delay_enter={round(delay_s * 1e6)}"
    traced = ["-e", f"trace={SYNCS},io_submit", "-e", f"inject={inject}", "-e", "inject=io_submit:error=EAGAIN"]
    slowly = ["-f", "-q", *traced, "-o", os.devnull]
    command = ["strace", *slowly, "-p", f"{pid}"]
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: tracer.poll() is not None or is_traced(pid))
        if tracer.poll() is not None:
            assert tracer.stderr is not None
            pytest.skip(f"strace cannot slow the node down: {tracer.stderr.read().strip()}")
        yield
    finally:
        tracer.terminate()  # it lets go of the process
        tracer.communicate(timeout=60)


def is_traced(pid: int) -> bool:
    return all(
        "TracerPid:\t0\n" not in (thread / "status").read_text() for thread in Path(f"/proc/{pid}/task").iterdir()
    )


def test_a_follower_with_a_slow_disk_holds_up_acks_until_it_leaves_the_isr(cluster: Cluster) -> None:
    slow = create_topic(cluster)
    others = tuple(node_id for node_id in cluster.node_ids if node_id != slow)
    with Load(cluster.bootstrap, TOPIC, 1) as load, Admin(cluster.address(others[0])) as other:
        load.wait_acknowledged(300)
        before = reigns(cluster)
        load.take_longest_wait_s()
        with slow_syncs(cluster.pid(slow), 2 * LAG_MS / 1000):
            wait_until(lambda: isr(other) == others)
            load.wait_acknowledged(300)
            assert LAG_MS / 2000 < load.take_longest_wait_s() < 10, "acks waited for it, but not for ever"
            load.wait_acknowledged(300)
            assert load.take_longest_wait_s() < LAG_MS / 1000, "the others go on without it"
            assert isr(other) == others
            assert reigns(cluster) == before, "it costs nobody a leadership"
        wait_until(lambda: isr(other) == (1, 2, 3))
        assert_nothing_is_lost(cluster, load)


# --- a slow follower --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def in_turns(cluster: Cluster, node_id: int, stopped_s: float, running_s: float) -> Iterator[None]:
    """It runs a little and stands still a while, again and again; in the end it runs."""
    ended = threading.Event()

    def take_turns() -> None:
        while not ended.is_set():
            cluster.pause(node_id)
            try:
                ended.wait(stopped_s)
            finally:
                cluster.resume(node_id)
            ended.wait(running_s)

    thread = threading.Thread(target=take_turns)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_slow_follower_stays_in_sync_while_it_reaches_the_end_and_leaves_the_isr_when_it_does_not(
    cluster: Cluster,
) -> None:
    slow = create_topic(cluster)
    others = tuple(node_id for node_id in cluster.node_ids if node_id != slow)
    with Load(cluster.bootstrap, TOPIC, 1) as load, Admin(cluster.address(others[0])) as other:
        load.wait_acknowledged(300)
        before = reigns(cluster)
        load.take_longest_wait_s()
        with in_turns(cluster, slow, LAG_MS / 4000, 0.5):
            load.wait_acknowledged(300)
            assert isr(other) == (1, 2, 3)
        assert load.take_longest_wait_s() > LAG_MS / 8000, "acks waited for it"
        with in_turns(cluster, slow, (LAG_MS + SESSION_MS) / 2000, 0.05):
            wait_until(lambda: isr(other) == others)
            load.take_longest_wait_s()
            load.wait_acknowledged(300)
            assert reigns(cluster) == before
        wait_until(lambda: isr(other) == (1, 2, 3))
        assert_nothing_is_lost(cluster, load)


# --- a clock that jumps -----------------------------------------------------------------------------------------------


def test_a_clock_that_jumps_moves_no_leadership_and_deletes_nothing_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(shifted_clock.FOLDER, str(tmp_path))
    config = {**CONFIG, "log.retention.check.interval.ms": 200}
    with Cluster(nodes=3, config=config, launcher="tests.cluster.shifted_clock") as cluster:
        create_topic(cluster)
        settings = {"retention.ms": f"{HOUR_MS}", "segment.ms": "300"}
        cluster.admin.alter_configs({ConfigResource.topic(TOPIC): settings})
        before = reigns(cluster)
        (_, (leader, _)) = before
        follower, other = (node_id for node_id in cluster.node_ids if node_id != leader)
        with Load(cluster.bootstrap, TOPIC, 1) as load:
            load.wait_acknowledged(300)
            for node_id, by_ms in (
                (leader, HOUR_MS // 2),
                (follower, -24 * HOUR_MS),
                (other, HOUR_MS // 2),
                (leader, -HOUR_MS // 2),
            ):
                shifted_clock.jump(node_id, by_ms)
                load.wait_acknowledged(300)
                assert load.take_longest_wait_s() < SESSION_MS / 1000
            assert isr(cluster.admin) == (1, 2, 3)
            assert reigns(cluster) == before
            with Consumer(bootstrap=cluster.bootstrap) as consumer:
                assert consumer.beginning_offsets([(TOPIC, 0)]) == {(TOPIC, 0): 0}
            assert load.finish() == [], "nothing is missing, nothing came twice"
        assert reigns(cluster) == before
        refused_and_taken_again(cluster, leader)
        deleted_early(cluster, leader)


def refused_and_taken_again(cluster: Cluster, leader: int) -> None:
    """Records from more than an hour ahead, as the leader sees it."""
    shifted_clock.jump(leader, -2 * HOUR_MS)
    with pytest.raises(InvalidTimestampError), Producer(cluster.bootstrap) as producer:
        producer.send(TOPIC, b"from the future").result(30)
    shifted_clock.jump(leader, 0)
    with Producer(cluster.bootstrap) as producer:
        producer.send(TOPIC, b"now").result(30)


def deleted_early(cluster: Cluster, leader: int) -> None:
    """A clock that is far ahead makes old what is not."""
    shifted_clock.jump(leader, 2 * HOUR_MS)
    with Consumer(bootstrap=cluster.bootstrap) as consumer:
        wait_until(lambda: max(consumer.beginning_offsets([(TOPIC, 0)]).values()) > 0)
