"""Rounds of faults against a cluster under load, drawn from a seed, and how they are judged.

A round injects a fault, holds it, heals it, waits until every replica of every partition is in sync again, and until
records flow again. A cluster lives for some rounds; in the end the log checker of the simulation judges everything that
its clients saw, and the replicas' files are compared.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.chaos.clients import Clients
from tests.chaos.cluster import ChaosCluster, DiskKind
from tests.chaos.disk_faults import PowerFailure
from tests.chaos.faults import Fault, Together
from tests.chaos.kinds import HOLDS_S, KINDS, NODES, disk_kinds_of
from tests.cluster.replica_files import differences_between

PARTITIONS = 6
TOPIC = "chaos"
AFTER_RECORDS = 200  # that flow once everything is healed
FOUND_OUT_S = 5.0  # a fault that is held for so long is waited out by the survivors: records must flow again


@dataclass(frozen=True, slots=True)
class Round:
    """What is done to whom, and for how long."""

    kind: str
    fault: Fault
    hold_s: float

    def __str__(self) -> str:
        return f"{self.kind}: {self.fault}" + (f", for {self.hold_s:g} s" if self.hold_s else "")


@dataclass(frozen=True, slots=True)
class Life:
    """One cluster, and what happens to it."""

    disk_kind: DiskKind
    disks_per_node: int
    rounds: tuple[Round, ...]

    def __str__(self) -> str:
        return f"{len(NODES)} nodes with {self.disks_per_node} log directories each, on {self.disk_kind.value}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round cost, and what the disks forgot in it."""

    longest_wait_s: float  # of a record for its acknowledgement
    in_sync_s: float  # from the end of the fault until every replica was in sync
    lost_bytes: int  # of logs, by power failures

    def __str__(self) -> str:
        lost = f", {self.lost_bytes} bytes of logs were in memory only" if self.lost_bytes else ""
        return f"longest wait {self.longest_wait_s:.2f} s, in sync {self.in_sync_s:.2f} s after it{lost}"


def lives(seed: int, rounds: int, rounds_per_cluster: int, names: Sequence[str]) -> Iterator[Life]:
    """The clusters and rounds that follow from a seed. Every kind of `names` comes as often as any other, or once more
    or less, as far as the disks allow."""
    random = Random(seed)
    left: list[str] = []
    while rounds > 0:
        disk_kind = random.choice(disk_kinds_of(names))
        disks = random.choice((1, 2))
        drawn: list[Round] = []
        while len(drawn) < min(rounds, rounds_per_cluster):
            left = left or random.sample(names, len(names))
            possible = [name for name in left if disk_kind in KINDS[name].disk_kinds]
            if not possible:
                left = left + random.sample(names, len(names))
                continue
            left.remove(possible[0])
            drawn.append(_round(random, possible[0], disks))
        rounds -= len(drawn)
        yield Life(disk_kind, disks, tuple(drawn))


def _round(random: Random, name: str, disks: int) -> Round:
    kind = KINDS[name]
    fault = kind.draw(random, disks)
    return Round(name, fault, 0.0 if kind.ends_by_itself else random.choice(HOLDS_S))


def play_life(
    directory: str, life: Life, first: int = 1, tell: Callable[[str], None] = print
) -> tuple[list[Outcome], int]:
    """A cluster's whole life, its rounds counted from `first`: their outcomes and how many records were acknowledged.

    Raises `AssertionError` where a record was lost, repeated, swapped or given up, where replicas differ, or a fault
    had no effect; `ClusterError` where the cluster does not get well.
    """
    outcomes = []
    cluster = ChaosCluster(directory, disks_per_node=life.disks_per_node, disk_kind=life.disk_kind)
    with cluster:
        cluster.admin.create_topic(TOPIC, partitions=PARTITIONS, replication_factor=len(NODES))
        cluster.wait_in_sync()
        with Clients(cluster.bootstrap, TOPIC, PARTITIONS) as clients:
            clients.wait_acknowledged(100)
            for number, step in enumerate(life.rounds, first):
                tell(f"round {number}, {step}")
                outcomes.append(_play(cluster, clients, step))
                tell(f"  {outcomes[-1]}; {clients.acknowledged} records so far")
            report = clients.finish()
            assert report.ok, f"{report}"
            assert report.unseen == 0, f"acknowledged and never read: {report}"
            assert clients.given_up == 0, f"{clients.given_up} records were given up"
        cluster.stop_all()
        differing = _differences(cluster)
        assert not differing, f"{differing}"
    return outcomes, report.acknowledged


def _play(cluster: ChaosCluster, clients: Clients, step: Round) -> Outcome:
    clients.take_longest_wait_s()
    step.fault.inject(cluster)
    clients.hold(step.hold_s)
    if step.hold_s >= FOUND_OUT_S and step.fault.survivors_go_on:
        clients.wait_acknowledged(AFTER_RECORDS)
    step.fault.heal(cluster)
    began_s = time.monotonic()
    cluster.wait_in_sync()
    in_sync_s = time.monotonic() - began_s
    clients.wait_acknowledged(AFTER_RECORDS)
    clients.wait_answered()
    cluster.check_alive()
    return Outcome(clients.take_longest_wait_s(), in_sync_s, _lost_bytes(step.fault))


def _lost_bytes(fault: Fault) -> int:
    match fault:
        case PowerFailure():
            return fault.lost_bytes
        case Together():
            return _lost_bytes(fault.first) + _lost_bytes(fault.second)
    return 0


def _differences(cluster: ChaosCluster) -> list[str]:
    found = []
    for partition in range(PARTITIONS):
        name = f"{TOPIC}-{partition}"
        places = {
            node_id: [
                Path(path) for each in cluster.log_dirs(node_id) if os.path.isdir(path := os.path.join(each, name))
            ]
            for node_id in cluster.node_ids
        }
        found += differences_between(name, places)
    return found
