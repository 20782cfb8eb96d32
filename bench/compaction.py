"""What compaction costs a cluster that is written and read meanwhile.

    python -m bench.compaction [--records N] [--keys N] [--nodes N] [--map-mib N] [--log-dir DIRECTORY] [--write]

Real nodes on loopback, flushing as by default. One topic with one partition on every node, `cleanup.policy=compact`, in
segments of 64 MiB; records of 100 bytes with random keys, acks=all. Beside the writer (this process) one reader reads
along from the first record on, one begins anew at the start again and again, and a probe asks every node for its
numbers fifty times a second. In the end everything is compacted, and judged:

- the reader that read along, a new reader, and the files of every node say the same last value of each key as the
  writer remembers;
- the nodes tell for how long their event loops stood still at most (`kraftpy.runtime.loop_watch`), with and without the
  time that they waited for a processor; the probe, how long an answer took at most;
- RssAnon of the nodes and of their maintenance processes at most, looked at twice a second.
"""

import argparse
import json
import multiprocessing
import os
import re
import signal
import statistics
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from bench import document
from kraftpy import Admin, Consumer, Producer
from kraftpy.client.admin_values import ConfigResource
from kraftpy.errors import KraftpyError
from kraftpy.record import decode_batches
from kraftpy.runtime.disk import LocalDisk
from kraftpy.testing import Cluster
from log_store.config import LogConfig
from log_store.log import Log

TOPIC = "latest"
PLACE = (TOPIC, 0)
VALUE_BYTES = 88  # with its key, 100
NUMBER_BYTES = 12
SETTINGS = {"cleanup.policy": "compact", "segment.bytes": str(64 << 20), "file.delete.delay.ms": "1000"}
NODES = {"log.cleaner.backoff.ms": 1000, "log.retention.check.interval.ms": 5000}
AUTOGROUP = Path("/proc/self/autogroup")
PROBE_S = 0.02
LOOK_S = 0.5
SETTLE_S = 600.0
READ_BYTES = 1 << 20
SPAWN = multiprocessing.get_context("spawn")


# --- readers and the probe, each a process ----------------------------------------------------------------------------


def follow(bootstrap: str, keys: int, pipe: Connection) -> None:
    """Read along until told where the end is; then give the last values, as the writer has them."""
    last = array("q", [-1]) * keys
    end = sys.maxsize
    count = 0
    with Consumer(bootstrap=bootstrap, auto_offset_reset="earliest", max_poll_records=5000) as consumer:
        consumer.assign([PLACE])
        while consumer.position(PLACE) < end:
            count += take(consumer, last)
            if pipe.poll():
                end = pipe.recv()
    pipe.send((last, count))


def begin_again(bootstrap: str, keys: int, pipe: Connection) -> None:
    """Read everything there is, from the start, again and again, until told to end; then how often that was."""
    rounds = 0
    with Consumer(bootstrap=bootstrap, auto_offset_reset="earliest", max_poll_records=5000) as consumer:
        consumer.assign([PLACE])
        while not pipe.poll():
            last = array("q", [-1]) * keys
            consumer.seek_to_beginning(PLACE)
            (end,) = consumer.end_offsets([PLACE]).values()
            while consumer.position(PLACE) < end and not pipe.poll():
                take(consumer, last)
            rounds += 1
            pipe.poll(2.0)
    pipe.send(rounds)


def take(consumer: Consumer, last: "array[int]") -> int:
    """Note what is there; how many records that was. Numbers of one key must ascend."""
    records = consumer.poll(0.2)
    for record in records:
        key, number = int(record.key[4:]), int(record.value[:NUMBER_BYTES])
        assert number > last[key], f"offset {record.offset} of key {key} says {number} after {last[key]}"
        last[key] = number
    return len(records)


def probe(addresses: list[str], pipe: Connection) -> None:
    """Ask each node fifty times a second; the answers' times in milliseconds."""
    took_ms: list[float] = []
    admins = [Admin(address) for address in addresses]
    for admin in admins:
        admin.describe_cluster()  # the first one connects
    while not pipe.poll(PROBE_S):
        for admin in admins:
            began = time.perf_counter()
            admin.describe_cluster()
            took_ms.append((time.perf_counter() - began) * 1000)
    for admin in admins:
        admin.close()
    pipe.send(took_ms)


class Beside:
    """A process of the benchmark's own."""

    def __init__(self, work: Any, *arguments: Any) -> None:
        self.pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=work, args=(*arguments, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def end(self, word: Any = None) -> Any:
        """Tell it to end, and give what it found."""
        self.pipe.send(word)
        found = self.pipe.recv()
        self._process.join()
        return found


# --- memory -----------------------------------------------------------------------------------------------------------


class Memory:
    """RssAnon of the nodes and of their maintenance processes, the most that was seen, in MiB."""

    def __init__(self, cluster: Cluster) -> None:
        self.nodes_mib = 0.0
        self.workers_mib = 0.0
        self._pids = [cluster.pid(node_id) for node_id in cluster.node_ids]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            for pid in self._pids:
                self.nodes_mib = max(self.nodes_mib, anonymous_mib(pid))
                for worker in children(pid):
                    self.workers_mib = max(self.workers_mib, anonymous_mib(worker))


def anonymous_mib(pid: int) -> float:
    try:
        found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def children(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            yield from map(int, path.read_text().split())
        except OSError:
            continue


# --- the run ----------------------------------------------------------------------------------------------------------


def write(cluster: Cluster, records: int, keys: int) -> "array[int]":
    """The records; the number that each key was last written with."""
    random, last = Random(1), array("q", [-1]) * keys
    names = [b"key-%08d" % key for key in range(keys)]
    filling = bytes(index * 31 % 64 + 32 for index in range(VALUE_BYTES - NUMBER_BYTES))
    below = random._randbelow  # type: ignore[attr-defined] # half of what randrange costs
    began = time.monotonic()
    with Producer(cluster.bootstrap, acks="all", linger_ms=20, batch_size=128 << 10) as producer:
        for number in range(records):
            key = below(keys)
            last[key] = number
            producer.send(TOPIC, b"%012d" % number + filling, key=names[key])
            if number % 1_000_000 == 999_999:
                print(f"  {number + 1:,} records after {time.monotonic() - began:.0f} s", flush=True)
        producer.flush()
    return last


def compact_the_rest(cluster: Cluster, keys: int) -> None:
    """Let nothing wait, and wait until every node's log has little more than a record of each key."""
    cluster.admin.alter_configs({ConfigResource.topic(TOPIC): {"max.compaction.lag.ms": "1000"}})
    enough = 2 * keys * (VALUE_BYTES + 40) + (1 << 20)
    deadline = time.monotonic() + SETTLE_S
    while any(directory.size_bytes > enough for directory in cluster.admin.describe_log_dirs(topics=[TOPIC])):
        assert time.monotonic() < deadline, "not compacted in time"
        time.sleep(LOOK_S)


def values_in(directory: str, keys: int) -> "array[int]":
    """What a stopped node's files say."""
    disk = LocalDisk(threads=1)
    config = LogConfig(cleanup_policy="compact", segment_bytes=int(SETTINGS["segment.bytes"]))
    log = Log.open(disk, directory, config, clean=True, wall_ms=time.time_ns() // 1_000_000)
    last, offset = array("q", [-1]) * keys, log.start_offset
    while offset < log.end_offset:
        for record in decode_batches(log.read_bytes(offset, READ_BYTES, log.end_offset)):
            assert record.key is not None
            assert record.value is not None
            last[int(record.key[4:])] = int(record.value[:NUMBER_BYTES])
        offset = log.read(offset, READ_BYTES, log.end_offset).next_offset
    log.close()
    disk.close()
    return last


@contextmanager
def clients_give_way() -> Iterator[None]:
    """Let nodes, each a session of its own, go before the session of this process where they want the same processor.

    The four clients would have machines of their own. On two cores a node's disk thread may otherwise wait for them
    while it holds the interpreter's lock, and the loop for it: that is the scheduler, not the node. Linux with
    autogroups only.
    """
    before = None
    try:
        before = re.search(r"nice (-?\d+)", AUTOGROUP.read_text())
        AUTOGROUP.write_text("10")
    except OSError as error:
        print(f"  clients do not give way: {error}")
    try:
        yield
    finally:
        if before is not None:
            AUTOGROUP.write_text(before[1])


def run(directory: str, records: int, keys: int, nodes: int, map_mib: int) -> dict[str, float]:
    config: dict[str, str | int | bool] = {**NODES, "log.cleaner.dedupe.buffer.size": map_mib << 20}
    with Cluster(nodes=nodes, config=config, directory=directory) as cluster, clients_give_way():
        cluster.admin.create_topic(TOPIC, partitions=1, replication_factor=nodes, config=SETTINGS)
        memory = Memory(cluster)
        along = Beside(follow, cluster.bootstrap, keys)
        anew = Beside(begin_again, cluster.bootstrap, keys)
        asking = Beside(probe, [cluster.address(node_id) for node_id in cluster.node_ids])
        began = time.monotonic()
        expected = write(cluster, records, keys)
        wrote_s = time.monotonic() - began
        found, read = along.end(records)
        assert found == expected, "the reader that read along ends with other values"
        read_s = time.monotonic() - began
        again = anew.end()
        rounds = total(cluster, "kraftpy_log_cleaner_rounds_total")
        print(f"  written in {wrote_s:.0f} s, {read:,} read along in {read_s:.0f} s, {rounds:.0f} rounds meanwhile")
        compact_the_rest(cluster, keys)
        took_s = time.monotonic() - began
        load = os.getloadavg()[1]
        took_ms = sorted(asking.end())
        memory.end()
        figures = cluster.admin.describe_metrics()
        found, left = Beside(follow, cluster.bootstrap, keys).end(records)
        assert found == expected, "a new reader finds other values"
        directories = [f"{cluster.log_dirs(node_id)[0]}/{TOPIC}-0" for node_id in cluster.node_ids]
        read_mib = total(cluster, "kraftpy_log_cleaner_read_bytes_total") / (1 << 20)
        rounds = total(cluster, "kraftpy_log_cleaner_rounds_total")
        cluster.stop_all()
        for path in directories:
            assert values_in(path, keys) == expected, f"{path} says something else"
    return {
        "written_s": wrote_s,
        "all_s": took_s,
        "rounds": rounds,
        "read_again_rounds": float(again),
        "cleaner_read_mib": read_mib,
        "records_left": left,
        "node_mib": memory.nodes_mib,
        "worker_mib": memory.workers_mib,
        "stall_ms": max(each.value("kraftpy_loop_longest_stall_ms") for each in figures),
        "own_stall_ms": max(each.value("kraftpy_loop_longest_own_stall_ms") for each in figures),
        "run_ms": max(each.value("kraftpy_loop_longest_run_ms") for each in figures),
        "load": load,
        "probe_median_ms": statistics.median(took_ms),
        "probe_p999_ms": took_ms[int(len(took_ms) * 0.999)],
        "probe_max_ms": took_ms[-1],
    }


def total(cluster: Cluster, name: str) -> float:
    for _ in range(10):
        try:
            return sum(each.value(name) for each in cluster.admin.describe_metrics())
        except KraftpyError:
            time.sleep(LOOK_S)
    raise AssertionError("nobody tells its numbers")


# --- telling ----------------------------------------------------------------------------------------------------------


def table(command: str, records: int, keys: int, nodes: int, found: dict[str, float]) -> str:
    cores = multiprocessing.cpu_count()
    rows = [
        ("written, and read along", f"{records:,} records in {found['written_s']:.0f} s"),
        ("… and until all was compacted on every node", f"{found['all_s']:.0f} s"),
        ("rounds of all nodes, and what they read", f"{found['rounds']:.0f}; {found['cleaner_read_mib']:,.0f} MiB"),
        ("left for a new reader", f"{found['records_left']:,} records"),
        ("read from the start again meanwhile", f"{found['read_again_rounds']:.0f} times"),
        ("RssAnon of a node, at most", f"{found['node_mib']:.0f} MiB"),
        ("RssAnon of a maintenance process, at most", f"{found['worker_mib']:.0f} MiB"),
        ("an event loop stood still for, by its own doing, at most", f"{found['own_stall_ms']:.0f} ms"),
        ("… of which it computed, at most", f"{found['run_ms']:.0f} ms"),
        ("… with the time that it waited for a processor", f"{found['stall_ms']:.0f} ms"),
        (
            "a probe's answer took: median, 99.9 %, at most",
            f"{found['probe_median_ms']:.1f}, {found['probe_p999_ms']:.0f}, {found['probe_max_ms']:.0f} ms",
        ),
    ]
    lines = [
        f"`{command}`: {records:,} records of 100 B with {keys:,} keys, {nodes} nodes, a machine with {cores} cores "
        f"(Python {document.python_version()}), all clients on it too, and a load of {found['load']:.0f}.",
        "",
        "| what | figure |",
        "|---|---|",
        *[f"| {what} | {figure} |" for what, figure in rows],
    ]
    return "\n".join(lines)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything that it started ends with it
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=2_400_000)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--map-mib", type=int, default=128)
    parser.add_argument("--log-dir", help="where the nodes' data goes; a temporary directory by default")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kraftpy-bench-", dir=given.log_dir) as folder:
        found = run(folder, given.records, given.keys, given.nodes, given.map_mib)
    print(json.dumps(found, indent=2))
    arguments = "".join(f" {each}" for each in sys.argv[1:] if each != "--write")
    text = table(f"python -m bench.compaction{arguments}", given.records, given.keys, given.nodes, found)
    print(text)
    if given.write:
        document.write("compaction", text)


if __name__ == "__main__":
    main()
