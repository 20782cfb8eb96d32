"""The disk port over a simulated device: one life's view of its medium.

Direct calls take no virtual time; `run` takes some, half before and half after the work, so that the loop goes on and
other work can come in between. A port of a dead life raises `NodeCrashed` from everything. Errors are those of the real
file system: `OSError` with an errno.
"""

import asyncio
import errno
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from kraftpy.runtime.ports import Buffer, File
from simulation.device import Device, Directory, DiskFault, EntryChange, Inode, Mapping, Node
from simulation.loop import Loop, NodeCrashed

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DiskConfig:
    """How the simulated disk behaves when nothing is broken."""

    run_us_min: int = 50  # one piece of work by `run`, microseconds
    run_us_max: int = 2_000
    spike_rate: float = 0.01  # share of the work that takes ten times the maximum
    cold_rate: float = 0.0  # share of `is_cached` questions that are answered no


class SimulatedDisk:
    """The `Disk` port of one life of a node."""

    def __init__(self, device: Device, config: DiskConfig | None = None, random: Random | None = None) -> None:
        self.device = device
        self.config = config or DiskConfig()
        self._random = random or Random(f"{device.random.random()}/disk")
        self._alive = True

    def kill(self) -> None:
        """The process is gone: nothing that it still holds works any more."""
        self._alive = False

    def check_alive(self) -> None:
        if not self._alive:
            raise NodeCrashed("the disk of a dead node")

    # --- the port ----------------------------------------------------------------------------------------------------

    def open(self, path: str, *, create: bool = False) -> "SimulatedFile":
        self.check_alive()
        parent, name = self._parent(path)
        node = parent.entries.get(name)
        if isinstance(node, Directory):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        if node is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
            self._change()
            node = self.device.new_inode()
            self.device.change_entries(EntryChange(parent, name, node))
        return SimulatedFile(self, node, path)

    def exists(self, path: str) -> bool:
        self.check_alive()
        return self.device.node(path) is not None

    def list(self, path: str) -> list[str]:
        return sorted(self._directory(path).entries)

    def size(self, path: str) -> int:
        return self._file(path).size

    def make_directory(self, path: str) -> None:
        self.check_alive()
        directory = self.device.root
        for name in _names(path):
            node = directory.entries.get(name)
            if node is None:
                self._change()
                node = Directory()
                self.device.change_entries(EntryChange(directory, name, node))
            if not isinstance(node, Directory):
                raise FileExistsError(errno.EEXIST, "File exists", path)
            directory = node

    def remove(self, path: str) -> None:
        inode = self._file(path)
        parent, name = self._parent(path)
        self._change()
        self.device.release(inode, 0)
        self.device.change_entries(EntryChange(parent, name, None))

    def remove_tree(self, path: str) -> None:
        directory = self._directory(path)
        for name in sorted(directory.entries):
            child = f"{path.rstrip('/')}/{name}"
            if isinstance(directory.entries[name], Directory):
                self.remove_tree(child)
            else:
                self.remove(child)
        parent, name = self._parent(path)
        self._change()
        self.device.change_entries(EntryChange(parent, name, None))

    def rename(self, old: str, new: str) -> None:
        self.check_alive()
        node = self._node(old)
        old_parent, old_name = self._parent(old)
        new_parent, new_name = self._parent(new)
        replaced = new_parent.entries.get(new_name)
        if isinstance(replaced, Directory) and (isinstance(node, Inode) or replaced.entries):
            raise OSError(errno.ENOTEMPTY, "Directory not empty", new)
        if isinstance(replaced, Inode) and isinstance(node, Directory):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", new)
        if replaced is node:
            return
        self._change()
        if isinstance(replaced, Inode):
            self.device.release(replaced, 0)
        self.device.change_entries(EntryChange(old_parent, old_name, None), EntryChange(new_parent, new_name, node))

    def sync_directory(self, path: str) -> None:
        directory = self._directory(path)
        if self.device.fires(DiskFault.SYNC_FAILURE, path):
            raise OSError(errno.EIO, "Input/output error", path)
        self.device.sync_directory(directory)

    def sync_file_system(self, path: str) -> bool:
        """Never: so that a simulation notices a file which nobody thought of."""
        self.check_alive()
        return False

    def read_bytes(self, path: str) -> bytes:
        inode = self._file(path)
        if _read_fails(self.device, inode, 0, inode.size, path):
            raise OSError(errno.EIO, "Input/output error", path)
        return inode.read(0, inode.size)

    def write_atomically(self, path: str, data: bytes) -> None:
        temporary = f"{path}.tmp"
        file = self.open(temporary, create=True)
        file.truncate(0)
        file.write([data], 0)
        file.sync()
        file.close()
        self.rename(temporary, path)
        self.sync_directory(path.rpartition("/")[0] or "/")

    def space(self, path: str) -> tuple[int, int]:
        self._directory(path)
        capacity = self.device.capacity_bytes
        total = 2**40 if capacity is None else capacity
        return total, max(total - self.device.used_bytes, 0)

    def lock(self, path: str) -> "SimulatedLock":
        self.open(path, create=True).close()
        if path in self.device.locks:
            raise BlockingIOError(errno.EWOULDBLOCK, "Resource temporarily unavailable", path)
        lock = SimulatedLock(self.device, path)
        self.device.locks[path] = lock
        return lock

    async def run(self, work: Callable[[], T]) -> T:
        """The work is done even if nobody waits for it any longer, as on a thread; not if the node died first."""
        self.check_alive()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        later_s, sooner_s = self._half_latency_s(), self._half_latency_s()
        if self.device.slowness > 1:
            assert isinstance(loop, Loop)
            ends_us = loop.now_us + round((sooner_s + later_s) * 1e6)
            self.device.slow_until_us = max(self.device.slow_until_us, ends_us)

        def start() -> None:
            try:
                result = work()
            except Exception as error:
                loop.call_later(later_s, _fail, done, error)
            else:
                loop.call_later(later_s, _finish, done, result)

        loop.call_later(sooner_s, start)
        return await done

    async def sync(self, files: Sequence[File]) -> None:
        def sync_each() -> None:
            for file in files:
                file.sync()

        await self.run(sync_each)

    def mutex(self) -> AbstractContextManager[object]:
        """Nothing: work is done in one go, between two steps of the loop."""
        return nullcontext()

    # --- paths -------------------------------------------------------------------------------------------------------

    def _half_latency_s(self) -> float:
        config = self.config
        took_us = self._random.uniform(config.run_us_min, config.run_us_max)
        if self._random.random() < config.spike_rate:
            took_us = config.run_us_max * 10
        return took_us * self.device.slowness / 2e6

    def is_cold(self) -> bool:
        return self.config.cold_rate > 0 and self._random.random() < self.config.cold_rate

    def _change(self) -> None:
        self.device.count_operation()

    def _node(self, path: str) -> Node:
        self.check_alive()
        node = self.device.node(path)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return node

    def _file(self, path: str) -> Inode:
        node = self._node(path)
        if isinstance(node, Directory):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        return node

    def _directory(self, path: str) -> Directory:
        node = self._node(path)
        if isinstance(node, Inode):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", path)
        return node

    def _parent(self, path: str) -> tuple[Directory, str]:
        names = _names(path)
        if not names:
            raise OSError(errno.EINVAL, "The root has no parent", path)
        return self._directory("/" + "/".join(names[:-1])), names[-1]


class SimulatedFile:
    """An open file. It stays usable after its name is removed, as on POSIX."""

    def __init__(self, disk: SimulatedDisk, inode: Inode, path: str) -> None:
        self._disk = disk
        self._device = disk.device
        self._inode = inode
        self._path = path
        self._open = True

    @property
    def path(self) -> str:
        return self._path

    def size(self) -> int:
        self._check()
        return self._inode.size

    def write(self, buffers: Sequence[Buffer], position: int) -> None:
        self._check()
        self._device.count_operation()
        data = buffers[0] if len(buffers) == 1 else b"".join(buffers)
        if not isinstance(data, bytes):
            data = bytes(data)
        if not data:
            return
        if self._device.fires(DiskFault.WRITE_ERROR, self._path):
            raise OSError(errno.EIO, "Input/output error", self._path)
        self._device.reserve(self._inode, position + len(data), self._path)
        self._inode.write(position, data)

    def read(self, length: int, position: int) -> bytes:
        self._check()
        if _read_fails(self._device, self._inode, position, length, self._path):
            raise OSError(errno.EIO, "Input/output error", self._path)
        return self._inode.read(position, length)

    def is_cached(self, length: int, position: int) -> bool:
        self._check()
        return not self._disk.is_cold()

    def allocate(self, length: int) -> None:
        self._check()
        self._device.count_operation()
        self._device.reserve(self._inode, length, self._path)
        if length > self._inode.size:
            self._inode.resize(length)

    def truncate(self, length: int) -> None:
        self._check()
        self._device.count_operation()
        if self._path.endswith(".log") and self._inode.holds_data(length):
            self._device.event("cut", self._path, length)
        self._inode.resize(length)
        self._device.release(self._inode, length)

    def sync(self) -> None:
        self._check()
        self._device.sync(self._inode, self._path)

    def map(self, length: int, *, writable: bool = False) -> "SimulatedMappedRange":
        self._check()
        if not 0 < length <= self._inode.size:
            raise ValueError(f"cannot map {length} of {self._inode.size} bytes")
        assert not self._inode.is_spoilt(0, length), f"SIGBUS: {self._path} has a sector that cannot be read"
        return SimulatedMappedRange(self, Mapping(self._inode, length, writable), writable)

    def fileno(self) -> int:
        raise OSError(errno.EBADF, "A simulated file has no descriptor", self._path)

    def close(self) -> None:
        self._open = False

    def sync_mapped(self) -> None:
        self._disk.check_alive()
        self._device.sync(self._inode, self._path)

    def _check(self) -> None:
        self._disk.check_alive()
        if not self._open:
            raise OSError(errno.EBADF, "Bad file descriptor", self._path)


class SimulatedMappedRange:
    """A mapping outlives the descriptor that it was made from, as on POSIX."""

    def __init__(self, file: SimulatedFile, mapping: Mapping, writable: bool) -> None:
        self._file = file
        self._mapping = mapping
        self._writable = writable
        self._view = self._new_view()

    @property
    def view(self) -> memoryview:
        return self._view

    def sync(self) -> None:
        if self._mapping.seen is not None:  # of a read-only mapping: succeeds and does nothing, as the real one
            self._file.sync_mapped()

    def close(self) -> None:
        self._view.release()
        try:
            self._mapping.buffer.append(0)  # refused while any slice of the view is alive, as `mmap.close` is
        except BufferError:
            self._view = self._new_view()
            raise
        self._mapping.buffer.pop()
        self._mapping.close()

    def _new_view(self) -> memoryview:
        view = memoryview(self._mapping.buffer)
        if self._writable:
            return view
        with view:
            return view.toreadonly()


class SimulatedLock:
    def __init__(self, device: Device, path: str) -> None:
        self._device = device
        self._path = path

    def release(self) -> None:
        if self._device.locks.get(self._path) is self:
            del self._device.locks[self._path]


def _names(path: str) -> list[str]:
    if not path.startswith("/"):
        raise ValueError(f"paths are absolute, not {path!r}")
    return [name for name in path.split("/") if name]


def _read_fails(device: Device, inode: Inode, position: int, length: int, path: str) -> bool:
    """Because it meets a sector that cannot be read, or was told to."""
    if inode.is_spoilt(position, length):
        device.note_fault(DiskFault.READ_ERROR, path)
        return True
    return device.fires(DiskFault.READ_ERROR, path)


def _finish(done: "asyncio.Future[T]", result: T) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: "asyncio.Future[T]", error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
