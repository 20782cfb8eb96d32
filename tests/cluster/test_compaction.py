"""Compaction of a topic of real nodes, by processes of their own, while it is written and a node is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TypeVar

from kraftpy import Consumer, Producer
from kraftpy.client.admin_values import ConfigResource
from kraftpy.testing import Cluster
from tests.testing.processes import ends_within

TOPIC = "latest"
KEYS = 200
RECORDS = 60_000
CONFIG = {"log.cleaner.backoff.ms": 200, "log.segment.delete.delay.ms": 100, "log.retention.check.interval.ms": 500}
SETTINGS = {"cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0.3"}
LOOKS = 600
T = TypeVar("T")


def until(look: Callable[[], T | None]) -> T:
    """What `look` finds at last."""
    pause = threading.Event()
    for _ in range(LOOKS):
        found = look()
        if found:
            return found
        pause.wait(0.1)
    raise AssertionError("it did not happen")


def workers_of(node_pid: int) -> list[int]:
    """Its maintenance processes."""
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(node_pid)], capture_output=True, text=True)
    found = [line.split()[0] for line in listed.stdout.splitlines() if "broker.maintenance.worker" in line]
    return [int(pid) for pid in found]


def worker_of(node_pid: int) -> int | None:
    return next(iter(workers_of(node_pid)), None)


def is_reading(pid: int) -> bool:
    """Whether it has a segment open: it is in the midst of a job. Where the system does not tell, that it runs."""
    if not Path("/proc").exists():
        return True
    try:
        return any(os.readlink(path).endswith(".log") for path in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return False


def kraftpy(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "kraftpy", *arguments], capture_output=True, text=True)


def partition_bytes(cluster: Cluster, node_id: int) -> int:
    return size_of(Path(cluster.directory) / f"node-{node_id}" / f"{TOPIC}-0")


def size_of(directory: Path) -> int:
    """Of the batches of a partition."""
    total = 0
    for path in directory.glob("*.log"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # it was replaced this moment
    return total


def last_values(cluster: Cluster) -> tuple[dict[bytes, bytes], int]:
    """The last value of each key as a new consumer finds it, and how many records it read."""
    values: dict[bytes, bytes] = {}
    count = 0
    with Consumer(bootstrap=cluster.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([(TOPIC, 0)])
        consumer.seek_to_beginning((TOPIC, 0))
        (end,) = consumer.end_offsets([(TOPIC, 0)]).values()
        while consumer.position((TOPIC, 0)) < end:
            for record in consumer.poll(1.0):
                count += 1
                assert record.key is not None
                if record.value is None:
                    values.pop(record.key, None)
                else:
                    values[record.key] = record.value
    return values, count


def test_a_topic_is_compacted_while_it_is_written_and_a_node_is_killed() -> None:
    random = Random(5)
    expected: dict[bytes, bytes] = {}
    pause = threading.Event()
    with Cluster(nodes=3, config=CONFIG) as cluster:
        cluster.admin.create_topic(TOPIC, partitions=1, replication_factor=3, config=SETTINGS)
        follower = next(each for each in cluster.node_ids if each != cluster.leader(TOPIC, 0))
        with Producer(cluster.bootstrap) as producer:
            for number in range(RECORDS):
                key = b"key-%d" % random.randrange(KEYS)
                value = None if random.random() < 0.02 else b"%d:" % number + b"x" * 200
                producer.send(TOPIC, value, key=key)
                if value is None:
                    expected.pop(key, None)
                else:
                    expected[key] = value
                if number == RECORDS // 3:
                    cluster.kill(follower)
                if number == RECORDS // 2:
                    cluster.start(follower)
            producer.flush()
        cluster.wait_in_sync()
        for node_id in cluster.node_ids:
            for _ in range(LOOKS):
                if partition_bytes(cluster, node_id) < 3_000_000:
                    break
                pause.wait(0.1)
            assert partition_bytes(cluster, node_id) < 3_000_000, f"node {node_id} has not compacted"
        values, count = last_values(cluster)
        assert values == expected
        assert count < RECORDS // 4
        leader = cluster.leader(TOPIC, 0)
        workers = {node_id: worker_of(cluster.pid(node_id)) for node_id in cluster.node_ids}
        assert all(workers.values())
        cluster.kill(leader)  # and its worker with it
        for _ in range(LOOKS):
            try:
                os.kill(workers[leader] or 0, 0)
            except ProcessLookupError:
                break
            pause.wait(0.05)
        else:
            os.kill(workers[leader] or 0, signal.SIGKILL)
            raise AssertionError("the maintenance process outlived its node")
        assert last_values(cluster)[0] == expected
        cluster.start(leader)
        cluster.wait_in_sync()
        cluster.check_alive()
        for node_id in cluster.node_ids:
            for trouble in ("Traceback", "failed", "cannot be compacted"):
                assert trouble not in cluster.log(node_id), cluster.log(node_id)


def test_a_poisoned_partition_and_a_dying_process_do_not_stop_the_others() -> None:
    """The damaged one is told in health and in numbers; settings change meanwhile; nobody outlives the node."""
    alone: dict[str, str | int | bool] = {
        **CONFIG,
        "log.scrub.enable": "false",
    }  # it would have a process of its own
    with Cluster(nodes=1, config=alone) as cluster:
        admin, node = cluster.admin, ConfigResource.broker(1)
        admin.alter_configs({node: {"log.cleaner.io.max.bytes.per.second": "1"}})  # nothing gets anywhere
        for topic in ("bad", "good"):
            admin.create_topic(topic, partitions=1, replication_factor=1, config=SETTINGS)
        with Producer(cluster.bootstrap) as producer:
            for number in range(30_000):
                producer.send("bad" if number % 2 else "good", b"x" * 200, key=b"key-%d" % (number % 50))
        directory = Path(cluster.log_dirs(1)[0])
        with open(directory / "bad-0" / f"{0:020d}.log", "r+b") as file:
            file.seek(1000)
            file.write(b"damage")
        # The oldest, in the midst of its job: a younger one looks into the damage that compaction has met.
        (worker,) = until(lambda: [pid for pid in sorted(workers_of(cluster.pid(1)))[:1] if is_reading(pid)])
        os.kill(worker, signal.SIGKILL)
        until(lambda: admin.describe_metrics()[0].value("kraftpy_log_cleaner_process_deaths_total") == 1)
        admin.alter_configs({node: {"log.cleaner.io.max.bytes.per.second": None, "log.cleaner.threads": "2"}})
        until(lambda: size_of(directory / "good-0") < 2_000_000)
        # What compaction met is looked into as well, and told: by now both know.
        until(lambda: len(admin.cluster_health().problems) == 2)
        problem, damage = admin.cluster_health().problems
        assert damage.startswith(f"broker 1: bad-0 in {directory / 'bad-0'} is damaged")
        assert problem.startswith("broker 1: bad-0 cannot be compacted") and str(directory / "bad-0") in problem
        (told,) = admin.describe_metrics()
        assert told.value("kafka_log_logcleanermanager_uncleanable_partitions_count") == 1
        until(lambda: admin.describe_metrics()[0].value("kraftpy_log_cleaner_rounds_total") >= 1)  # after a checkpoint
        sick = kraftpy("cluster", "health", "-b", cluster.bootstrap)
        assert (sick.returncode, sick.stdout.splitlines()) == (4, [problem, damage])
        rows = json.loads(kraftpy("cluster", "metrics", "-o", "json", "-b", cluster.bootstrap).stdout)
        uncleanable = {"metric": "kafka_log_logcleanermanager_uncleanable_partitions_count", "broker": 1, "value": 1.0}
        assert {**uncleanable, "labels": {"logDirectory": str(directory)}} in rows
        assert "ERROR" in cluster.log(1) and "bad-0 cannot be compacted" in cluster.log(1)
        admin.alter_configs({node: {"log.cleaner.io.max.bytes.per.second": "1"}})
        with Producer(cluster.bootstrap) as producer:
            for number in range(15_000):
                producer.send("good", b"x" * 200, key=b"key-%d" % (number % 50))
        (busy,) = until(lambda: [pid for pid in workers_of(cluster.pid(1)) if is_reading(pid)])
        assert busy != worker
        cluster.kill(1)
        assert ends_within(busy, 20), "the maintenance process outlived its node"
