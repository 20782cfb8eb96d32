"""A cluster of real processes on loopback, for tests.

Everything is at its defaults unless `config` says otherwise, flushing included. Ports are reserved for the cluster's
life, data lies in a temporary directory, and a reaper removes all of it even when the test process is killed. When the
`with` ends by an exception, the end of every node's log is printed to stderr.

A cluster belongs to one thread.
"""

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar

from kraftpy.client.admin_values import ClusterDescription
from kraftpy.client.blocking_admin import Admin
from kraftpy.errors import KraftpyError
from kraftpy.testing.node_process import NodeProcess, peers_of
from kraftpy.testing.ports import ReservedPort
from kraftpy.testing.reaper import Reaper

T = TypeVar("T")

START_S = 60.0  # until every node is in service, also on a busy machine
LOOK_S = 0.05  # between two looks at the cluster
CALL_S = 5.0

_UNFLUSHED = {"log.flush.interval.messages": str(2**63 - 1)}


class ClusterError(Exception):
    """The cluster did not do what was asked of it; the message holds the ends of the nodes' logs."""


class Cluster:
    """`with Cluster(nodes=3, config={…}) as cluster:` starts the nodes and waits until all are in service.

    `config` holds settings under Kafka's names, for every node. `flush=False` acknowledges records before they are on
    disk, as Kafka does: faster, and only for tests that lose no power.
    """

    def __init__(
        self, nodes: int = 3, *, config: Mapping[str, str | int | bool] | None = None, flush: bool = True
    ) -> None:
        if nodes < 1:
            raise ValueError(f"a cluster has at least one node, not {nodes}")
        self._settings = {
            **({} if flush else _UNFLUSHED),
            **{name: _text(value) for name, value in (config or {}).items()},
        }
        self._count = nodes
        self._nodes: dict[int, NodeProcess] = {}
        self._stack = contextlib.ExitStack()
        self._admin: Admin | None = None

    def __enter__(self) -> Self:
        try:
            reaper = self._stack.enter_context(Reaper())
            self.directory = tempfile.mkdtemp(prefix="kraftpy-")
            reaper.remove_at_the_end(self.directory)
            for node_id in range(1, self._count + 1):
                calls, framed = self._stack.enter_context(ReservedPort()), self._stack.enter_context(ReservedPort())
                self._nodes[node_id] = NodeProcess(node_id, self.directory, calls, framed, reaper)
            self._stack.callback(self._kill_all)
            for node_id in self._nodes:
                self._launch(node_id)
            self.wait_until_up()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, (ClusterError, KeyboardInterrupt)):
            print(self._logs(), file=sys.stderr)
        self._stack.close()

    @property
    def bootstrap(self) -> str:
        """All nodes' addresses for `Producer`, `Consumer` and `Admin`, also of those that are down."""
        return ",".join(str(node.calls) for node in self._nodes.values())

    @property
    def listeners(self) -> str:
        """All nodes' addresses of Kafka's protocol."""
        return ",".join(str(node.framed) for node in self._nodes.values())

    @property
    def node_ids(self) -> list[int]:
        return list(self._nodes)

    @property
    def running(self) -> list[int]:
        """The nodes whose processes live, paused ones included."""
        return [node_id for node_id, node in self._nodes.items() if node.running]

    # --- looking ------------------------------------------------------------------------------------------------------

    @property
    def admin(self) -> Admin:
        """An admin of this cluster, closed with it."""
        if self._admin is None:
            self._admin = self._stack.enter_context(Admin(self.bootstrap))
        return self._admin

    def leader(self, topic: str, partition: int, timeout: float = 30.0) -> int:
        """The node that leads a partition; waits for one."""

        def look() -> int | None:
            found = self.admin.describe_topic(topic, timeout=CALL_S).partitions[partition].leader
            return found if found >= 0 else None

        return self._wait(look, timeout, f"{topic}-{partition} has a leader")

    def quorum_leader(self, timeout: float = 30.0) -> int:
        """The node that leads the metadata quorum; waits for one."""

        def look() -> int | None:
            found = self.admin.describe_quorum(timeout=CALL_S).leader_id
            return found if found >= 0 else None

        return self._wait(look, timeout, "the quorum has a leader")

    def wait_in_sync(self, timeout: float = 60.0) -> None:
        """Wait until every replica of every partition is in sync, and every running node in service."""

        def look() -> bool | None:
            topics = self.admin.describe_topics(timeout=CALL_S)
            in_sync = all(
                partition.leader >= 0 and not partition.is_under_replicated
                for topic in topics
                for partition in topic.partitions
            )
            return True if in_sync and self._all_up(self.admin.describe_cluster(timeout=CALL_S)) else None

        self._wait(look, timeout, "every replica is in sync")

    def wait_until_up(self, timeout: float = START_S) -> None:
        """Wait until every node that runs and is not paused is in service."""

        def look() -> bool | None:
            self._check_alive()
            return True if self._all_up(self.admin.describe_cluster(timeout=CALL_S)) else None

        self._wait(look, timeout, "every node is in service")

    def log(self, node_id: int) -> str:
        """Everything that a node has printed."""
        return self._nodes[node_id].log()

    # --- hurting ------------------------------------------------------------------------------------------------------

    def kill(self, node_id: int) -> None:
        """kill -9."""
        self._nodes[node_id].kill()

    def pause(self, node_id: int) -> None:
        """SIGSTOP: the process lives, holds its connections, and says nothing."""
        self._nodes[node_id].signal(signal.SIGSTOP)

    def resume(self, node_id: int) -> None:
        """SIGCONT."""
        self._nodes[node_id].signal(signal.SIGCONT)

    def stop(self, node_id: int, timeout: float = 60.0) -> None:
        """SIGTERM, a controlled shutdown. Raises `ClusterError` where it does not end with exit code 0."""
        node = self._nodes[node_id]
        node.signal(signal.SIGTERM)
        try:
            code = node.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ClusterError(f"node {node_id} did not stop within {timeout} s\n{self._logs()}") from None
        if code != 0:
            raise ClusterError(f"node {node_id} stopped with exit code {code}\n{self._logs()}")

    def start(self, node_id: int, *, wait: bool = True) -> None:
        """Start a node that is down, on its data; with `wait`, until it is in service."""
        self._launch(node_id)
        if wait:
            self.wait_until_up()

    def _launch(self, node_id: int) -> None:
        self._nodes[node_id].start(peers_of(list(self._nodes.values())), self._settings)

    def _kill_all(self) -> None:
        for node in self._nodes.values():
            node.kill()

    def _all_up(self, cluster: ClusterDescription) -> bool:
        up = {broker.node_id for broker in cluster.brokers if not broker.fenced}
        return all(node_id in up for node_id, node in self._nodes.items() if node.running and not node.paused)

    def _check_alive(self) -> None:
        for node_id, node in self._nodes.items():
            if node.exit_code:
                raise ClusterError(f"node {node_id} ended with exit code {node.exit_code}\n{self._logs()}")

    def _wait(self, look: Callable[[], T | None], timeout: float, what: str) -> T:
        """Look until something is there; errors of the cluster are what may pass."""
        deadline = time.monotonic() + timeout
        last: KraftpyError | None = None
        while True:
            try:
                found = look()
            except KraftpyError as error:
                found, last = None, error
            if found is not None:
                return found
            if time.monotonic() > deadline:
                reason = f" (last: {last.name}: {last})" if last else ""
                raise ClusterError(f"waited {timeout:g} s until {what}{reason}\n{self._logs()}")
            time.sleep(LOOK_S)

    def _logs(self) -> str:
        return "\n".join(
            f"--- node {node_id} ({self._state(node)}) ---\n{node.log_tail()}" for node_id, node in self._nodes.items()
        )

    @staticmethod
    def _state(node: NodeProcess) -> str:
        if node.running:
            return "paused" if node.paused else f"running, pid {node.pid}"
        return "not started" if node.exit_code is None else f"exit code {node.exit_code}"


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
