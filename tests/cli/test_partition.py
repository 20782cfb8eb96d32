"""`kraftpy partition`, `cluster rebalance` and `cluster decommission` against real nodes."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kraftpy import Admin
from kraftpy.errors import BrokerIdNotRegisteredError
from kraftpy.testing import Cluster
from tests.cli.command import Result, kraftpy


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=3) as made:
        made.admin.create_topic("moved", assignment={0: (1, 2), 1: (2, 3)})
        yield made


def run(cluster: Cluster, *arguments: str) -> Result:
    return kraftpy(*arguments, bootstrap=cluster.bootstrap)


def replicas(cluster: Cluster, partition: int = 0) -> tuple[int, ...]:
    return cluster.admin.describe_topic("moved").partitions[partition].replicas


def soon(look: Callable[[], object], expected: object) -> None:
    """Another node may have heard of it a moment later than the one that the command has asked."""
    deadline_s = time.monotonic() + 20
    while (found := look()) != expected and time.monotonic() < deadline_s:
        threading.Event().wait(0.05)
    assert found == expected


def knows(cluster: Cluster, asked: int, node_id: int) -> bool:
    """Whether a node has another one in its metadata."""
    with Admin(cluster.address(asked)) as admin:
        return node_id in [node.node_id for node in admin.describe_cluster().brokers]


def move(cluster: Cluster, to: str, *more: str) -> Result:
    return run(cluster, "partition", "reassign", "--topic", "moved", "--partition", "0", "--replicas", to, *more)


def test_partitions_are_listed(cluster: Cluster) -> None:
    table = run(cluster, "partition", "list", "moved")
    assert table.code == 0 and "ELIGIBLE" in table.text and "ADDING" not in table.text
    rows = run(cluster, "partition", "list", "-o", "json").json()
    assert [(row["topic"], row["partition"]) for row in rows] == [("moved", 0), ("moved", 1)]
    assert rows[1]["replicas"] == [2, 3] and rows[1]["adding"] == [] and rows[1]["bytes_lag"] is None
    assert run(cluster, "partition", "list", "--moving", "-o", "jsonl").text == ""


def test_a_partition_is_moved_and_the_throttle_goes_with_it(cluster: Cluster) -> None:
    told = move(cluster, "3,1", "--wait", "--throttle", "100000000")
    assert told.code == 0 and told.text == "moved-0: moved to 3,1\n", told.err
    soon(lambda: replicas(cluster), (3, 1))
    soon(lambda: [name for name, source in configs(cluster) if "throttled.rate" in name and source != "default"], [])
    row = move(cluster, "1,2,3", "-o", "json", "--wait").json()[0]
    assert row == {"topic": "moved", "partition": 0, "replicas": [1, 2, 3], "cancelled": False}
    assert move(cluster, "1,2", "--wait").code == 0
    soon(lambda: replicas(cluster), (1, 2))


def configs(cluster: Cluster) -> list[tuple[str, str]]:
    from kraftpy import ConfigResource

    found = cluster.admin.describe_configs([ConfigResource.broker(1), ConfigResource.topic("moved")])
    return [(entry.name, entry.source) for entries in found.values() for entry in entries.values()]


def test_a_file_in_kafkas_format_moves_partitions(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "moves.json"
    partitions = [
        {"topic": "moved", "partition": 0, "replicas": [2, 1], "log_dirs": ["any", "any"]},
        {"topic": "moved", "partition": 1, "replicas": [3, 2]},
    ]
    file.write_text(json.dumps({"version": 1, "partitions": partitions}))
    assert run(cluster, "partition", "reassign", "--json", str(file), "--wait").code == 0
    soon(lambda: (replicas(cluster, 0), replicas(cluster, 1)), ((2, 1), (3, 2)))
    elected = run(cluster, "partition", "elect", "--topic", "moved", "-o", "json")
    assert elected.code == 0 and all(row["elected"] for row in elected.json())
    soon(lambda: [each.leader for each in cluster.admin.describe_topic("moved").partitions], [2, 3])
    soon(lambda: run(cluster, "partition", "elect", "--all").text, "no election was needed\n")
    assert run(cluster, "partition", "elect", "--topic", "moved", "--partition", "0", "--unclean").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--replicas", "1"), 2, "give --topic, --partition and --replicas"),
        (("--topic", "moved", "--partition", "0", "--replicas", "1,x"), 2, "no list of node ids"),
        (("--topic", "moved", "--partition", "0", "--replicas", "1", "--throttle", "9"), 2, "give --wait, too"),
        (("--topic", "moved", "--partition", "0", "--replicas", "1", "--cancel"), 2, "or --cancel alone for all"),
        (("--json", "/nowhere/at-all.json"), 2, "cannot be read"),
        (("--topic", "moved", "--partition", "9", "--replicas", "1"), 1, "UNKNOWN_TOPIC_OR_PARTITION: moved-9"),
        (("--topic", "moved", "--partition", "0", "--replicas", "1,1"), 1, "INVALID_REPLICA_ASSIGNMENT: moved-0"),
        (("--topic", "moved", "--partition", "0", "--replicas", "7"), 1, "broker 7 is not registered; 1, 2, 3 are"),
        (
            ("--topic", "moved", "--partition", "0", "--replicas", "99999999999"),
            1,
            "INVALID_REQUEST: Value out of range",
        ),
        (
            ("--topic", "moved", "--partition", "99999999999", "--replicas", "1"),
            1,
            "INVALID_REQUEST: Value out of range",
        ),
        (("--topic", "moved", "--partition", "0", "--cancel"), 1, "NO_REASSIGNMENT_IN_PROGRESS"),
    ],
)
def test_nonsense_is_refused(cluster: Cluster, arguments: tuple[str, ...], code: int, sentence: str) -> None:
    refused = run(cluster, "partition", "reassign", *arguments)
    assert refused.code == code and sentence in refused.said, refused.err


def test_a_file_that_is_no_reassignment_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    moves = ('["1"]', '"12"', "[1.5]", "[true]", "[-1]", "{}")
    texts = [f'{{"partitions": [{{"topic": "moved", "partition": 0, "replicas": {to}}}]}}' for to in moves]
    twice = '{"topic": "moved", "partition": 0, "replicas": [1]}'
    texts += ["", "[]", '{"partitions": [{"topic": "moved"}]}', '{"partitions": 7}', "[" * 100_000]
    for text in (*texts, f'{{"partitions": [{twice}, {twice}]}}'):
        file = tmp_path / "bad.json"
        file.write_text(text)
        refused = run(cluster, "partition", "reassign", "--json", str(file))
        assert refused.code == 2 and "bad.json" in refused.said


def test_election_needs_to_be_told_of_what(cluster: Cluster) -> None:
    assert run(cluster, "partition", "elect").code == 2
    assert run(cluster, "partition", "elect", "--all", "--topic", "moved").code == 2
    assert run(cluster, "partition", "elect", "--partition", "0").code == 2
    failed = run(cluster, "partition", "elect", "--topic", "moved", "--partition", "9")
    assert failed.code == 1 and "UNKNOWN_TOPIC_OR_PARTITION" in failed.text


def test_nothing_moves_is_said(cluster: Cluster) -> None:
    assert run(cluster, "partition", "reassign", "--cancel").text == "nothing moves\n"
    assert run(cluster, "partition", "unthrottle").code == 0


def test_a_node_is_emptied_stopped_and_forgotten_in_three_commands(cluster: Cluster) -> None:
    unknown = run(cluster, "cluster", "decommission", "9")
    assert unknown.code == 1 and "BROKER_ID_NOT_REGISTERED: there is no node 9; the nodes are 1, 2, 3" in unknown.said
    with pytest.raises(BrokerIdNotRegisteredError, match="broker 9 is not registered"):
        cluster.admin.plan_rebalance(empty=[9])
    node_id = cluster.add_node()
    plan = run(cluster, "cluster", "rebalance", "-o", "json").json()
    assert plan["executed"] is False and plan["copies"] >= 1
    assert run(cluster, "cluster", "rebalance", "--execute").text.endswith("done\n")
    soon(lambda: run(cluster, "cluster", "rebalance").text, "nothing to move\n")
    dry = run(cluster, "cluster", "decommission", str(node_id))
    assert dry.text.endswith("--execute carries this out\n")
    assert "node 3 still votes in the quorum" in run(cluster, "cluster", "decommission", "3").text
    emptied = run(cluster, "cluster", "decommission", str(node_id), "--execute")
    assert f"node {node_id} holds no replica any more: stop it" in emptied.text
    nodes = run(cluster, "cluster", "info", "-o", "json").json()["nodes"]
    assert {node["node_id"]: node["cordoned"] for node in nodes} == {1: False, 2: False, 3: False, node_id: True}
    cluster.admin.create_topic("late", partitions=8, replication_factor=3)
    placed = cluster.admin.describe_topic("late").partitions
    assert all(node_id not in partition.replicas for partition in placed), "nothing new comes to it"
    refused = move(cluster, f"1,{node_id}")
    assert refused.code == 1 and f"INVALID_REPLICA_ASSIGNMENT: moved-0: broker {node_id} is cordoned" in refused.said
    cluster.stop(node_id)
    gone = run(cluster, "cluster", "decommission", str(node_id), "--execute", "-o", "json").json()
    assert gone["unregistered"] is True and gone["moves"] == []
    soon(lambda: len(cluster.admin.describe_cluster().brokers), 3)


def test_a_node_that_is_gone_is_unregistered_and_one_that_lives_is_not(cluster: Cluster) -> None:
    unknown = run(cluster, "cluster", "unregister", "9")
    assert unknown.code == 1 and "BROKER_ID_NOT_REGISTERED: broker 9 is not registered" in unknown.said
    live = run(cluster, "cluster", "unregister", "3")
    assert live.code == 1 and "INVALID_REQUEST: broker 3 is live" in live.said
    assert run(cluster, "cluster", "unregister", "-1").code == 2
    node_id = cluster.add_node()
    cluster.admin.create_topic("left", assignment={0: (node_id, 1)})
    cluster.stop(node_id)
    soon(lambda: [node.fenced for node in cluster.admin.describe_cluster().brokers if node.node_id == node_id], [True])
    gone = run(cluster, "cluster", "unregister", str(node_id), "-o", "json").json()
    assert gone == {"node_id": node_id, "unregistered": True, "replicas": 1}
    soon(lambda: [knows(cluster, asked, node_id) for asked in (1, 2, 3)], [False] * 3)  # the plan asks any of them
    assert run(cluster, "cluster", "rebalance", "--execute").code == 0
    soon(lambda: node_id in cluster.admin.describe_topic("left").partitions[0].replicas, False)
