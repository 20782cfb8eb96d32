"""A cluster of real processes on loopback, for tests.

Everything is at its defaults unless `config` says otherwise, flushing included; but groups do not wait for more members
before they begin (`group.initial.rebalance.delay.ms` is 0). Ports are reserved for the cluster's
life, data lies in a temporary directory, and a reaper removes all of it even when the test process is killed. When the
`with` ends by an exception, the end of every node's log is printed to stderr.

A cluster belongs to one thread.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar

from kraftpy.client.blocking_admin import Admin
from kraftpy.errors import KraftpyError
from kraftpy.testing.node_process import LAUNCHER, NodeProcess, peers_of
from kraftpy.testing.ports import ReservedPort
from kraftpy.testing.reaper import Reaper

T = TypeVar("T")

START_S = 60.0  # until every node is in service, also on a busy machine
LOOK_S = 0.05  # between two looks at the cluster
CALL_S = 2.0  # a node that has to ask one that is paused is asked again

_DEFAULTS = {"group.initial.rebalance.delay.ms": "0"}  # as in Kafka's quick start: a first consumer waits for nobody
_UNFLUSHED = {"log.flush.interval.messages": str(2**63 - 1)}


class ClusterError(Exception):
    """The cluster did not do what was asked of it; the message holds the ends of the nodes' logs."""


# What ends a `with` without a look at the logs: a wish of the user, or an error that holds them already.
_QUIET = (ClusterError, KeyboardInterrupt, SystemExit, GeneratorExit)


class PortInUseError(ClusterError):
    """`first_port`, or one that follows from it, is somebody else's."""


class Cluster:
    """`with Cluster(nodes=3, config={…}) as cluster:` starts the nodes and waits until all are in service.

    `config` holds settings under Kafka's names, for every node; a name that nobody knows is refused. `flush=False`
    acknowledges records before they are on disk, as Kafka does: faster, and only for tests that lose no power. Data
    lies in `directory` and stays there, or in a temporary one that goes with the cluster. Node k takes calls on
    `first_port` + 100 * (k - 1) and Kafka's protocol one below; without it, ports are any free ones. `log_dirs` is how
    many log directories each node has (JBOD).

    `voters` of the nodes, the first ones, found the quorum; the others observe, as do those that `add_node` starts
    later. `launcher` is the module that a node's process runs instead of this package's own (tests of upgrades start
    another release by it); `start` takes one as well.
    """

    def __init__(
        self,
        nodes: int = 3,
        *,
        config: Mapping[str, str | int | bool] | None = None,
        flush: bool = True,
        directory: str | os.PathLike[str] | None = None,
        log_dirs: int = 1,
        first_port: int | None = None,
        voters: int | None = None,
        launcher: str = LAUNCHER,
    ) -> None:
        if nodes < 1:
            raise ValueError(f"a cluster has at least one node, not {nodes}")
        if voters is not None and not 1 <= voters <= nodes:
            raise ValueError(f"{voters} of {nodes} nodes cannot vote")
        self._voters = nodes if voters is None else voters
        self._launcher = launcher
        self._directory = directory
        self._first_port = first_port
        self._settings = {
            **_DEFAULTS,
            **({} if flush else _UNFLUSHED),
            **{name: _text(value) for name, value in (config or {}).items()},
        }
        self._count = nodes
        self._log_dirs = log_dirs
        self._nodes: dict[int, NodeProcess] = {}
        self._stack = contextlib.ExitStack()
        self._admin: Admin | None = None
        self._views: dict[int, Admin] = {}

    def __enter__(self) -> Self:
        try:
            reaper = self._stack.enter_context(Reaper())
            notices = self._temporary(reaper)
            self.directory = self._place(reaper)
            self._stack.callback(self._close_nodes)
            self._notices, self._reaper = notices, reaper
            for node_id in range(1, self._count + 1):
                self._nodes[node_id] = self._make_node(node_id)
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
        try:
            if kind is not None and not issubclass(kind, _QUIET) and kind.__name__ != "Skipped":  # pytest.skip's
                print(self.log_tails(), file=sys.stderr)
        finally:
            self._stack.close()

    def _make_node(self, node_id: int) -> NodeProcess:
        calls, framed = self._ports(node_id)
        return NodeProcess(node_id, self.directory, self._notices, calls, framed, self._reaper, self._log_dirs)

    @property
    def bootstrap(self) -> str:
        """All nodes' addresses for `Producer`, `Consumer` and `Admin`, also of those that are down."""
        return ",".join(str(node.calls) for node in self._nodes.values())

    @property
    def kafka_bootstrap(self) -> str:
        """All nodes' addresses for clients of Kafka; ours may use them too."""
        return ",".join(str(node.framed) for node in self._nodes.values())

    def address(self, node_id: int) -> str:
        """Where one node takes calls."""
        return str(self._node(node_id).calls)

    def listener(self, node_id: int) -> str:
        """Where one node speaks Kafka's protocol."""
        return str(self._node(node_id).framed)

    def pid(self, node_id: int) -> int:
        """The process of its present life, or of its last."""
        return self._node(node_id).pid

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
        """The node that leads a partition; waits for one that is neither down nor paused."""

        def ask(view: Admin) -> int:
            return view.describe_topic(topic, timeout=CALL_S).partitions[partition].leader

        return self._wait(lambda: self._living_answer(ask), timeout, f"{topic}-{partition} has a leader")

    def quorum_leader(self, timeout: float = 30.0) -> int:
        """The node that leads the metadata quorum; waits as `leader` does."""

        def ask(view: Admin) -> int:
            return view.describe_quorum(timeout=CALL_S).leader_id

        return self._wait(lambda: self._living_answer(ask), timeout, "the quorum has a leader")

    def wait_in_sync(self, timeout: float = 60.0) -> None:
        """Wait until all nodes are in service and every replica of every partition is in sync, as each node sees it."""

        def look() -> bool | None:
            living = self._living()
            in_sync = len(living) == len(self._nodes) and self._all_up(living)
            return (in_sync and all(_is_in_sync(self._view_of(node_id)) for node_id in living)) or None

        self._wait(look, timeout, "every replica is in sync")

    def wait_until_up(self, timeout: float = START_S) -> None:
        """Wait until every node that runs and is not paused is in service, and all of them know."""

        def look() -> bool | None:
            self.check_alive()
            return self._all_up(self._living()) or None

        self._wait(look, timeout, "every node is in service")

    def check_alive(self) -> None:
        """Raise `ClusterError` where a node has ended although nobody told it to."""
        for node_id, code in self.failed.items():
            raise ClusterError(f"node {node_id} ended by itself, exit code {code}\n{self.log_tails()}")

    @property
    def failed(self) -> dict[int, int]:
        """The nodes that have ended although nobody told them to, with their exit codes."""
        codes = {node_id: node.exit_code for node_id, node in self._nodes.items() if node.has_failed}
        return {node_id: code for node_id, code in codes.items() if code is not None}

    def log_dirs(self, node_id: int) -> tuple[str, ...]:
        """The node's log directories, the one that holds the metadata first."""
        return self._node(node_id).data_directories

    def log(self, node_id: int) -> str:
        """Everything that a node has printed."""
        return self._node(node_id).log()

    # --- hurting ------------------------------------------------------------------------------------------------------

    def kill(self, node_id: int) -> None:
        """kill -9."""
        self._node(node_id).kill()

    def pause(self, node_id: int) -> None:
        """SIGSTOP: the process lives, holds its connections, and says nothing."""
        self._node(node_id).signal(signal.SIGSTOP)

    def resume(self, node_id: int) -> None:
        """SIGCONT."""
        self._node(node_id).signal(signal.SIGCONT)

    def stop(self, node_id: int, timeout: float = 60.0) -> None:
        """SIGTERM, a controlled shutdown. Raises `ClusterError` where it does not end with exit code 0."""
        self._node(node_id).signal(signal.SIGTERM)
        self._wait_stopped(node_id, timeout)

    def _wait_stopped(self, node_id: int, timeout: float) -> None:
        try:
            code = self._nodes[node_id].wait(max(timeout, 0.0))
        except subprocess.TimeoutExpired:
            raise ClusterError(f"node {node_id} did not stop within {timeout:.0f} s\n{self.log_tails()}") from None
        if code != 0:
            raise ClusterError(f"node {node_id} stopped with exit code {code}\n{self.log_tails()}")

    def start(self, node_id: int, *, wait: bool = True, launcher: str | None = None) -> None:
        """Start a node that is down, on its data; with `wait`, until it is in service."""
        self._launch(node_id, launcher)
        if wait:
            self.wait_until_up()

    def add_node(self, *, wait: bool = True) -> int:
        """Start one more node, an observer of the quorum; its id."""
        node_id = max(self._nodes) + 1
        self._nodes[node_id] = self._make_node(node_id)
        self.start(node_id, wait=wait)
        return node_id

    def wipe(self, node_id: int) -> None:
        """Remove the data of a node that is down, on all its disks: it comes back with new ones."""
        node = self._node(node_id)
        if node.running:
            raise RuntimeError(f"node {node_id} is running")
        for directory in node.data_directories:
            shutil.rmtree(directory)

    def wait_ended(self, node_id: int, timeout: float = START_S) -> int:
        """Wait until a node's process ends by itself; its exit code. Raises `ClusterError` where it does not."""
        try:
            return self._node(node_id).wait(timeout)
        except subprocess.TimeoutExpired:
            raise ClusterError(f"node {node_id} did not end within {timeout:.0f} s\n{self.log_tails()}") from None

    def stop_all(self, timeout: float = 60.0) -> None:
        """SIGTERM to every node that runs, at once, and wait for all. Raises `ClusterError` as `stop` does."""
        running = self.running
        for node_id in running:
            self._nodes[node_id].signal(signal.SIGTERM)
        deadline = time.monotonic() + timeout
        for node_id in running:
            self._wait_stopped(node_id, deadline - time.monotonic())

    def _place(self, reaper: Reaper) -> str:
        if self._directory is not None:
            os.makedirs(self._directory, exist_ok=True)
            return os.path.abspath(self._directory)
        return self._temporary(reaper)

    @staticmethod
    def _temporary(reaper: Reaper) -> str:
        temporary = tempfile.mkdtemp(prefix="kraftpy-")
        reaper.remove_at_the_end(temporary)
        return temporary

    def _ports(self, node_id: int) -> tuple[ReservedPort, ReservedPort]:
        if self._first_port is None:
            return self._stack.enter_context(ReservedPort()), self._stack.enter_context(ReservedPort())
        number = self._first_port + 100 * (node_id - 1)
        return self._reserved(number), self._reserved(number - 1)

    def _reserved(self, number: int) -> ReservedPort:
        try:
            return self._stack.enter_context(ReservedPort(number))
        except OSError as error:
            raise PortInUseError(f"port {number} of 127.0.0.1 cannot be had: {error.strerror}") from None

    def _node(self, node_id: int) -> NodeProcess:
        if node_id not in self._nodes:
            known = ", ".join(map(str, self._nodes))
            raise ValueError(f"there is no node {node_id}; the nodes of this cluster are {known}")
        return self._nodes[node_id]

    def _lives(self, node_id: int) -> bool:
        node = self._nodes.get(node_id)
        return node is not None and node.running and not node.paused

    def _launch(self, node_id: int, launcher: str | None = None) -> None:
        peers = peers_of(list(self._nodes.values())[: self._voters])
        self._node(node_id).start(peers, self._settings, launcher or self._launcher)

    def _close_nodes(self) -> None:
        for node in self._nodes.values():
            node.close()

    def _living_answer(self, ask: Callable[[Admin], int]) -> int | None:
        """The first node's answer that names a living node. Nobody waits for those that are down or paused."""
        for node_id in self._living():
            found = ask(self._view_of(node_id))
            if self._lives(found):
                return found
        return None

    def _living(self) -> list[int]:
        return [node_id for node_id in self._nodes if self._lives(node_id)]

    def _all_up(self, living: list[int]) -> bool:
        """Whether these nodes are in service: each says so of its present life, and of the others."""
        return all(self._nodes[node_id].ready for node_id in living) and all(
            set(living)
            <= {
                broker.node_id
                for broker in self._view_of(node_id).describe_cluster(timeout=CALL_S).brokers
                if not broker.fenced
            }
            for node_id in living
        )

    def _view_of(self, node_id: int) -> Admin:
        """An admin that asks this node only: what one node knows, another may not have heard of yet."""
        if node_id not in self._views:
            self._views[node_id] = self._stack.enter_context(Admin(str(self._nodes[node_id].calls)))
        return self._views[node_id]

    def _wait(self, look: Callable[[], T | None], timeout: float, what: str) -> T:
        """Look until something is there; errors of the cluster are what may pass."""
        deadline = time.monotonic() + timeout
        last: KraftpyError | None = None
        while True:
            try:
                found = look()
            except KraftpyError as error:
                if not error.retriable:
                    raise
                found, last = None, error
            if found is not None:
                return found
            if time.monotonic() > deadline:
                reason = f" (last: {last.name}: {last})" if last else ""
                raise ClusterError(f"waited {timeout:g} s until {what}{reason}\n{self.log_tails()}")
            time.sleep(LOOK_S)

    def log_tails(self) -> str:
        """The end of every node's log, with the node's state."""
        return "\n".join(
            f"--- node {node_id} ({self._state(node)}) ---\n{node.log_tail()}" for node_id, node in self._nodes.items()
        )

    @staticmethod
    def _state(node: NodeProcess) -> str:
        if node.running:
            return "paused" if node.paused else f"running, pid {node.pid}"
        return "not started" if node.exit_code is None else f"exit code {node.exit_code}"


def _is_in_sync(view: Admin) -> bool:
    return all(
        partition.leader >= 0 and not partition.is_under_replicated
        for topic in view.describe_topics(timeout=CALL_S)
        for partition in topic.partitions
    )


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
