"""Groups and transactions of the SDK on three real nodes, whose leaders are killed."""

import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from kraftpy import Admin, Consumer, Producer
from kraftpy.testing import Cluster

WAIT_S = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=3) as made:
        with Admin(made.bootstrap) as admin:
            for topic in ("source", "target"):
                admin.create_topic(topic, partitions=4, replication_factor=3)
        yield made


def test_members_share_take_over_and_outlive_a_coordinator(cluster: Cluster) -> None:
    """Three members in threads while each node dies and comes back: nothing is lost, and every commit counts."""
    count = 600
    seen = Counter[bytes]()
    lock = threading.Lock()
    stop = threading.Event()
    errors: list[BaseException] = []

    def consume() -> None:
        try:
            with Consumer(
                "source",
                bootstrap=cluster.bootstrap,
                group_id="g",
                auto_offset_reset="earliest",
                assignors="cooperative-sticky",
                heartbeat_interval_ms=500,
                auto_commit_interval_ms=500,
            ) as consumer:
                while not stop.is_set():
                    for record in consumer.poll(0.2):
                        with lock:
                            seen[record.value] += 1
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=consume) for _ in range(3)]
    for thread in threads:
        thread.start()
    with Producer(cluster.bootstrap) as producer:
        for node in (1, 2, 3):
            for number in range(200):
                producer.send("source", b"%d-%d" % (node, number), partition=number % 4)
            cluster.kill(node)
            threading.Event().wait(2.0)
            cluster.start(node)
            cluster.wait_in_sync()
    ends = time.monotonic() + WAIT_S
    while len(seen) < count and time.monotonic() < ends and not errors:
        threading.Event().wait(0.1)
    stop.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert not errors and len(seen) == count
    with Admin(cluster.bootstrap) as admin:
        offsets = admin.list_group_offsets("g")
        assert sum(offset.offset for offset in offsets.values()) == count, "what was closed has committed"
        assert admin.describe_group("g").state == "Empty"


def test_exactly_once_while_leaders_die(cluster: Cluster) -> None:
    with (
        Consumer(
            "source",
            bootstrap=cluster.bootstrap,
            group_id="eos",
            auto_offset_reset="earliest",
            auto_commit=False,
            isolation_level="read_committed",
            max_poll_records=40,
        ) as consumer,
        Producer(cluster.bootstrap, transactional_id="eos") as producer,
    ):
        moved, rounds = 0, 0
        ends = time.monotonic() + WAIT_S
        while moved < 600 and time.monotonic() < ends:
            records = consumer.poll(1.0)
            if not records:
                continue
            with producer.transaction():
                for record in records:
                    producer.send("target", record.value, partition=record.partition)
                producer.send_offsets(records, consumer.group_metadata())
                if rounds in (2, 6):
                    node = cluster.leader("target", 0)
                    cluster.kill(node)
                    cluster.start(node)
            moved += len(records)
            rounds += 1
    with Consumer(
        "target", bootstrap=cluster.bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    ) as reader:
        values: list[bytes] = []
        while found := reader.poll(3.0):
            values += [record.value for record in found]
    assert len(values) == len(set(values)) == 600


def test_a_coordinator_shares_out_what_members_of_the_new_protocol_read(cluster: Cluster) -> None:
    """KIP-848: three members, two partitions each of six, everything read once and committed."""
    seen: list[bytes] = []
    stop = threading.Event()
    with Admin(cluster.bootstrap) as admin:
        admin.create_topic("shared", partitions=6, replication_factor=3)
        with Producer(cluster.bootstrap) as producer:
            for number in range(300):
                producer.send("shared", b"%d" % number, partition=number % 6)

        def consume() -> None:
            with Consumer(
                "shared",
                bootstrap=cluster.bootstrap,
                group_id="new",
                group_protocol="consumer",
                auto_offset_reset="earliest",
            ) as consumer:
                while not stop.is_set():
                    seen.extend(record.value for record in consumer.poll(0.2))

        threads = [threading.Thread(target=consume) for _ in range(3)]
        for thread in threads:
            thread.start()
        ends = time.monotonic() + WAIT_S
        shares: list[int] = []
        while (shares != [2, 2, 2] or len(seen) < 300) and time.monotonic() < ends:
            threading.Event().wait(0.2)
            group = admin.describe_group("new")
            shares = [len(member.assignment) for member in group.members]
        stop.set()
        for thread in threads:
            thread.join(WAIT_S)
        assert (shares, group.type, group.state, group.assignor) == ([2, 2, 2], "consumer", "Stable", "uniform")
        assert sorted(seen) == sorted(b"%d" % number for number in range(300))
        assert sum(offset.offset for offset in admin.list_group_offsets("new").values()) == 300
