"""`kraftpy bench` on three real nodes, through both doors: small amounts, a kill, and what a node refuses."""

import json
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from cli.bench.topics import PREFIX
from kraftpy import ConfigResource
from kraftpy.testing import Cluster
from tests.cli.command import Result, kraftpy
from tests.cli.commands_running import ENDED_S, read_until, running

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what other clients warn of is not ours to put right
    import confluent_kafka  # noqa: F401

GONE_S = 10.0
DOORS = pytest.mark.parametrize("door", ["grpc", "kafka"])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=3) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_left(cluster: Cluster) -> Iterator[None]:
    """Whoever deletes a topic is answered by one node; the one that is asked here hears of it a moment later."""
    yield
    deadline = time.monotonic() + GONE_S
    while left := [topic.name for topic in cluster.admin.list_topics() if topic.name.startswith(PREFIX)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def bench(cluster: Cluster, door: str, *arguments: str) -> Result:
    """Either door is found from either port."""
    bootstrap = cluster.kafka_bootstrap if door == "grpc" else cluster.bootstrap
    return kraftpy("bench", *arguments, "--door", door, "-b", bootstrap, "-o", "json")


def told(cluster: Cluster, door: str, *arguments: str) -> dict[str, Any]:
    result = bench(cluster, door, *arguments)
    assert result.code == 0, result.said
    found: dict[str, Any] = result.json()
    assert found["door"] == door
    return found


@DOORS
def test_writing_and_reading(cluster: Cluster, door: str) -> None:
    topic = f"both-{door}"
    options = ["-t", topic, "-p", "3", "--compression", "zstd", "--linger-ms", "2", "--batch-size", "20000"]
    written = told(cluster, door, "produce", "-n", "2000", "--record-size", "200", "--no-warm-up", *options)
    assert (written["acknowledged"], written["failed"], written["replication_factor"]) == (2_000, 0, 3)
    resource = ConfigResource.topic(topic)
    assert cluster.admin.describe_configs([resource])[resource]["min.insync.replicas"].value == "2"
    read = told(cluster, door, "consume", "-t", topic)
    assert (read["records"], read["bytes"], read["ended_by"]) == (2_000, 400_000, "end")
    # two members, one after the other, go on where the first has committed
    for _ in range(2):
        part = told(cluster, door, "consume", "-t", topic, "--group", f"group-{door}", "-n", "2000", "--silence", "3")
        assert part["group"] == f"group-{door}"
    assert (part["records"], part["ended_by"]) == (0, "silence")


@DOORS
def test_latency(cluster: Cluster, door: str) -> None:
    found = told(cluster, door, "latency", "--rate", "200", "-n", "200")
    assert (found["acknowledged"], found["received"], found["missing"], found["duplicated"]) == (200, 200, 0, 0)
    assert found["end_to_end_ms"]["max"] > 0 and found["latency_ms"]["max"] > 0


@DOORS
def test_a_kill_loses_nothing(cluster: Cluster, door: str) -> None:
    cluster.wait_in_sync()
    command = ["failover", "--rate", "200", "--seconds", "5", "--verbose", "-o", "json", "--door", door]
    with running("bench", *command, "-b", cluster.kafka_bootstrap) as process:
        (*_, said) = read_until(process, "writing 200 records/s to ", errors=True)
        topic = said.split()[4].rstrip(";")
        victim = cluster.leader(topic, 0)
        cluster.kill(victim)
        out, err = process.communicate(timeout=4 * ENDED_S)
        assert process.returncode == 0 and "could not be deleted" not in err, err
    cluster.start(victim)
    cluster.wait_in_sync()
    found = json.loads(out)
    assert found["acknowledged"] == found["sent"] == found["read"] == 1_000
    assert (found["lost"], found["duplicated"], found["out_of_order"], found["failed"]) == (0, 0, 0, 0)
    assert found["longest_wait_ms"] == pytest.approx(found["latency_ms"]["max"], abs=0.001)
    assert sum(each["records"] for each in found["waits"]) <= 1_000
    for each in found["waits"]:
        assert each["longest_wait_ms"] > 100 and each["start_seconds"] < each["end_seconds"] <= found["seconds"]


@DOORS
@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("consume", "-t", "nowhere"), 1, "there is no topic nowhere"),
        (("produce", "-c", "nix=1"), 1, "INVALID_CONFIG"),
        (("produce", "-r", "4"), 1, "INVALID_REPLICATION_FACTOR"),
        (("produce", "-t", "a b"), 1, "INVALID_TOPIC_EXCEPTION"),
        (("produce", "-X", "nix=1"), 2, "nix"),
        (("produce", "--record-size", "2000000", "-n", "1", "--no-warm-up"), 1, "MESSAGE_TOO_LARGE"),
    ],
)
def test_a_refusal_is_the_same_at_both_doors(
    cluster: Cluster, door: str, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    result = bench(cluster, door, *arguments)
    assert (result.code, result.out) == (code, b"") and sentence in result.said
