"""A cluster whose nodes each have a network and disks of their own.

A node is a machine here: its processes end with it, all its disks lose power at once, and it is cut off as a whole.
Inside an enclosure only.
"""

import contextlib
import os
import signal
from collections.abc import Sequence
from enum import Enum
from types import TracebackType
from typing import Self

from kraftpy.runtime.ports import Address
from kraftpy.testing import Cluster
from kraftpy.testing.node_process import NodeProcess
from simulation.checkers.replicas import written
from tests.chaos.disks import Disk, Ext4Disk, Journal, MemoryDisk
from tests.chaos.network import Network

CALLS_PORT, FRAMED_PORT = 9_093, 9_092
DISK_BYTES = 512 << 20
CONFIG: dict[str, str | int | bool] = {
    "min.insync.replicas": 2,
    "auto.create.topics.enable": False,
    "insecure.listeners.enable": True,  # nobody but us reaches these namespaces
    "log.segment.bytes": 2 << 20,  # so that segments roll, and a full disk is met soon
}


class DiskKind(Enum):
    """What the log directories lie on."""

    EXT4 = "ext4 on loop devices"
    MEMORY = "tmpfs"


class ChaosCluster(Cluster):
    """`with ChaosCluster(directory, nodes=3) as cluster:`, and then what `Cluster` can, and more.

    `disks_per_node` log directories for each node, every one a file system of `DISK_BYTES`. Raises `Unavailable`.
    """

    def __init__(
        self, directory: str, *, nodes: int = 3, disks_per_node: int = 1, disk_kind: DiskKind = DiskKind.EXT4
    ) -> None:
        super().__init__(nodes, config=CONFIG, directory=directory, log_dirs=disks_per_node)
        self.network = Network(nodes)
        self.disk_kind = disk_kind
        self._disks: dict[int, list[Disk]] = {}
        self._rooms = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.network)
            stack.callback(self._close_disks)
            super().__enter__()
            self._rooms = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._rooms:
            super().__exit__(kind, error, trace)

    def _make_node(self, node_id: int) -> NodeProcess:
        host = self.network.host(node_id)
        node = NodeProcess(
            node_id,
            self.directory,
            self._notices,
            Address(host, CALLS_PORT),
            Address(host, FRAMED_PORT),
            self._reaper,
            self._log_dirs,
            self.network.command(node_id),
        )
        make = Ext4Disk if self.disk_kind is DiskKind.EXT4 else MemoryDisk
        self._disks[node_id] = []
        for path in node.data_directories:
            self._disks[node_id].append(make(path, DISK_BYTES))
        return node

    def disks(self, node_id: int) -> list[Disk]:
        """In the order of its log directories."""
        return self._disks[node_id]

    def signal(self, node_id: int, number: signal.Signals) -> None:
        """Only send it."""
        self._nodes[node_id].signal(number)

    def wait_directory_failed(self, node_id: int, number: int, timeout: float = 90.0) -> None:
        """Wait until a node that lives on says that this one of its directories is no good, the first being 0."""
        path = self.log_dirs(node_id)[number]

        def look() -> bool | None:
            (found,) = (each for each in self.admin.describe_log_dirs([node_id]) if each.path == path)
            return bool(found.error) or None

        self._wait(look, timeout, f"node {node_id} gives up {path}")

    def cut_power(self, node_ids: Sequence[int], journal: Journal) -> int:
        """These machines lose power at the same instant. How many bytes of log their disks had not got.

        The processes are halted before the disks are cut and die after it, so that none of them sees an error.
        """
        for node_id in node_ids:
            for disk in self._ext4(node_id):
                disk.note_control()
        for node_id in node_ids:
            os.killpg(self.pid(node_id), signal.SIGSTOP)
        written_bytes = {node_id: self._log_bytes(node_id) for node_id in node_ids}
        for node_id in node_ids:
            for disk in self._ext4(node_id):
                disk.cut_power(journal)
        for node_id in node_ids:
            self._kill_machine(node_id)
        for node_id in node_ids:
            for disk in self._ext4(node_id):
                disk.restore()
                disk.check_control()
        return sum(
            max(size - self._log_bytes(node_id).get(path, 0), 0)
            for node_id, sizes in written_bytes.items()
            for path, size in sizes.items()
        )

    def _ext4(self, node_id: int) -> list[Ext4Disk]:
        return [disk for disk in self._disks[node_id] if isinstance(disk, Ext4Disk)]

    def _log_bytes(self, node_id: int) -> dict[str, int]:
        """By path: how many bytes of records a node's files show, in memory or on disk."""
        sizes = {}
        for directory in self.log_dirs(node_id):
            for folder, _, names in os.walk(directory):
                for name in names:
                    if name.endswith(".log"):
                        path = os.path.join(folder, name)
                        with open(path, "rb") as file:
                            sizes[path] = len(written(file.read()))
        return sizes

    def _kill_machine(self, node_id: int) -> None:
        """kill -9 of the node and of what it has started; all of it is gone afterwards."""
        group = self.pid(node_id)
        os.killpg(group, signal.SIGKILL)
        self.kill(node_id)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-group, 0)  # we are the enclosure's first process: its orphans are ours

    def _close_disks(self) -> None:
        for disks in self._disks.values():
            for disk in disks:
                disk.close()
