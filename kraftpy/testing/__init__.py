"""Clusters for tests: real processes, started and stopped by a `with`.

    from kraftpy.testing import Cluster

    with Cluster(nodes=3, config={"min.insync.replicas": 2}) as cluster:
        ...  # cluster.bootstrap, cluster.kill(cluster.leader("lines", 0)), cluster.wait_in_sync()

`cluster` is what a test uses; `node_process` is one node; `ports` keeps addresses without races; `reaper` removes what
is left when the test itself dies; `launch` is how a node's process begins. The names below are loaded when first used,
because `launch` and `reaper` begin here too and have no use for a client.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kraftpy.testing.cluster import Cluster, ClusterError, PortInUseError

__all__ = ["Cluster", "ClusterError", "PortInUseError"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kraftpy.testing import cluster

    return getattr(cluster, name)
