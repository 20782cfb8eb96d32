"""Faults of disks: no room, flushes that fail, power that goes. See `faults` for what a fault is."""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.cluster import ChaosCluster
from tests.chaos.disks import Journal
from tests.chaos.enclosure import Unavailable

FLUSHES = "fsync,fdatasync,sync_file_range,syncfs,msync"
DISK_FAILED = 1  # the exit code of a node whose first directory fails


@dataclass(slots=True)
class PowerFailure:
    """These machines lose power at the same instant: their disks keep what was flushed, their processes are gone."""

    node_ids: Sequence[int]
    journal: Journal
    lost_bytes: int = field(default=0, init=False)
    """Of logs: shown by the files before, and not on the disks after it."""

    @property
    def survivors_go_on(self) -> bool:
        return len(self.node_ids) == 1

    def __str__(self) -> str:
        nodes = ", ".join(map(str, self.node_ids))
        return f"power failure of node {nodes} (journal {self.journal.name.lower()})"

    def inject(self, cluster: ChaosCluster) -> None:
        self.lost_bytes = cluster.cut_power(self.node_ids, self.journal)  # checks its control files by itself

    def heal(self, cluster: ChaosCluster) -> None:
        for node_id in self.node_ids:
            cluster.start(node_id, wait=False)


@dataclass(slots=True)
class FullDisk:
    """One directory of a node has no room any more; once that has been noticed, there is room again.

    A node whose first directory it is ends; with another one it lives on without it, and is restarted.
    """

    node_id: int
    directory: int
    survivors_go_on: bool = True

    def __str__(self) -> str:
        return f"disk {self.directory + 1} of node {self.node_id} is full"

    def inject(self, cluster: ChaosCluster) -> None:
        disk = cluster.disks(self.node_id)[self.directory]
        disk.fill()
        assert disk.is_full, f"{self}: there is room"

    def heal(self, cluster: ChaosCluster) -> None:
        if self.directory == 0:
            code = cluster.wait_ended(self.node_id, 90.0)
            assert code == DISK_FAILED, f"{self}: node {self.node_id} ended with exit code {code}"
        else:
            cluster.wait_directory_failed(self.node_id, self.directory)
            cluster.stop(self.node_id)
        cluster.disks(self.node_id)[self.directory].free()
        cluster.start(self.node_id, wait=False)


@dataclass(slots=True)
class FailingFlushes:
    """Every flush of a node answers EIO (strace's injection), until it has ended, as it must."""

    node_id: int
    survivors_go_on: bool = True
    _strace: "subprocess.Popen[str] | None" = field(default=None, init=False)
    _trace: Path = field(default=Path(), init=False)

    def __str__(self) -> str:
        return f"flushes of node {self.node_id} fail"

    def inject(self, cluster: ChaosCluster) -> None:
        self._trace = Path(tempfile.mkdtemp(dir=cluster.directory)) / "trace"
        self._strace = fail_flushes(cluster.pid(self.node_id), self._trace)

    def heal(self, cluster: ChaosCluster) -> None:
        assert self._strace is not None
        code = cluster.wait_ended(self.node_id)
        self._strace.communicate()  # it ends with the node
        assert "EIO (Input/output error) (INJECTED)" in self._trace.read_text(), f"{self}: none was asked for"
        assert code == DISK_FAILED, f"{self}: node {self.node_id} ended with exit code {code}"
        cluster.start(self.node_id, wait=False)


def fail_flushes(pid: int, trace: Path) -> "subprocess.Popen[str]":
    """Let every flush of a process fail with EIO from now on; the strace that does it. Raises `Unavailable`.

    The kernel's own syncs, whose results could not be changed, are not to be had meanwhile.
    """
    inject = ["-e", f"trace={FLUSHES},io_submit", "-e", f"inject={FLUSHES}:error=EIO"]
    inject += ["-e", "inject=io_submit:error=EAGAIN"]
    command = ["strace", "-f", "-o", str(trace), *inject, "-p", str(pid)]
    strace = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert strace.stderr is not None
    said = strace.stderr.readline()
    if "attached" not in said:
        strace.kill()
        raise Unavailable(f"strace: {said.strip()}{strace.communicate()[1].strip()}")
    return strace
