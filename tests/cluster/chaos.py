"""Rounds of faults against a cluster of real processes under load.

A round hurts one node, chosen by the seed: kill -9, SIGSTOP or SIGTERM. The survivors must go on (`hold_records` more
records acknowledged and read), then the node comes back and must get in sync, and again records must flow. A round with
`hold_records` 0 brings the node back at once, into the middle of the others' finding out. kill -9 of all nodes at once
is a round too: nobody survives, and everybody comes back.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random

from kraftpy.testing import Cluster
from tests.cluster.load import Load
from tests.cluster.replica_files import differences

NODES = 3
PARTITIONS = 6
TOPIC = "chaos"
HOLDS_RECORDS = (0, 100, 500, 2_000)
AFTER_RECORDS = 200  # that flow once the node is back


class Fault(Enum):
    """What is done to a node, and how the report calls it."""

    KILL = "kill -9"
    PAUSE = "SIGSTOP"
    STOP = "SIGTERM"
    KILL_ALL = "kill -9 of all"


@dataclass(frozen=True, slots=True)
class Round:
    """What is done to whom."""

    fault: Fault
    node_ids: tuple[int, ...]
    hold_records: int  # acknowledged while the node is away; 0: it comes back at once

    def __str__(self) -> str:
        nodes = ", ".join(map(str, self.node_ids))
        return f"{self.fault.value}: node {nodes}, back after {self.hold_records} records"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round cost."""

    longest_wait_s: float  # of a record for its acknowledgement
    in_sync_s: float  # from the node's return until every replica was in sync

    def __str__(self) -> str:
        return f"longest wait {self.longest_wait_s:.2f} s, in sync {self.in_sync_s:.2f} s after the return"


def rounds(seed: int, count: int, faults: Sequence[Fault] = (Fault.KILL, Fault.PAUSE)) -> Iterator[Round]:
    """The rounds that follow from a seed."""
    random = Random(seed)
    for _ in range(count):
        fault = random.choice(faults)
        hold_records = random.choice(HOLDS_RECORDS)
        if fault is Fault.KILL_ALL:
            yield Round(fault, tuple(range(1, NODES + 1)), 0)
        else:
            yield Round(fault, (random.randint(1, NODES),), hold_records)


def chaos_cluster() -> Cluster:
    return Cluster(nodes=NODES, config={"min.insync.replicas": 2, "auto.create.topics.enable": False})


def play(cluster: Cluster, load: Load, step: Round) -> Outcome:
    """Play one round. Raises `LoadError` or `ClusterError` where something does not happen in time."""
    load.take_longest_wait_s()
    for node_id in step.node_ids:
        _hurt(cluster, step.fault, node_id)
    if step.hold_records:
        load.wait_acknowledged(step.hold_records)
    began_s = time.monotonic()
    for node_id in step.node_ids:
        if step.fault is Fault.PAUSE:
            cluster.resume(node_id)
        else:
            cluster.start(node_id, wait=False)
    cluster.wait_in_sync()
    in_sync_s = time.monotonic() - began_s
    load.wait_acknowledged(AFTER_RECORDS)
    cluster.check_alive()
    return Outcome(load.take_longest_wait_s(), in_sync_s)


def _hurt(cluster: Cluster, fault: Fault, node_id: int) -> None:
    match fault:
        case Fault.KILL | Fault.KILL_ALL:
            cluster.kill(node_id)
        case Fault.PAUSE:
            cluster.pause(node_id)
        case Fault.STOP:
            cluster.stop(node_id)


def play_all(seed: int, steps: Sequence[Round], first: int = 1) -> tuple[list[Outcome], int]:
    """A cluster's whole life, from round `first` on: its outcomes and how many records it took.

    Raises `AssertionError` where a record was lost, repeated or swapped, or failed, or where replicas differ.
    """
    outcomes = []
    with chaos_cluster() as cluster:
        cluster.admin.create_topic(TOPIC, partitions=PARTITIONS, replication_factor=NODES)
        cluster.wait_in_sync()
        with Load(cluster.bootstrap, TOPIC, PARTITIONS) as load:
            load.wait_acknowledged(100)
            for number, step in enumerate(steps, first):
                print(f"seed {seed}, round {number}: {step}", flush=True)
                outcomes.append(play(cluster, load, step))
                print(f"  {outcomes[-1]}; {load.ledger.acknowledged} records so far", flush=True)
            findings = load.finish()
            assert not findings, f"seed {seed}: {findings}"
            assert load.ledger.failed == 0, f"seed {seed}: {load.ledger.failed} records were given up"
        cluster.stop_all()
        for partition in range(PARTITIONS):
            differing = differences(cluster.directory, f"{TOPIC}-{partition}", cluster.node_ids)
            assert not differing, f"seed {seed}: {differing}"
    return outcomes, load.ledger.acknowledged
