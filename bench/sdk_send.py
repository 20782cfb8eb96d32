"""How fast the SDK sends and reads: the blocking producer and consumer, alone and over loopback gRPC.

    python -m bench.sdk_send [--records N] [--runs N] [--profile]

"alone" answers every request in the same process without a socket: what is left is the client's own work. "gRPC" has
the same answers come from a process of its own, so it is the ceiling of a client and one broker that does nothing.
Rows are medians of the runs.
"""

import argparse
import asyncio
import cProfile
import multiprocessing
import pstats
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from kraftpy import Consumer, Producer
from tests.client.fake_broker import FakeCluster
from tests.client.grpc_cluster import GrpcCluster

PARTITIONS = 6


def serve(pipe: Connection) -> None:
    async def story() -> None:
        cluster = FakeCluster(1)
        cluster.create("lines", PARTITIONS)
        async with GrpcCluster(cluster):
            pipe.send(cluster.bootstrap)
            await asyncio.get_running_loop().run_in_executor(None, pipe.recv)

    asyncio.run(story())


@contextmanager
def alone() -> Iterator[dict[str, Any]]:
    cluster = FakeCluster(1)
    cluster.create("lines", PARTITIONS)
    yield {"bootstrap": cluster.bootstrap, "_transport": cluster}


@contextmanager
def over_grpc() -> Iterator[dict[str, Any]]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serve, args=(theirs,))
    process.start()
    yield {"bootstrap": ours.recv()}
    ours.send("stop")
    process.join()


def send(where: dict[str, Any], value: bytes, count: int, **settings: Any) -> float:
    with Producer(**where, **settings) as producer:
        producer.send("lines", value).result(5)
        started = time.perf_counter()
        for _ in range(count):
            producer.send("lines", value)
        producer.flush()
        return time.perf_counter() - started


def read(where: dict[str, Any], count: int) -> float:
    with Consumer("lines", auto_offset_reset="earliest", **where) as consumer:
        next(consumer)
        started = time.perf_counter()
        seen = 1
        while seen < count:
            seen += len(consumer.poll(5))
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if options.profile:
        with alone() as where, cProfile.Profile() as profile:
            send(where, b"x" * 100, options.records)
        pstats.Stats(profile).sort_stats("tottime").print_stats(20)
        return
    print(f"{'where':6} {'what':26} {'records/s':>12} {'MB/s':>8}")
    for name, place in (("alone", alone), ("gRPC", over_grpc)):
        for size, compression in ((100, "none"), (1_024, "none"), (1_024, "zstd")):
            count = options.records if size == 100 else options.records // 4
            sent: list[float] = []
            got: list[float] = []
            for _ in range(options.runs):
                with place() as where:
                    value = bytes(index * 31 % 64 + 32 for index in range(size))
                    sent.append(send(where, value, count, compression_type=compression))
                    got.append(read(where, count))
            for what, seconds in (("send", sent), ("read", got)):
                rate = count / statistics.median(seconds)
                print(f"{name:6} {f'{what} {size} B {compression}':26} {rate:12,.0f} {rate * size / 1e6:8.1f}")


if __name__ == "__main__":
    main()
