"""What a case runs against: three nodes of one kind behind one face.

Both kinds take the same settings under Kafka's names, keep their data in a temporary folder, and end with the `with`,
also when the command itself is killed (`kraftpy.testing.reaper` watches every process). Only these processes are ever
killed.
"""

import tomllib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from kraftpy.testing import Cluster

NODES = 3
WHOLE_S = 180.0
"""How long a cluster may take to be whole again: on a busy machine a process with a low priority starts in a minute."""
SETTINGS: Mapping[str, str] = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "num.partitions": "3",
    "auto.create.topics.enable": "true",
    "offsets.topic.replication.factor": "3",
    "offsets.topic.num.partitions": "10",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "transaction.state.log.num.partitions": "10",
    "group.initial.rebalance.delay.ms": "100",
    "group.consumer.heartbeat.interval.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "500",
}
"""Small internal topics and short waits: a run has to end; everything else is at its default."""


class ClusterUnderTest(Protocol):
    """A cluster of three, for one thread."""

    kind: str
    """`kraftpy` or `kafka`."""

    version: str

    @property
    def bootstrap(self) -> str:
        """All nodes' addresses of Kafka's protocol, comma apart."""

    def create_topic(self, name: str, partitions: int) -> None:
        """A topic on all nodes; returns when every partition has a leader and all replicas are in sync."""

    def partition_leader(self, topic: str, partition: int) -> int:
        """The node that leads a partition."""

    def quorum_leader(self) -> int:
        """The node that leads the metadata quorum."""

    def kill(self, node_id: int) -> None:
        """kill -9."""

    def stop(self, node_id: int) -> None:
        """SIGTERM, and wait for its end: a controlled shutdown."""

    def start(self, node_id: int) -> None:
        """Start a node that is down, on its data."""

    def wait_in_sync(self) -> None:
        """Wait until every node is in service and every replica in sync."""

    def unhurt(self) -> AbstractContextManager[bool]:
        """Nobody kills anything meanwhile. Whether somebody would have."""

    def log_tails(self) -> str:
        """The ends of the nodes' logs."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class KraftpyCluster:
    """Ours, by `kraftpy.testing.Cluster`."""

    kind = "kraftpy"

    def __init__(self, settings: Mapping[str, str] = SETTINGS, *, nodes: int = NODES) -> None:
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
        self.version: str = project["project"]["version"]
        self._count = nodes
        self._cluster = Cluster(nodes, config=settings)

    def __enter__(self) -> Self:
        self._cluster.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cluster.__exit__(kind, error, trace)

    @property
    def bootstrap(self) -> str:
        return self._cluster.kafka_bootstrap

    @property
    def node_ids(self) -> Sequence[int]:
        return self._cluster.node_ids

    def pid(self, node_id: int) -> int:
        return self._cluster.pid(node_id)

    def create_topic(self, name: str, partitions: int) -> None:
        self._cluster.admin.create_topic(name, partitions=partitions, replication_factor=self._count)
        self._cluster.wait_in_sync(WHOLE_S)

    def partition_leader(self, topic: str, partition: int) -> int:
        return self._cluster.leader(topic, partition)

    def quorum_leader(self) -> int:
        return self._cluster.quorum_leader()

    def kill(self, node_id: int) -> None:
        self._cluster.kill(node_id)

    def pause(self, node_id: int) -> None:
        self._cluster.pause(node_id)

    def resume(self, node_id: int) -> None:
        self._cluster.resume(node_id)

    def stop(self, node_id: int) -> None:
        self._cluster.stop(node_id)

    def start(self, node_id: int) -> None:
        self._cluster.start(node_id, wait=False)

    def wait_in_sync(self) -> None:
        self._cluster.wait_in_sync(WHOLE_S)

    def unhurt(self) -> AbstractContextManager[bool]:
        return nullcontext(False)

    def log_tails(self) -> str:
        return self._cluster.log_tails()
