"""A byte of a closed segment changes on disks of real nodes: found by `verify`, mended by the scrub, seen by nobody.

One byte on a follower that was stopped meanwhile, one on a follower that runs, and later one on the leader. The scrub
is held back until `verify` has had its say; a producer and a consumer are at work all the time.
"""

import json
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kraftpy import Consumer, Producer
from kraftpy.client.admin_values import ConfigResource
from kraftpy.testing import Cluster
from tests.cli.command import kraftpy
from tests.testing.processes import becomes_true_within

TOPIC = "kept"
VALUE = b"v" * 50_000
CONFIG = {"min.insync.replicas": 2, "log.scrub.io.max.bytes.per.second": 1, "log.scrub.interval.ms": 500}


class Traffic:
    """A producer that numbers its records, until it is told to stop; keeps what was acknowledged."""

    def __init__(self, cluster: Cluster) -> None:
        self.sent = 0
        self._stop = threading.Event()
        self._cluster = cluster
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with Producer(self._cluster.bootstrap, acks="all") as producer:
            while not self._stop.wait(0.02):
                producer.send(TOPIC, b"%d:" % self.sent + VALUE, partition=0).result(60)
                self.sent += 1

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        return self.sent


def segments_of(cluster: Cluster, node_id: int) -> list[Path]:
    return sorted(Path(cluster.log_dirs(node_id)[0], f"{TOPIC}-0").glob("*.log"))


def change_a_byte(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0x10]))


def verified(cluster: Cluster) -> tuple[int, dict[str, Any]]:
    result = kraftpy("verify", TOPIC, "-o", "json", bootstrap=cluster.bootstrap)
    assert result.code in (0, 1), result
    (row,) = json.loads(result.out)
    return result.code, row


def damaged_brokers(row: dict[str, Any]) -> set[int]:
    return {int(broker) for each in row["differences"] for broker in each["damaged"]}


def in_sync(cluster: Cluster) -> tuple[int, ...]:
    return cluster.admin.describe_topics([TOPIC])[0].partitions[0].isr


def test_a_changed_byte_is_found_and_mended_wherever_it_is() -> None:
    with Cluster(nodes=3, config=CONFIG) as cluster, ExitStack() as threads:
        cluster.admin.create_topic(TOPIC, partitions=1, replication_factor=3, config={"segment.bytes": "1048576"})
        cluster.wait_in_sync()
        traffic = Traffic(cluster)
        threads.callback(traffic.stop)
        leader = cluster.leader(TOPIC, 0)
        stopped, running = [node_id for node_id in cluster.node_ids if node_id != leader]
        assert becomes_true_within(60, lambda: len(segments_of(cluster, leader)) >= 4)

        cluster.stop(stopped)
        change_a_byte(segments_of(cluster, stopped)[0])
        cluster.start(stopped)
        change_a_byte(segments_of(cluster, running)[1])
        cluster.wait_in_sync()
        code, row = verified(cluster)
        assert code == 1
        assert damaged_brokers(row) == {stopped, running}
        assert [each["groups"] for each in row["differences"]] == [
            [[each for each in (1, 2, 3) if each != hurt]] for hurt in (stopped, running)
        ]

        cluster.admin.alter_configs({ConfigResource.broker(): {"log.scrub.io.max.bytes.per.second": str(10**9)}})
        assert becomes_true_within(60, lambda: verified(cluster)[0] == 0 and in_sync(cluster) == (1, 2, 3))
        assert len(segments_of(cluster, stopped)) >= 4

        leader = cluster.leader(TOPIC, 0)
        change_a_byte(segments_of(cluster, leader)[0])
        assert becomes_true_within(60, lambda: cluster.leader(TOPIC, 0) != leader)
        assert becomes_true_within(60, lambda: verified(cluster)[0] == 0 and in_sync(cluster) == (1, 2, 3))

        sent = traffic.stop()
        with Consumer(TOPIC, bootstrap=cluster.bootstrap, auto_offset_reset="earliest") as consumer:
            numbers: list[int] = []
            while len(numbers) < sent:
                numbers += [int(record.value.partition(b":")[0]) for record in consumer.poll(timeout=10)]
        assert numbers == list(range(sent))
        repaired = [
            sum(node.value("kraftpy_log_scrub_damaged_segments_total") for node in cluster.admin.describe_metrics())
        ]
        assert repaired == [3]
        assert kraftpy("verify", TOPIC, "-p", "7", bootstrap=cluster.bootstrap).code != 0
