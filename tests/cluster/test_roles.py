"""`process.roles` with processes: a controller without partitions, a broker that never votes, and one that is both."""

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from kraftpy import Admin, Consumer, Producer
from kraftpy.errors import InvalidReplicaAssignmentError
from kraftpy.testing.ports import ReservedPort
from tests.cli.command import kraftpy
from tests.cli.commands_running import running
from tests.testing.processes import becomes_true_within

CONTROLLER, BROKER, BOTH = 1, 2, 3
ROLES = {CONTROLLER: "controller", BROKER: "broker", BOTH: "broker,controller"}


def wait_until_up(node: subprocess.Popen[str], node_id: int) -> str:
    """What it said of itself when it was up."""
    assert node.stderr is not None
    said = "is a controller on" if node_id == CONTROLLER else f"node {node_id} serves"
    return next(line for line in node.stderr if said in line)


def test_each_role_does_its_part_and_nothing_else(tmp_path: Path) -> None:
    with ExitStack() as stack:
        calls = {node_id: str(stack.enter_context(ReservedPort())) for node_id in ROLES}
        framed = {node_id: str(stack.enter_context(ReservedPort())) for node_id in ROLES}
        places = {
            node_id: (
                *("node", "--id", str(node_id), "--peers", f"{CONTROLLER}@{calls[CONTROLLER]}"),
                *("--listen", calls[node_id], "--listeners", f"PLAINTEXT://{framed[node_id]}"),
                *("--data-dir", str(tmp_path / str(node_id)), "--set", f"process.roles={roles}"),
            )
            for node_id, roles in ROLES.items()
        }
        nodes = {node_id: stack.enter_context(running(*place)) for node_id, place in places.items()}
        for node_id, node in nodes.items():
            assert calls[node_id] in wait_until_up(node, node_id)
        bootstrap = ",".join(calls.values())
        with Admin(bootstrap) as admin:
            assert becomes_true_within(20, lambda: registered(admin) == [BROKER, BOTH])
            with pytest.raises(InvalidReplicaAssignmentError, match="broker 1 is not registered"):
                admin.create_topic("lines", assignment={0: (CONTROLLER, BROKER)})
            admin.create_topic("lines", partitions=2, replication_factor=2, config={"min.insync.replicas": "2"})
            publish(bootstrap, b"before")
            assert [replica.node_id for replica in admin.describe_quorum().voters] == [CONTROLLER]
            refused = kraftpy("quorum", "add", str(BROKER), bootstrap=bootstrap)
            assert refused.code == 1 and "INVALID_REQUEST: node 2 is a broker only" in refused.err
            assert kraftpy("quorum", "add", str(BOTH), bootstrap=bootstrap).code == 0

            nodes[CONTROLLER].kill()  # of two voters: nothing changes any more, and records flow
            publish(bootstrap, b"meanwhile")
            again = stack.enter_context(running(*places[CONTROLLER]))
            wait_until_up(again, CONTROLLER)
            assert kraftpy("quorum", "transfer", str(BOTH), "-o", "json", bootstrap=bootstrap).json()["leader_id"] == 3
            assert kraftpy("quorum", "remove", str(CONTROLLER), bootstrap=bootstrap).code == 0
            admin.create_topic("late", partitions=2, replication_factor=2)
            assert admin.cluster_health().healthy
        with Consumer("lines", bootstrap=bootstrap, auto_offset_reset="earliest") as consumer:
            assert [next(consumer).value for _ in range(2)] == [b"before", b"meanwhile"]


def registered(admin: Admin) -> list[int]:
    return [broker.node_id for broker in admin.describe_cluster().brokers if not broker.fenced]


def publish(bootstrap: str, value: bytes) -> None:
    with Producer(bootstrap) as producer:
        producer.send("lines", value, partition=0).result(30)
