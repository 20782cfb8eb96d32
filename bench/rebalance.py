"""How long a rebalance keeps records from a group: eager, cooperative and KIP-848, kraftpy and Apache Kafka by turns.

    python -m bench.rebalance [--turns N] [--rounds N] [--clusters kraftpy,kafka] [--write]

The same programs for both: confluent-kafka produces to every partition every 20 ms, and two members of a group, a
process each, consume. A round: a third member joins, is killed (-9), comes back, and leaves. A pause is the longest
time that any partition gave no record to anybody, from the event until two seconds after everything is consumed again;
the row "at rest" is the same without an event, and tells what is not the rebalance's. Sessions last 6 s and heartbeats
go out every second, in every protocol and on both clusters. Kafka needs a Java runtime and Maven
(`tests.compatibility.cache`).

`--write` puts the medians into docs/benchmarks.md.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench import document
from tests.compatibility.clusters import SETTINGS, ClusterUnderTest
from tests.compatibility.handling import Diary
from tests.compatibility.load import Load
from tests.compatibility.members import PROTOCOLS, Group, Member, Membership, broker_settings, client_settings, groups
from tests.compatibility.rolling import cluster_of

PARTITIONS = 6
RATE = 300
"""Records a second, over all partitions."""

SESSION_MS = 6_000
HEARTBEAT_MS = 1_000
SETTLED_S = 2.0
BEFORE_MS = 200.0
BATCH = 100
WAIT_S = 60.0
EVENTS = ("at rest", "a member joins", "a member leaves", "a member is killed")

Pauses = dict[tuple[str, str], list[float]]
"""By protocol and event, in ms."""


def measure(cluster: ClusterUnderTest, topic: str, rounds: int) -> Pauses:
    """All protocols, one after the other, on a topic of their own."""
    found: Pauses = {}
    cluster.create_topic(topic, PARTITIONS)
    with tempfile.TemporaryDirectory(prefix="rebalance-") as directory:
        for protocol in PROTOCOLS:
            settings = client_settings(protocol, SESSION_MS, HEARTBEAT_MS) | {"auto.offset.reset": "latest"}
            membership = Membership(cluster.bootstrap, f"{topic}-{protocol}", topic, "auto", BATCH, settings)
            with (
                Load(cluster.bootstrap, topic, PARTITIONS, RATE) as load,
                groups(membership, directory=Path(directory)) as (group,),
            ):
                for event, pause in story(group, rounds):
                    found.setdefault((protocol, event), []).append(pause)
                load.stop()
                group.leave()
                errors = [*load.errors, *(error for diary in group.diaries for error in diary.errors)]
                assert not errors, errors
    return found


def story(group: Group, rounds: int) -> Iterator[tuple[str, float]]:
    """Events and their pauses."""
    for _ in range(2):
        settle(group, group.join())
    for _ in range(rounds):
        yield "at rest", pause_ms(group, now_ms())
        begun_ms = now_ms()
        third = group.join()
        yield "a member joins", pause_ms(group, begun_ms, third)
        yield "a member is killed", pause_ms(group, third.kill())
        begun_ms = now_ms()
        third = group.join()
        yield "a member joins", pause_ms(group, begun_ms, third)
        begun_ms = third.leave()
        third.wait()
        yield "a member leaves", pause_ms(group, begun_ms)


def pause_ms(group: Group, begun_ms: float, newcomer: Member | None = None) -> float:
    """Of what began then, once it is over."""
    settle(group, newcomer)
    return longest_gap_ms(group.diaries, begun_ms)


def settle(group: Group, newcomer: Member | None) -> None:
    """Until the newcomer has its first records, every partition is consumed, and some time more."""
    deadline = time.monotonic() + WAIT_S
    since_ms = now_ms()
    while not is_consumed(group, newcomer, since_ms):
        assert time.monotonic() < deadline, f"{group.membership.group} is not whole within {WAIT_S:g} s"
        time.sleep(0.1)
    time.sleep(SETTLED_S)
    group.handled()


def is_consumed(group: Group, newcomer: Member | None, since_ms: float) -> bool:
    """By members that live, in the last half of a second."""
    group.handled()
    if newcomer is not None and not newcomer.diary.batches:
        return False
    recent_ms = max(since_ms, now_ms() - 500)
    places = {
        partition
        for member in group.living
        for batch in member.diary.batches[-200:]
        if batch.time_ms >= recent_ms
        for (partition, _), _ in batch.records
    }
    return len(places) == PARTITIONS


def longest_gap_ms(diaries: Iterable[Diary], begun_ms: float) -> float:
    """The longest time between two records of one partition, of all partitions, whoever handled them."""
    times: list[list[float]] = [[] for _ in range(PARTITIONS)]
    for diary in diaries:
        for batch in diary.batches:
            if batch.time_ms >= begun_ms - BEFORE_MS:
                for partition in dict.fromkeys(partition for (partition, _), _ in batch.records):
                    times[partition].append(batch.time_ms)
    gaps = []
    for handled in times:
        handled.sort()
        gaps += [later - earlier for earlier, later in itertools.pairwise(handled)]
    return max(gaps)


def now_ms() -> float:
    return time.monotonic() * 1000


# --- the table -------------------------------------------------------------------------------------------------------


def table(found: dict[str, Pauses]) -> str:
    lines = ["| protocol | what happens | kraftpy, ms | Apache Kafka, ms | ratio |", "|---|---|---:|---:|---:|"]
    for protocol in PROTOCOLS:
        for event in EVENTS:
            ours, theirs = (found.get(kind, {}).get((protocol, event), []) for kind in ("kraftpy", "kafka"))
            ratio = f"{statistics.median(ours) / statistics.median(theirs):.2f}" if ours and theirs else ""
            lines.append(f"| {protocol} | {event} | {shown(ours)} | {shown(theirs)} | {ratio} |")
    return "\n".join(lines)


def shown(pauses: Sequence[float]) -> str:
    """The median, the least and the most."""
    if not pauses:
        return ""
    return f"{statistics.median(pauses):,.0f} ({min(pauses):,.0f}–{max(pauses):,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=2, help="how often each cluster is started")
    parser.add_argument("--rounds", type=int, default=3, help="of each protocol, in a turn")
    parser.add_argument("--clusters", default="kraftpy,kafka")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args()
    found: dict[str, Pauses] = {}
    versions: dict[str, str] = {}
    for turn in range(options.turns):
        for kind in options.clusters.split(","):
            with cluster_of(kind, {**SETTINGS, **broker_settings(SESSION_MS, HEARTBEAT_MS)}) as cluster:
                versions[kind] = cluster.version
                for place, pauses in measure(cluster, f"rebalance-{turn}", options.rounds).items():
                    found.setdefault(kind, {}).setdefault(place, []).extend(pauses)
            print(f"turn {turn}, {kind}\n{table(found)}", file=sys.stderr, flush=True)
    print(table(found))
    if options.write:
        put(table(found), options.turns * options.rounds, versions)


def put(rows: str, rounds: int, versions: dict[str, str]) -> None:
    names = " and ".join(f"{kind} {version}" for kind, version in versions.items())
    load = os.getloadavg()[1]
    how = (
        f"`python -m bench.rebalance --write`: {names} by turns, {rounds} rounds each, on a shared machine with "
        f"{os.cpu_count()} cores and a load of {load:.0f} (Python {sys.version.split()[0]}). Medians, least and most."
    )
    document.write("rebalance", f"{how}\n\n{rows}")


if __name__ == "__main__":
    main()
