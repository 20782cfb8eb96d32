"""Clusters for tests: real processes, started and stopped by a `with`.

    from kraftpy.testing import Cluster

    with Cluster(nodes=3, config={"min.insync.replicas": 2}) as cluster:
        ...  # cluster.bootstrap, cluster.kill(cluster.leader("lines", 0)), cluster.wait_in_sync()

`cluster` is what a test uses; `node_process` is one node; `ports` keeps addresses without races; `reaper` removes what
is left when the test itself dies; `launch` is how a node's process begins.
"""

from kraftpy.testing.cluster import Cluster, ClusterError

__all__ = ["Cluster", "ClusterError"]
