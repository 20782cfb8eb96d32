"""What the stories of known cases share: small clusters on the heap of events, and faults at chosen moments."""

from collections.abc import Callable

from raft.core import RaftCore
from raft.events import NodeId
from tests.raft.cluster import Cluster, MakeCore
from tests.raft.parts import Node

ONE, TWO, THREE, FOUR = NodeId(1), NodeId(2), NodeId(3), NodeId(4)


def started(
    voters: int, observers: int = 0, seed: int = 1, make_core: MakeCore = RaftCore, trace: list[str] | None = None
) -> Cluster:
    cluster = Cluster(voters, observers, seed, make_core=make_core, trace=trace)
    for node_id in cluster.nodes:
        cluster.start(node_id)
    cluster.run(500)
    return cluster


def leader(cluster: Cluster) -> Node:
    epochs = [(node.core.epoch, node.node_id) for node in cluster.leaders() if node.core is not None]
    assert epochs, "nobody leads"
    return cluster.nodes[max(epochs)[1]]


def followers(cluster: Cluster) -> list[Node]:
    return [node for node in cluster.nodes.values() if node is not leader(cluster)]


def leads(cluster: Cluster, node: Node) -> bool:
    return node in cluster.leaders()


def others_lead(cluster: Cluster, former: Node) -> bool:
    return any(node is not former for node in cluster.leaders())


def epoch(node: Node) -> int:
    assert node.core is not None
    return node.core.epoch


def isolate(cluster: Cluster, *inner: NodeId) -> None:
    for one in inner:
        for other in cluster.nodes:
            if other not in inner:
                cluster.network.blocked[(one, other)] = None
                cluster.network.blocked[(other, one)] = None


def run_until(cluster: Cluster, happened: Callable[[], object], within_ms: int) -> int:
    began_ms = cluster.now_ms
    while not happened():
        assert cluster.now_ms - began_ms < within_ms, "it did not happen"
        cluster.run(1)
    return cluster.now_ms - began_ms


def commit(cluster: Cluster) -> None:
    """By a leader that may not have its own epoch's entry committed yet: again until it has."""
    before = len(cluster.acknowledged)
    for _ in range(50):
        cluster.propose(leader(cluster).node_id)
        cluster.run(20)
        if len(cluster.acknowledged) > before:
            return
    raise AssertionError("nothing is committed")


def same_logs(cluster: Cluster) -> bool:
    disks = [node.disk for node in cluster.nodes.values()]
    return all((disk.start_offset, disk.entries) == (disks[0].start_offset, disks[0].entries) for disk in disks)
