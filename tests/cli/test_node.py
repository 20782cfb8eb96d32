"""`kraftpy node` as a process: starts in any order, errors that say what to do, a clean end."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from broker.listeners import parse_address
from cli.doctor.probing import probe
from kraftpy import Admin
from kraftpy.testing.ports import ReservedPort
from tests.cli.commands_running import ENDED_S, environment, read_until, running


class Refusal:
    """A node that does not come up: its exit code and what it said."""

    def __init__(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "kraftpy", "node", *arguments],
            capture_output=True,
            text=True,
            timeout=ENDED_S,
            env=environment(),
        )
        self.code = done.returncode
        self.said = " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr, done.stderr


def serving(command: subprocess.Popen[str], node_id: int) -> None:
    assert command.stderr is not None
    for line in command.stderr:
        if f"node {node_id} serves" in line:
            return
    raise AssertionError("the node ended without serving")


def test_a_node_alone_from_start_to_stop_and_who_is_kept_out(tmp_path: Path) -> None:
    data = str(tmp_path / "one")
    with ReservedPort() as calls, ReservedPort() as framed, ReservedPort() as other, ReservedPort() as fourth:
        place = ("--listen", str(calls), "--listeners", f"PLAINTEXT://{framed}", "--data-dir", data)
        with running("node", *place) as node:
            serving(node, 1)
            second = ("--listeners", f"PLAINTEXT://{fourth}")
            locked = Refusal("--listen", str(other), *second, "--data-dir", data)
            assert locked.code == 2 and "in use by another process" in locked.said and data in locked.said
            same_port = Refusal("--listen", str(calls), *second, "--data-dir", str(tmp_path / "two"))
            assert same_port.code == 1
            assert (
                f"cannot listen on {calls}: Address already in use" in same_port.said and "--listen" in same_port.said
            )
            with Admin(str(calls)) as admin:
                assert admin.cluster_health().healthy
            node.send_signal(signal.SIGTERM)
            assert node.wait(ENDED_S) == 0
        foreign = Refusal("--id", "7", *place)
        assert foreign.code == 2 and "belongs to node 1" in foreign.said


def test_a_place_where_data_cannot_lie_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, reason in (("file/below", "Not a directory"), ("n" * 256, "File name too long")):
        with ReservedPort() as calls, ReservedPort() as framed:
            place = ("--listen", str(calls), "--listeners", f"PLAINTEXT://{framed}", "--data-dir", f"{tmp_path}/{name}")
            refusal = Refusal(*place)
        assert refusal.code == 2
        assert f"the data directory {tmp_path}/{name} cannot be used: {reason}. Name another" in refusal.said


def test_each_listener_tells_its_own_addresses_and_any_port_serves_any_client(tmp_path: Path) -> None:
    with ReservedPort() as calls, ReservedPort() as inside, ReservedPort() as outside:
        listeners = f"INSIDE://{inside},OUTSIDE://{outside}"
        advertised = f"INSIDE://{inside},OUTSIDE://broker.example:19092"
        place = ("--listen", str(calls), "--listeners", listeners, "--advertised-listeners", advertised)
        with running("node", *place, "--data-dir", str(tmp_path / "one")) as node:
            serving(node, 1)
            told = [probe(parse_address(str(each), ""), 10).answer for each in (inside, outside)]
            assert [[f"{broker.host}:{broker.port}" for broker in each.brokers] for each in told if each] == [
                [str(inside)],
                ["broker.example:19092"],
            ]
            for port in (calls, inside, outside):
                with Admin(str(port)) as admin:
                    assert admin.cluster_health().healthy
            node.send_signal(signal.SIGTERM)
            assert node.wait(ENDED_S) == 0


def test_three_nodes_in_any_order_and_one_that_waits_says_for_whom(tmp_path: Path) -> None:
    with ReservedPort() as first, ReservedPort() as second, ReservedPort() as third:
        common = ("node", "--peers", f"1@{first},2@{second},3@{third}", "--listeners", "PLAINTEXT://127.0.0.1:0")
        places = [(*common, "--id", str(node_id), "--data-dir", str(tmp_path / str(node_id))) for node_id in (1, 2, 3)]
        with running(*places[2]) as third_node:
            assert third_node.stderr is not None
            waiting = next(line for line in third_node.stderr if "waiting for" in line)
            assert f"1@{first}, 2@{second}" in waiting
            with running(*places[0]) as first_node, running(*places[1]) as second_node:
                for node_id, node in ((1, first_node), (2, second_node), (3, third_node)):
                    serving(node, node_id)
                with Admin(str(second)) as admin:
                    ends = time.monotonic() + 20  # it hears a moment later that the others are in service
                    while (found := [broker.node_id for broker in admin.describe_cluster().brokers]) != [1, 2, 3]:
                        assert time.monotonic() < ends, found
                    assert sorted(voter.node_id for voter in admin.describe_quorum().voters) == [1, 2, 3]
                for node in (second_node, first_node):
                    node.send_signal(signal.SIGTERM)
                assert (first_node.wait(ENDED_S), second_node.wait(ENDED_S)) == (0, 0)
        with running(*places[0]) as again:  # its log knows the cluster, and alone it is none
            assert again.stderr is not None
            waiting = next(line for line in again.stderr if "no answer yet from" in line)
            assert f"2@{second}, 3@{third}" in waiting


def test_a_directory_of_another_cluster_is_refused_by_name(tmp_path: Path) -> None:
    """Also where it could elect itself at an address of the cluster that it was started for; and one that observed."""
    framed = ("--listeners", "PLAINTEXT://127.0.0.1:0")
    with ReservedPort() as first, ReservedPort() as second, ReservedPort() as third:
        small = ("--id", "1", "--peers", f"1@{first}", *framed, "--data-dir", str(tmp_path / "small"))
        with running("node", *small) as node:
            serving(node, 1)
            watching = ("--id", "4", "--listen", str(third), *framed, "--data-dir", str(tmp_path / "watching"))
            with running("node", *watching, "--peers", f"1@{first}") as observer:
                serving(observer, 4)
        pair = f"1@{first},2@{second}"
        paths = [str(tmp_path / f"pair-{node_id}") for node_id in (1, 2)]
        places = [("--id", str(i), "--peers", pair, *framed, "--data-dir", path) for i, path in enumerate(paths, 1)]
        with running("node", *places[0]) as node, running("node", *places[1]) as other:
            serving(node, 1)
            serving(other, 2)
            node.send_signal(signal.SIGKILL)
            node.wait(ENDED_S)
            for misplaced in (
                Refusal(*small[:3], pair, *small[4:]),
                Refusal(*watching, "--peers", pair),
            ):
                assert misplaced.code == 1
                assert "INCONSISTENT_CLUSTER_ID: this node's directory belongs to cluster" in misplaced.said
                assert f"but 2@{second} to " in misplaced.said


def test_a_node_that_waits_can_be_stopped(tmp_path: Path) -> None:
    with ReservedPort() as first, ReservedPort() as second:
        peers = f"1@{first},2@{second}"
        with running(
            "node", "--peers", peers, "--data-dir", str(tmp_path), "--listeners", "PLAINTEXT://127.0.0.1:0"
        ) as node:
            assert node.stderr is not None
            next(line for line in node.stderr if "waiting for" in line)
            node.send_signal(signal.SIGINT)
            node.send_signal(signal.SIGTERM)  # as a supervisor does that signals the process and its group
            assert node.wait(ENDED_S) == 0


def test_log_lines_as_json(tmp_path: Path) -> None:
    with ReservedPort() as calls, ReservedPort() as framed:
        place = ("--listen", str(calls), "--listeners", f"PLAINTEXT://{framed}", "--data-dir", str(tmp_path))
        with running("node", *place, "--set", "log.format=json") as node:
            lines = read_until(node, '{"time": ', errors=True)
            assert '"node": 1' in lines[0]
            node.send_signal(signal.SIGTERM)
            assert node.wait(ENDED_S) == 0


def test_a_wrong_command_line_is_explained() -> None:
    for arguments, said in (
        (("--peers", "127.0.0.1:9093"), "is not ID@HOST:PORT"),
        (("--peers", "1@127.0.0.1:9093,1@127.0.0.1:9193"), "id 1 stands there twice"),
        (("--id", "5", "--peers", "1@127.0.0.1:9093"), "node 5 would listen on 127.0.0.1:9093, which is node 1's"),
        (("--listen", "0.0.0.0:9093"), "advertised.listeners"),
        (("--set", "log.segment.byte=1", "--strict"), "did you mean log.segment.bytes?"),
    ):
        refusal = Refusal(*arguments)
        assert refusal.code == 2
        assert said in refusal.said


def test_nothing_listens_before_the_reservation_is_used() -> None:
    with ReservedPort() as port, socket.socket() as probe:
        assert probe.connect_ex((port.host, port.number)) != 0
