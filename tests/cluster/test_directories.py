"""Two log directories a node, with real processes: moved, failed at run time and at the start, mended."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from kraftpy import Consumer, Producer
from kraftpy.testing import Cluster
from tests.cli.command import Result, kraftpy
from tests.testing.processes import becomes_true_within

TOPIC = "spread"
PARTITIONS = 4


def command(cluster: Cluster, *arguments: str) -> Result:
    return kraftpy("log-dirs", *arguments, bootstrap=cluster.bootstrap)


def described(cluster: Cluster, broker: int) -> dict[str, dict[str, Any]]:
    """The directories of a broker by path."""
    result = command(cluster, "describe", "--broker", str(broker), "-o", "json")
    assert result.code in (0, 4), result
    return {row["path"]: row for row in json.loads(result.out)}


def partitions_in(row: dict[str, Any], *, future: bool = False) -> list[int]:
    replicas = row["replicas"]
    return [each["partition"] for each in replicas if each["topic"] == TOPIC and each["is_future"] == future]


def unclean_elections(cluster: Cluster) -> float:
    return sum(
        node.value("kafka_controller_controllerstats_uncleanleaderelections_total")
        for node in cluster.admin.describe_metrics()
    )


def publish(cluster: Cluster, text: str) -> None:
    with Producer(cluster.bootstrap) as producer:
        for partition in range(PARTITIONS):
            producer.send(TOPIC, text.encode(), partition=partition)
        producer.flush(30)


@pytest.fixture
def cluster() -> Any:
    with Cluster(nodes=3, log_dirs=2, config={"min.insync.replicas": 2}) as made:
        made.admin.create_topic(TOPIC, partitions=PARTITIONS, replication_factor=3)
        made.wait_in_sync()
        yield made


def test_a_replica_moves_and_one_directory_fails_alone(cluster: Cluster) -> None:
    first, second = cluster.log_dirs(1)
    publish(cluster, "before")
    shown = described(cluster, 1)
    assert list(shown) == [first, second]
    assert [len(partitions_in(row)) for row in shown.values()] == [2, 2]
    assert all(row["state"] == "online" and row["total_bytes"] > row["usable_bytes"] > 0 for row in shown.values())

    moving = partitions_in(shown[first])[0]
    arguments = ("move", "--topic", TOPIC, "-p", str(moving), "--broker", "1", "--dir")
    refused = command(cluster, *arguments, "/nowhere")
    assert refused.code == 1 and "LOG_DIR_NOT_FOUND" in refused.err
    assert command(cluster, *arguments, first).text.endswith(f"lies in {first} already\n")
    assert command(cluster, *arguments, second).text.endswith(f"moves to {second}\n")
    assert becomes_true_within(20, lambda: moving in partitions_in(described(cluster, 1)[second]))
    assert moving not in partitions_in(described(cluster, 1)[first])
    assert becomes_true_within(90, lambda: not os.path.exists(f"{first}/{TOPIC}-{moving}"))

    lost = partitions_in(described(cluster, 1)[second])
    os.rename(second, f"{second}.away")
    Path(second).touch()  # what the controller of a dead disk answers: not a directory
    for number in range(4):  # one of them is placed there
        cluster.admin.create_topic(f"more-{number}", partitions=2, replication_factor=3)
    assert becomes_true_within(20, lambda: described(cluster, 1)[second]["state"] == "failed")
    assert command(cluster, "describe").code == 4
    publish(cluster, "without it")
    topic = cluster.admin.describe_topic(TOPIC)
    for partition in topic.partitions:
        assert (1 in partition.offline_replicas) == (partition.partition in lost)
        assert (1 in partition.isr) == (partition.partition not in lost)

    cluster.stop(1)
    cluster.start(1)
    assert f"the log directory {second} cannot be used: Not a directory" in cluster.log(1)
    assert described(cluster, 1)[second]["state"] == "failed"
    publish(cluster, "after a restart without it")
    cluster.stop(1)
    os.unlink(second)
    os.rename(f"{second}.away", second)
    cluster.start(1)
    cluster.wait_in_sync()
    assert described(cluster, 1)[second]["state"] == "online"
    with Consumer(TOPIC, bootstrap=cluster.bootstrap, auto_offset_reset="earliest") as consumer:
        values = [next(consumer).value for _ in range(3 * PARTITIONS)]
    assert sorted(values) == sorted([b"before", b"without it", b"after a restart without it"] * PARTITIONS)


def test_a_new_disk_in_place_of_the_second_is_filled_again_and_rm_rf_is_too(cluster: Cluster) -> None:
    first, second = cluster.log_dirs(2)
    publish(cluster, "kept")
    cluster.stop(2)
    shutil.rmtree(second)
    removed = next(name for name in sorted(os.listdir(first)) if name.startswith(f"{TOPIC}-"))
    shutil.rmtree(f"{first}/{removed}")
    cluster.start(2)
    cluster.wait_in_sync()
    held = [partition for row in described(cluster, 2).values() for partition in partitions_in(row)]
    assert sorted(held) == list(range(PARTITIONS))


def test_the_only_copy_removed_under_a_stopped_node_is_not_led_empty() -> None:
    with Cluster(nodes=1, log_dirs=2) as cluster:
        cluster.admin.create_topic("single", partitions=1, replication_factor=1)
        with Producer(cluster.bootstrap) as producer:
            producer.send("single", b"x").result(10)
        path = next(f"{each}/single-0" for each in cluster.log_dirs(1) if os.path.exists(f"{each}/single-0"))
        cluster.stop(1)
        shutil.rmtree(path)
        cluster.start(1)
        (partition,) = cluster.admin.describe_topic("single").partitions
        assert (partition.leader, partition.isr) == (-1, ())
        health = cluster.admin.cluster_health()
        assert health.offline == ("single-0",)
        assert unclean_elections(cluster) == 0
        (elected,) = cluster.admin.elect_leaders([("single", 0)], unclean=True)
        assert not elected.error
        assert cluster.leader("single", 0) == 1
        assert unclean_elections(cluster) == 1, "it is counted"
        assert "unclean election, acknowledged records may be lost" in cluster.log(1), "and logged"
