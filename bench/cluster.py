"""What a user feels of a cluster of real processes: how fast it starts, fails over, takes records, and what it costs.

    python -m bench.cluster [--runs N] [--only start,failover,memory,send,acks,command] [--write]

Everything at its defaults, flushing included; on loopback, all nodes and the client on one machine. A figure is the
median of its runs, with the least and the most beside it. `--write` puts the table into docs/benchmarks.md.

- start: from the exec of `kraftpy node` (of the last of three, for three) until a probe that tries every 10 ms has its
  first acknowledged record (acks=all), the topic's creation included;
- failover: records with acks=all, one every 5 ms; the node that leads the quorum and most partitions is killed (-9) or
  stopped (SIGSTOP); the longest time that any record waited for its acknowledgement;
- memory: RssAnon of a node of three, ten seconds after the start;
- send: 1 KB records, 6 partitions, replication factor 3, acks=all, one producer; beside it, by turns, what the disk
  does alone: the same bytes written and flushed three times in 256 KiB pieces (the ratio is to that);
- acks: 100 B records by acks, and one at a time, each waited for (the tutorials' "asynchronous is faster");
- command: wall time of `kraftpy --help` and `kraftpy topic list`.
"""

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import document
from bench.bytecode import as_installed
from kraftpy import Admin, Producer
from kraftpy.client.values import RecordMetadata
from kraftpy.testing import Cluster

PARTITIONS = 6
VALUE = bytes(index * 31 % 64 + 32 for index in range(1_024))
RECORDS = 100_000
ONE_BY_ONE = 1_000
KRAFTPY = [sys.executable, "-m", "kraftpy"]

Row = tuple[str, str, list[float], str]
"""What, its unit, the runs' figures, the goal."""


# --- start -----------------------------------------------------------------------------------------------------------


def start_ms(nodes: int) -> float:
    """From the exec of the last node until the first acknowledged record."""
    with tempfile.TemporaryDirectory(prefix="kraftpy-bench-") as folder:
        ports = free_ports(2 * nodes)
        calls = ports[:nodes]
        peers = ",".join(f"{number + 1}@127.0.0.1:{port}" for number, port in enumerate(calls))
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for number in range(nodes):
                listener = f"PLAINTEXT://127.0.0.1:{ports[nodes + number]}"
                command = [*KRAFTPY, "node", "--id", str(number + 1), "--peers", peers, "--listeners", listener]
                started = time.monotonic()
                with open(f"{folder}/{number}.log", "wb") as log:
                    data = f"{folder}/{number}"
                    processes.append(subprocess.Popen([*command, "--data-dir", data], stdout=log, stderr=log))
            return probe(calls[0], started)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(30)


def probe(port: int, started: float) -> float:
    while True:
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.01)
    with Producer(f"127.0.0.1:{port}", acks="all", linger_ms=0, retry_backoff_ms=10) as producer:
        producer.send("probe", b"x").result(30)
        return (time.monotonic() - started) * 1_000


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


# --- failover --------------------------------------------------------------------------------------------------------


def longest_wait_ms(fault: str, *, leader: bool = True) -> float:
    with Cluster(nodes=3) as cluster, made_topic(cluster):
        victim = cluster.quorum_leader()
        if not leader:
            victim = next(node_id for node_id in cluster.node_ids if node_id != victim)
        waits: list[float] = []
        with Producer(cluster.bootstrap, acks="all", linger_ms=0) as producer:
            producer.send("lines", VALUE).result(10)
            steady = threading.Event()
            done = threading.Event()

            def send() -> None:
                count = 0
                while not done.is_set():
                    sent = time.monotonic()

                    def delivered(metadata: RecordMetadata | None, error: Exception | None, sent: float = sent) -> None:
                        assert error is None, error
                        waits.append(time.monotonic() - sent)

                    producer.send("lines", VALUE, key=b"%d" % count, on_delivery=delivered)
                    count += 1
                    if count == 200:
                        steady.set()
                    time.sleep(0.005)

            sender = threading.Thread(target=send)
            sender.start()
            steady.wait()
            (cluster.kill if fault == "kill" else cluster.pause)(victim)
            time.sleep(8)
            done.set()
            sender.join()
            producer.flush()
        if fault == "pause":
            cluster.resume(victim)
        return max(waits) * 1_000


@contextmanager
def made_topic(cluster: Cluster) -> Iterator[None]:
    with Admin(cluster.bootstrap) as admin:
        config = {"min.insync.replicas": "2"}
        admin.create_topic("lines", partitions=PARTITIONS, replication_factor=3, config=config)
    yield


# --- memory ----------------------------------------------------------------------------------------------------------


def anonymous_mb() -> float:
    """Of the largest of three idle nodes."""
    with Cluster(nodes=3) as cluster:
        time.sleep(10)
        return max(rss_anon_kb(cluster.pid(node_id)) for node_id in cluster.node_ids) / 1_024


def rss_anon_kb(pid: int) -> int:
    found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


# --- sending ---------------------------------------------------------------------------------------------------------


def send_mb_per_s() -> float:
    with Cluster(nodes=3) as cluster, made_topic(cluster), Producer(cluster.bootstrap, acks="all") as producer:
        producer.send("lines", VALUE).result(10)
        started = time.monotonic()
        for _ in range(RECORDS):
            producer.send("lines", VALUE)
        producer.flush()
        return RECORDS * len(VALUE) / (time.monotonic() - started) / 1e6


def acks_records_per_s() -> dict[str, float]:
    """Records of 100 B a second by acks, and with acks=all one at a time, each waited for."""
    found = {}
    with Cluster(nodes=3) as cluster, made_topic(cluster):
        for acks in ("0", "1", "all"):
            with Producer(cluster.bootstrap, acks=acks, enable_idempotence=acks == "all") as producer:
                producer.send("lines", VALUE[:100]).result(10)
                started = time.monotonic()
                for _ in range(RECORDS):
                    producer.send("lines", VALUE[:100])
                producer.flush()
                found[acks] = RECORDS / (time.monotonic() - started)
        with Producer(cluster.bootstrap, acks="all", linger_ms=0) as producer:
            started = time.monotonic()
            for _ in range(ONE_BY_ONE):
                producer.send("lines", VALUE[:100]).result(10)
            found["one by one"] = ONE_BY_ONE / (time.monotonic() - started)
    return found


def disk_mb_per_s() -> float:
    """What is left when there is no cluster: three files, one process, a flush after every piece."""
    piece = VALUE * 256
    with tempfile.TemporaryDirectory(prefix="kraftpy-bench-") as folder:
        files = [os.open(f"{folder}/{number}", os.O_CREAT | os.O_WRONLY) for number in range(3)]
        try:
            started = time.monotonic()
            for _ in range(RECORDS // 256):
                for file in files:
                    os.write(file, piece)
                    os.fdatasync(file)
            return RECORDS * len(VALUE) / (time.monotonic() - started) / 1e6
        finally:
            for file in files:
                os.close(file)


# --- commands --------------------------------------------------------------------------------------------------------


def command_ms(*arguments: str) -> float:
    started = time.monotonic()
    subprocess.run([*KRAFTPY, *arguments], check=True, stdout=subprocess.DEVNULL)
    return (time.monotonic() - started) * 1_000


# --- all of them -----------------------------------------------------------------------------------------------------


def start(runs: int) -> list[Row]:
    return [
        ("start of one node, first record", "ms", repeat(lambda: start_ms(1), runs), "<= 800"),
        ("start of three nodes, first record", "ms", repeat(lambda: start_ms(3), runs), "<= 2,000"),
    ]


def failover(runs: int) -> list[Row]:
    return [
        ("kill -9 of the leader of everything", "ms", repeat(lambda: longest_wait_ms("kill"), runs), "<= 2,000"),
        ("SIGSTOP of the leader of everything", "ms", repeat(lambda: longest_wait_ms("pause"), runs), "<= 5,000"),
        ("kill -9 of another node", "ms", repeat(lambda: longest_wait_ms("kill", leader=False), runs), ""),
    ]


def memory(runs: int) -> list[Row]:
    return [("anonymous memory of an idle node", "MB", repeat(anonymous_mb, runs), "<= 60")]


def send(runs: int) -> list[Row]:
    sent, disk = [], []
    for _ in range(runs):  # by turns, so that both meet the same machine
        sent.append(send_mb_per_s())
        disk.append(disk_mb_per_s())
    ratios = [ours / bare for ours, bare in zip(sent, disk, strict=True)]
    return [
        ("send, 1 KB, RF 3, acks=all, flushed", "MB/s", sent, ">= 25"),
        ("bare writes of the same bytes, flushed", "MB/s", disk, ""),
        ("send : bare writes", "ratio", ratios, ""),
    ]


def acks(runs: int) -> list[Row]:
    found = [acks_records_per_s() for _ in range(runs)]
    rows: list[Row] = [
        (f"send, 100 B, acks={acks}", "records/s", [each[acks] for each in found], "") for acks in ("0", "1", "all")
    ]
    rows.append(("send, 100 B, acks=all, one by one", "records/s", [each["one by one"] for each in found], ""))
    ratios = [each["all"] / each["one by one"] for each in found]
    return [*rows, ("acks=all: asynchronous : one by one", "ratio", ratios, "")]


def command(runs: int) -> list[Row]:
    with Cluster(nodes=1) as cluster:
        listing = ("topic", "list", "-b", cluster.bootstrap)
        return [
            ("kraftpy --help", "ms", repeat(lambda: command_ms("--help"), runs), "<= 200"),
            ("kraftpy topic list", "ms", repeat(lambda: command_ms(*listing), runs), "<= 400"),
        ]


PARTS: dict[str, Callable[[int], list[Row]]] = {
    "start": start,
    "failover": failover,
    "memory": memory,
    "send": send,
    "acks": acks,
    "command": command,
}


def repeat(measure: Callable[[], float], runs: int) -> list[float]:
    figures = []
    for number in range(runs):
        figures.append(measure())
        print(f"  run {number + 1} of {runs}: {figures[-1]:,.1f}", file=sys.stderr, flush=True)
    return figures


def table(rows: list[Row]) -> str:
    lines = ["| what | median | least | most | unit | goal |", "|---|---:|---:|---:|---|---|"]
    for what, unit, figures, goal in rows:
        shown = [
            f"{value:,.2f}" if unit == "ratio" or unit.startswith("%") else f"{value:,.0f}"
            for value in (statistics.median(figures), min(figures), max(figures))
        ]
        lines.append(f"| {what} | {' | '.join(shown)} | {unit} | {goal} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args()
    as_installed()
    rows: list[Row] = []
    for name in options.only.split(","):
        print(name, file=sys.stderr)
        rows += PARTS[name](options.runs)
    print(table(rows))
    if options.write:
        put(table(rows), options.runs)


def put(rows: str, runs: int) -> None:
    cores = os.cpu_count()
    how = (
        f"`python -m bench.cluster --write`, {runs} runs each, on a shared machine with {cores} cores "
        f"(Python {sys.version.split()[0]}); how each is taken stands in that file.\n"
    )
    document.write("cluster", f"{how}\n{rows}")


if __name__ == "__main__":
    main()
