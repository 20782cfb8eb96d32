"""`kraftpy dev`: one process tree, one Ctrl-C, and nothing left, whatever happens."""

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from kraftpy import Admin, Producer
from tests.cli.command import kraftpy
from tests.cli.commands_running import ENDED_S, read_until, running
from tests.testing.processes import ends_within, path_vanishes_within


class Told(NamedTuple):
    pids: list[int]
    bootstrap: str
    data: str


def told_by(command: subprocess.Popen[str]) -> Told:
    """What `dev` prints once its nodes are up."""
    lines = read_until(command, "data ")
    nodes = [line.split() for line in lines[1:-3]]
    return Told([int(node[1]) for node in nodes], lines[-2].split()[1], lines[-1].split()[1])


def is_refused(bootstrap: str) -> bool:
    host, _, port = bootstrap.partition(",")[0].rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_all_cleanly(number: signal.Signals) -> None:
    with running("dev", "--nodes", "2", "--port", "0") as command:
        told = told_by(command)
        assert len(told.pids) == 2 and os.path.isdir(told.data)
        with Admin(told.bootstrap) as admin:
            admin.create_topic("lines", replication_factor=2)
        command.send_signal(number)
        assert command.wait(ENDED_S) == 0
        assert not os.path.exists(told.data)
        assert is_refused(told.bootstrap)
        assert all(ends_within(pid, 0) for pid in told.pids)


def test_kill_9_leaves_nothing() -> None:
    with running("dev", "--port", "0") as command:
        told = told_by(command)
        command.kill()
        command.wait(ENDED_S)
        assert ends_within(told.pids[0], 10)
        assert path_vanishes_within(told.data, 10)


def test_a_node_that_dies_is_told_and_ends_all() -> None:
    with running("dev", "--nodes", "2", "--port", "0") as command:
        told = told_by(command)
        os.kill(told.pids[1], signal.SIGKILL)
        _, errors = command.communicate(timeout=ENDED_S)
        assert command.returncode == 1
        assert "node 2 ended by itself, exit code -9" in errors
        assert "--- node 2 (exit code -9) ---" in errors and "in service" in errors  # the log's last lines
        assert ends_within(told.pids[0], 0) and not os.path.exists(told.data)


def test_a_node_of_three_that_dies_is_told_and_the_others_go_on() -> None:
    with running("dev", "--nodes", "3", "--port", "0") as command:
        told = told_by(command)
        os.kill(told.pids[1], signal.SIGKILL)
        assert command.stderr is not None
        said = next(line for line in command.stderr if "ended" in line)
        assert "node 2 ended by itself, exit code -9; the others go on" in said and f"{told.data}/node-2.log" in said
        with Admin(told.bootstrap) as admin:
            admin.create_topic("lines", replication_factor=2)
        command.send_signal(signal.SIGINT)
        _, errors = command.communicate(timeout=ENDED_S)
        assert command.returncode == 0 and "ended" not in errors


def test_data_of_more_nodes_than_are_started_is_told_at_once(tmp_path: Path) -> None:
    for node_id in (1, 2, 3):
        (tmp_path / f"node-{node_id}").mkdir()
    with running("dev", "--port", "0", "--data-dir", str(tmp_path)) as command:
        told_by(command)
        command.send_signal(signal.SIGINT)
        _, errors = command.communicate(timeout=ENDED_S)
    assert "has the data of nodes 1, 2, 3, and --nodes 1 starts 1" in errors.splitlines()[0]
    assert "--nodes 3 starts them all" in errors


def test_a_setting_that_nobody_knows_is_refused() -> None:
    result = kraftpy("dev", "--port", "0", "--set", "log.segment.byte=1048576")
    assert result.code == 1
    assert "unknown setting log.segment.byte; did you mean log.segment.bytes?" in result.err


@pytest.mark.parametrize("nodes", ["1", "3"])
def test_data_that_is_to_be_kept_is_there_the_next_time(tmp_path: Path, nodes: str) -> None:
    """On other ports, which the quorum's log does not know."""
    for round_number in range(2):
        with running("dev", "-n", nodes, "--port", "0", "--data-dir", str(tmp_path), "--no-flush") as command:
            told = told_by(command)
            with Admin(told.bootstrap) as admin:
                if round_number == 0:
                    admin.create_topic("kept")
                    with Producer(told.bootstrap) as producer:  # before its first record a log has no files
                        producer.send("kept", b"a record").result(30)
                assert [topic.name for topic in admin.list_topics()] == ["kept"]
            command.send_signal(signal.SIGINT)
            assert command.wait(ENDED_S) == 0
    assert len(list(tmp_path.glob("node-*/kept-0"))) == 1 and (tmp_path / "node-1.log").is_file()


def test_a_port_in_use_is_named_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = kraftpy("dev", "--port", str(port))
        assert result.code == 1
        assert f"port {port} of 127.0.0.1" in result.err and "--port chooses other ports" in result.err
    beyond = kraftpy("dev", "--nodes", "3", "--port", "65500")
    assert beyond.code == 2 and "65500 leaves no ports for 3 nodes" in beyond.said


def test_a_setting_that_is_wrong_is_told_with_the_nodes_own_words() -> None:
    result = kraftpy("dev", "--port", "0", "--set", "log.segment.bytes=many")
    assert result.code == 1
    assert "log.segment.bytes" in result.err
