"""The clients over real gRPC: what the in-memory transport cannot show."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from kraftpy import Admin, Consumer, Producer, aio
from kraftpy.errors import NoBrokersAvailableError
from kraftpy.testing import Cluster
from tests.client.fake_broker import FakeCluster
from tests.client.grpc_cluster import GrpcCluster


class Served:
    """A fake cluster served from a thread of its own, for blocking clients."""

    def __init__(self) -> None:
        self.cluster = FakeCluster(3)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.servers = GrpcCluster(self.cluster)
        self.run(self.servers.__aenter__())

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def close(self) -> None:
        self.run(self.servers.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.close()


def test_blocking_clients_over_grpc(served: Served) -> None:
    bootstrap = served.cluster.bootstrap
    with Admin(bootstrap) as admin:
        admin.create_topic("lines", partitions=3, replication_factor=3)
        assert [topic.name for topic in admin.list_topics()] == ["lines"]
        assert admin.cluster_health().healthy
    with Producer(bootstrap, compression_type="zstd") as producer:
        deliveries = [producer.send("lines", b"%05d" % number, partition=number % 3) for number in range(3_000)]
        producer.flush()
        assert deliveries[-1].result(0).offset == 999
    with Consumer("lines", bootstrap=bootstrap, auto_offset_reset="earliest") as consumer:
        values = sorted(next(consumer).value for _ in range(3_000))
        assert values == [b"%05d" % number for number in range(3_000)]
        consumer.seek(("lines", 1), 990)
        assert [record.offset for record in consumer.poll(5)] == list(range(990, 1_000))


def test_what_nobody_confirms_arrives_over_grpc(served: Served) -> None:
    served.cluster.create("lines", 3)
    with Producer(served.cluster.bootstrap, acks=0) as producer:
        for number in range(3):
            producer.send("lines", b"first", partition=number)
        producer.flush()
        served.loop.call_soon_threadsafe(time.sleep, 0.5)  # nothing is read meanwhile
        for number in range(3_000):
            producer.send("lines", b"%05d" % number * 20, partition=number % 3)
    assert sum(len(served.cluster.values("lines", number)) for number in range(3)) == 3_003


def test_a_node_that_stops_and_comes_back_over_grpc() -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.create("lines", 3)
        async with (
            GrpcCluster(cluster) as servers,
            aio.Producer(cluster.bootstrap, linger_ms=1) as producer,
            aio.Consumer("lines", bootstrap=cluster.bootstrap, auto_offset_reset="earliest") as consumer,
        ):
            seen: list[bytes] = []

            async def read() -> None:
                async for record in consumer:
                    seen.append(record.value)

            reading = asyncio.ensure_future(read())
            sent = 0
            for node_id in (1, 2, 3):
                for _ in range(30):
                    await producer.send("lines", b"%04d" % sent, partition=sent % 3)
                    sent += 1
                await servers.stop(node_id)
                for partition in range(3):
                    if cluster.partition("lines", partition).leader == node_id:
                        cluster.move_leader("lines", partition, node_id % 3 + 1)
                for _ in range(30):
                    await producer.send("lines", b"%04d" % sent, partition=sent % 3)
                    sent += 1
                async with asyncio.timeout(5):
                    await producer.flush()
                await servers.start(node_id, cluster.nodes[node_id])
            async with asyncio.timeout(5):
                while len(seen) < sent:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            reading.cancel()
            assert sorted(seen) == [b"%04d" % number for number in range(sent)]

    asyncio.run(story())


def test_nobody_there_over_grpc() -> None:
    with (
        Producer("127.0.0.1:1, 127.0.0.1:2", max_block_ms=300) as producer,
        pytest.raises(NoBrokersAvailableError, match=r"127\.0\.0\.1:1, 127\.0\.0\.1:2"),
    ):
        producer.send("lines", b"x")
    with Admin("127.0.0.1:1") as admin, pytest.raises(NoBrokersAvailableError):
        admin.list_topics(timeout=0.3)


def test_who_accepts_connections_and_says_nothing_is_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with Admin(address) as admin, pytest.raises(NoBrokersAvailableError, match=address):
            admin.list_topics(timeout=0.3)


FORKING = """
import os, sys
from kraftpy import Producer

def send(number):
    with Producer(sys.argv[1]) as producer:
        return producer.send("lines", b"%d" % number).result(20).offset

def fork(number):
    child = os.fork()
    if child == 0:
        try:
            print(send(number))
        except Exception as error:
            print(type(error).__name__, error)
        sys.exit(0)
    print(os.waitpid(child, 0)[1], flush=True)

fork(0)
print(send(1), flush=True)
fork(2)
with Producer(sys.argv[1]) as producer:
    producer.send("lines", b"3").result(20)
    for _ in range(8):
        fork(4)
    print(producer.send("lines", b"5").result(20).offset)
"""


def test_a_process_that_forks_after_it_used_clients_is_told_what_to_do() -> None:
    """gRPC would hang in the child, or end it by signal 11; with all clients closed by signal 6, now and then."""
    with Cluster(1) as cluster:
        cluster.admin.create_topic("lines", partitions=1, replication_factor=1)
        command = [sys.executable, "-c", FORKING, cluster.bootstrap]
        found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    told = found.stdout.splitlines()
    assert told[:3] == ["0", "0", "1"], found.stderr
    assert told[3].startswith("ClosedError") and "after forking only" in told[3]
    assert told[3:] == [told[3], "0"] * 9 + ["3"]
