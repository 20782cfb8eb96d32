"""More partitions than a node may open files."""

import os

from kraftpy import Producer
from kraftpy.testing import Cluster
from tests.cluster.few_files import FILES_MAX

TOPIC = "lines"
PARTITIONS = FILES_MAX + 200


def write_to_each(cluster: Cluster) -> set[int]:
    """One record to each, all at once; where they came to stand."""
    with Producer(cluster.bootstrap, acks="all", delivery_timeout_ms=120_000) as producer:
        sent = [producer.send(TOPIC, b"value", partition=number) for number in range(PARTITIONS)]
        producer.flush()
        return {each.result(60).offset for each in sent}


def open_files(cluster: Cluster) -> int:
    return len(os.listdir(f"/proc/{cluster.pid(1)}/fd"))


def test_a_node_serves_more_partitions_than_it_may_open_files() -> None:
    """Written to at once, recovered after a kill, stopped and started: no directory fails for want of a descriptor."""
    with Cluster(nodes=1, launcher="tests.cluster.few_files") as cluster:
        cluster.admin.create_topic(TOPIC, partitions=PARTITIONS, replication_factor=1, timeout=60.0)
        assert write_to_each(cluster) == {0}
        assert write_to_each(cluster) == {1}
        assert open_files(cluster) < FILES_MAX / 2
        cluster.kill(1)
        cluster.start(1)
        assert write_to_each(cluster) == {2}
        cluster.stop(1)
        cluster.start(1)
        assert write_to_each(cluster) == {3}
        assert "failed" not in cluster.log(1)
        cluster.check_alive()
