"""What thousands of partitions cost a cluster of real processes: to make, to write to, to keep, to lose a node of.

    python -m bench.partitions [--partitions 3000] [--single 10000] [--runs N] [--only three,one] [--write]

Everything at its defaults, flushing included; on loopback, all nodes and the client on one machine. A figure is the
median of its runs, with the least and the most beside it. `--write` puts the table into docs/benchmarks.md.

- three: `--partitions` with replication factor 3 on three nodes:
  - created: the call that makes the topic; in sync: from its begin until every node sees every replica in sync;
  - first records: one to each partition, all at once, acks=all, until the last is acknowledged;
  - at rest: RssAnon of the largest node and processor time of the busiest, over `REST_S` after the cluster settled;
  - killed: the node that leads the quorum, by kill -9, until every partition has another leader as the others see it,
    and until one more record to each partition is acknowledged by all that are in sync;
  - back: from its exec until it is in service, and until every replica is in sync;
  - moved: a fourth node comes, and `kraftpy cluster rebalance --execute` gives it its share, until every node sees
    every replica in sync again and no reassignment is left;
- one: `--single` with replication factor 1 on one node: the same where it applies, and its start after a kill and after
  a clean stop, until it is in service, and until a record to each partition is acknowledged.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import document
from bench.cluster import KRAFTPY, Row, rss_anon_kb, table
from kraftpy import Admin, Producer
from kraftpy.client.admin_values import TopicDescription
from kraftpy.errors import KraftpyError
from kraftpy.testing import Cluster

TOPIC = "lines"
VALUE = b"v" * 100
LOOK_S = 0.1
SETTLE_S = 15.0
REST_S = 30.0
WAIT_S = 600.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

Figures = dict[str, float]
"""By what was measured."""


class Views:
    """One admin for each node: what one node knows, another may not have heard of yet."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._admins: dict[int, Admin] = {}

    def close(self) -> None:
        for admin in self._admins.values():
            admin.close()

    def until(self, holds: Callable[[TopicDescription], bool], nodes: list[int]) -> None:
        """Wait until `holds` of the topic as each of `nodes` sees it; one is asked on only until it said so once."""
        deadline = time.monotonic() + WAIT_S
        waiting = list(nodes)
        while waiting:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nodes {waiting} do not see it after {WAIT_S:.0f} s")
            if self._look(waiting[0], holds):
                del waiting[0]
            else:
                time.sleep(LOOK_S)

    def _look(self, node_id: int, holds: Callable[[TopicDescription], bool]) -> bool:
        if node_id not in self._admins:
            self._admins[node_id] = Admin(self._cluster.address(node_id))
        try:
            return holds(self._admins[node_id].describe_topic(TOPIC, timeout=5.0))
        except KraftpyError:
            return False


def is_in_sync(topic: TopicDescription) -> bool:
    return all(each.leader >= 0 and not each.is_under_replicated for each in topic.partitions)


def led_by_others(dead: int) -> Callable[[TopicDescription], bool]:
    return lambda topic: all(each.leader not in (-1, dead) for each in topic.partitions)


# --- three nodes -----------------------------------------------------------------------------------------------------


def three_nodes(partitions: int) -> Figures:
    found: Figures = {}
    with Cluster(nodes=3) as cluster:
        views = Views(cluster)
        try:
            began = time.monotonic()
            make_topic(cluster, partitions, 3)
            found["created"] = time.monotonic() - began
            views.until(is_in_sync, cluster.node_ids)
            found["in sync"] = time.monotonic() - began
            found["first records"] = write_to_each(cluster, partitions)
            found |= at_rest(cluster)
            lose_one(cluster, views, partitions, found)
            found["moved"] = add_one(cluster, views)
        finally:
            views.close()
    return found


def lose_one(cluster: Cluster, views: Views, partitions: int, found: Figures) -> None:
    victim = cluster.quorum_leader()
    others = [node_id for node_id in cluster.node_ids if node_id != victim]
    began = time.monotonic()
    cluster.kill(victim)
    views.until(led_by_others(victim), others)
    found["killed, led again"] = time.monotonic() - began
    write_to_each(cluster, partitions)
    found["killed, written again"] = time.monotonic() - began
    began = time.monotonic()
    cluster.start(victim)
    found["back in service"] = time.monotonic() - began
    views.until(is_in_sync, cluster.node_ids)
    found["back in sync"] = time.monotonic() - began


def add_one(cluster: Cluster, views: Views) -> float:
    """Seconds until a fourth node has its share."""
    cluster.add_node()
    began = time.monotonic()
    command = [*KRAFTPY, "cluster", "rebalance", "--execute", "--timeout", "120", "-b", cluster.bootstrap]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    while cluster.admin.list_partition_reassignments(timeout=60.0):
        time.sleep(LOOK_S)
    views.until(is_in_sync, cluster.node_ids)
    return time.monotonic() - began


# --- one node --------------------------------------------------------------------------------------------------------


def one_node(partitions: int) -> Figures:
    found: Figures = {}
    with Cluster(nodes=1) as cluster:
        views = Views(cluster)
        try:
            began = time.monotonic()
            make_topic(cluster, partitions, 1)
            found["created"] = time.monotonic() - began
            views.until(is_in_sync, [1])
            found["in sync"] = time.monotonic() - began
            restart(cluster, partitions, found, "empty, ", write=False)
            found["first records"] = write_to_each(cluster, partitions)
            found |= at_rest(cluster)
            restart(cluster, partitions, found, "", write=True)
        finally:
            views.close()
    return found


def restart(cluster: Cluster, partitions: int, found: Figures, what: str, *, write: bool) -> None:
    """After a kill, and after a clean stop."""
    for how, end in (("killed", cluster.kill), ("stopped", cluster.stop)):
        began = time.monotonic()
        end(1)
        if how == "stopped":
            found[f"{what}stopping"] = time.monotonic() - began
        began = time.monotonic()
        cluster.start(1)
        found[f"{what}{how}, back in service"] = time.monotonic() - began
        if write:
            write_to_each(cluster, partitions)
            found[f"{what}{how}, back and written"] = time.monotonic() - began


# --- both ------------------------------------------------------------------------------------------------------------


def make_topic(cluster: Cluster, partitions: int, replication_factor: int) -> None:
    config = {"min.insync.replicas": "2" if replication_factor > 1 else "1"}
    cluster.admin.create_topic(
        TOPIC, partitions=partitions, replication_factor=replication_factor, config=config, timeout=120.0
    )


def write_to_each(cluster: Cluster, partitions: int) -> float:
    """Seconds until one record to each partition, all sent at once, is acknowledged."""
    with Producer(cluster.bootstrap, acks="all", delivery_timeout_ms=int(WAIT_S * 1_000)) as producer:
        began = time.monotonic()
        sent = [producer.send(TOPIC, VALUE, partition=number) for number in range(partitions)]
        producer.flush()
        for each in sent:
            each.result(WAIT_S)
        return time.monotonic() - began


def at_rest(cluster: Cluster) -> Figures:
    time.sleep(SETTLE_S)
    pids = [cluster.pid(node_id) for node_id in cluster.node_ids]
    before = [processor_s(pid) for pid in pids]
    began = time.monotonic()
    time.sleep(REST_S)
    took = time.monotonic() - began
    used = [processor_s(pid) - start for pid, start in zip(pids, before, strict=True)]
    return {"at rest, processor": 100 * max(used) / took, "RssAnon": max(map(rss_anon_kb, pids)) / 1_024}


def processor_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


# --- the table -------------------------------------------------------------------------------------------------------

UNITS = {"at rest, processor": "% of a core", "RssAnon": "MB"}
GOALS = {"three": {"at rest, processor": "<= 3"}, "one": {"at rest, processor": "<= 2"}}


def rows_of(part: str, label: str, runs: list[Figures]) -> list[Row]:
    rows: list[Row] = []
    for what in runs[0]:
        figures = [run[what] for run in runs]
        unit = UNITS.get(what, "ms")
        scale = 1_000 if unit == "ms" else 1
        rows.append((f"{label}: {what}", unit, [figure * scale for figure in figures], GOALS[part].get(what, "")))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partitions", type=int, default=3_000)
    parser.add_argument("--single", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="three,one")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args()
    parts: dict[str, tuple[str, Callable[[], Figures]]] = {
        "three": (f"{options.partitions:,} × 3", lambda: three_nodes(options.partitions)),
        "one": (f"{options.single:,} on one node", lambda: one_node(options.single)),
    }
    rows: list[Row] = []
    for part in options.only.split(","):
        label, measure = parts[part]
        runs: list[Figures] = []
        for number in range(options.runs):
            runs.append(measure())
            shown = ", ".join(f"{what} {figure:.2f}" for what, figure in runs[-1].items())
            print(f"{part}, run {number + 1} of {options.runs}: {shown}", file=sys.stderr, flush=True)
        rows += rows_of(part, label, runs)
    print(table(rows))
    if options.write:
        put(table(rows), options.runs)


def put(rows: str, runs: int) -> None:
    how = (
        f"`python -m bench.partitions --write`, {runs} runs each, on a shared machine with {os.cpu_count()} cores "
        f"(Python {sys.version.split()[0]}); how each is taken stands in that file.\n"
    )
    document.write("partitions", f"{how}\n{rows}")


if __name__ == "__main__":
    main()
