"""A cluster that somebody else started and that this command neither kills nor stops: for trying one case again."""

from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Self

from tests.compatibility.cluster_view import ClusterView
from tests.compatibility.clusters import NODES


class ForeignCluster:
    """Three nodes at these addresses."""

    kind = "foreign"
    version = "unknown"

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._view = ClusterView(bootstrap)
        self._all = dict.fromkeys(range(1, NODES + 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._view.close()

    @property
    def bootstrap(self) -> str:
        return self._bootstrap

    def create_topic(self, name: str, partitions: int) -> None:
        self._view.create_topic(name, partitions, NODES)

    def partition_leader(self, topic: str, partition: int) -> int:
        return self._view.partition_leader(topic, partition, self._all)

    def quorum_leader(self) -> int:
        return self._view.quorum_leader(self._all)

    def kill(self, node_id: int) -> None:
        raise PermissionError("only a cluster that this command started is hurt")

    def stop(self, node_id: int) -> None:
        raise PermissionError("only a cluster that this command started is hurt")

    def start(self, node_id: int) -> None:
        raise PermissionError("only a cluster that this command started is hurt")

    def wait_in_sync(self) -> None:
        self._view.wait_in_sync(NODES)

    def unhurt(self) -> AbstractContextManager[bool]:
        return nullcontext(False)

    def log_tails(self) -> str:
        return ""
