"""Makes one node lead the quorum and most partitions, hurts it, and heals it."""

import time
from collections.abc import Mapping

from cli.demo.fault_kind import FaultKind
from kraftpy.testing import Cluster, ClusterError

LEAD_S = 30.0  # until the chosen node leads what it should
LOOK_S = 0.05


def assignment(
    victim: int, node_ids: list[int], partitions: int, replication_factor: int
) -> Mapping[int, tuple[int, ...]]:
    """Replicas of each partition, the preferred leader first: `victim` leads two thirds, the others share the rest."""
    others = [node_id for node_id in node_ids if node_id != victim]
    its_own = partitions - partitions // 3
    placed = {}
    for partition in range(partitions):
        turn = partition % len(others)
        rest = [*others[turn:], *others[:turn]]
        if partition < its_own:
            placed[partition] = (victim, *rest[: replication_factor - 1])
        else:  # the victim holds a copy of every partition
            placed[partition] = (rest[0], victim, *rest[1 : replication_factor - 1])
    return placed


def make_leader(cluster: Cluster, victim: int, topic: str) -> int:
    """Have `victim` lead the quorum and the partitions that prefer it; how many those are.

    Raises `ClusterError` where it does not come to lead both within `LEAD_S`.
    """
    deadline = time.monotonic() + LEAD_S
    while True:
        partitions = cluster.admin.describe_topic(topic).partitions
        led = sum(partition.leader == victim for partition in partitions)
        leads_quorum = cluster.quorum_leader() == victim
        if leads_quorum and led > len(partitions) // 2:
            return led
        if time.monotonic() > deadline:
            raise ClusterError(f"node {victim} does not come to lead the quorum and most partitions of {topic}")
        if not leads_quorum:
            cluster.admin.transfer_quorum_leadership(victim)
        else:
            cluster.admin.elect_leaders([(topic, partition.partition) for partition in partitions])
        time.sleep(LOOK_S)


def hurt(cluster: Cluster, victim: int, fault: FaultKind) -> None:
    if fault is FaultKind.KILL:
        cluster.kill(victim)
    else:
        cluster.pause(victim)


def heal(cluster: Cluster, victim: int, fault: FaultKind) -> float:
    """Bring it back, and wait until every replica is in sync; how many seconds that took."""
    started = time.monotonic()
    if fault is FaultKind.KILL:
        cluster.start(victim, wait=False)
    else:
        cluster.resume(victim)
    cluster.wait_in_sync(timeout=300.0)
    return time.monotonic() - started
