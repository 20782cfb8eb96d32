"""`kraftpy doctor` against a real node, and against everything that answers wrongly."""

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from cli.doctor.findings import judge_advertised, judge_bootstrap
from cli.doctor.probing import Outcome, Probe, probe
from kraftpy.runtime.ports import Address
from kraftpy.testing import Cluster
from tests.cli.answering import Answer, closed_port, listening, saying, telling
from tests.cli.command import kraftpy


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=1) as running:
        yield running


def test_a_cluster_that_is_well(cluster: Cluster) -> None:
    result = kraftpy("doctor", "-b", cluster.kafka_bootstrap)
    assert result.code == 0
    assert "clients on this machine can reach every broker" in result.text
    told = kraftpy("doctor", "-b", cluster.kafka_bootstrap, "-o", "json").json()
    assert told["cluster_id"] == cluster.admin.describe_cluster().cluster_id
    assert told["brokers"] == [
        {"node_id": 1, "address": cluster.kafka_bootstrap, "ok": True, "problem": None, "advice": None}
    ]


def test_the_port_of_the_calls_names_the_right_one(cluster: Cluster) -> None:
    result = kraftpy("doctor", "-b", cluster.bootstrap, "-o", "json")
    assert result.code == 3
    (asked,) = result.json()["bootstrap"]
    assert asked["problem"] == "this port takes calls (gRPC)"
    assert asked["advice"].endswith(f"clients of Kafka are to use {cluster.kafka_bootstrap}")


@pytest.mark.parametrize(
    "answer, outcome",
    [
        (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Outcome.WEB),
        (saying(b"\x15\x03\x03\x00\x02\x02\x28   "), Outcome.TLS),
        (saying(b"\0\0\x1e\4\0\0\0\0\0"), Outcome.CALLS),
        (saying(b"\0\0\0\4other"), Outcome.STRANGE),
        (saying(b""), Outcome.CLOSED),
        (saying(b"\0\0"), Outcome.CLOSED),
        (lambda connection: connection.recv(1) and threading.Event().wait(1.5), Outcome.SILENT),
    ],
)
def test_what_is_no_kafka_is_recognized(answer: Answer, outcome: Outcome) -> None:
    with listening(answer) as address:
        found = probe(address, 0.5)
        assert found.outcome is outcome
        assert judge_bootstrap(found).advice


def test_a_broken_answer_is_no_kafka() -> None:
    def broken(connection: socket.socket) -> None:
        correlation_id = connection.recv(1_000)[8:12]
        connection.sendall(struct.pack(">i", 12) + correlation_id + b"\xff" * 8)

    with listening(broken) as address:
        assert probe(address, 5).outcome is Outcome.STRANGE


def test_nobody_there() -> None:
    address = closed_port()
    assert probe(address, 5).outcome is Outcome.REFUSED
    assert probe(Address("no-such-host.invalid", 1), 5).outcome is Outcome.UNKNOWN_NAME
    result = kraftpy("doctor", "-b", str(address))
    assert result.code == 3
    assert "see whether the node runs" in result.text


def test_brokers_that_are_told_and_cannot_be_reached() -> None:
    nowhere = closed_port()
    with (
        listening(telling([], "another")) as other,
        listening(telling([nowhere, Address("no-such-host.invalid", 9092), other, nowhere])) as address,
    ):
        result = kraftpy("doctor", "-b", str(address), "-o", "json")
    assert result.code == 4
    problems = [each["problem"] for each in result.json()["brokers"]]
    assert "nobody listens there" in problems[0]
    assert "cannot be looked up" in problems[1]
    assert problems[2] == "another cluster answers there (another)"
    assert problems[3].startswith("node 0 tells the same address")
    assert all("advertised.listeners of node" in each["advice"] for each in result.json()["brokers"])


def test_a_node_that_has_not_joined_says_so() -> None:
    with listening(telling([])) as address:
        result = kraftpy("doctor", "-b", str(address))
    assert result.code == 4
    assert "the node has not joined its cluster" in result.text


def test_loopback_that_is_told_to_clients_elsewhere() -> None:
    """The most frequent mistake of all: the node tells `localhost`, and the client is on another machine."""
    asked = Probe(Address("broker.example", 9092), Outcome.OK, ("192.0.2.1",))
    told = Probe(Address("localhost", 9092), Outcome.REFUSED, ("127.0.0.1", "::1"))
    finding = judge_advertised(1, told, "c", [asked], {})
    assert finding.problem == "localhost means the client's own machine, and the node is on another"
    assert finding.advice.startswith("set advertised.listeners of node 1=NAME://HOST:9092")
    here = Probe(Address("localhost", 9092), Outcome.OK, ("127.0.0.1",))
    assert "nobody listens" in judge_advertised(1, told, "c", [here], {}).problem
