"""The disk of this machine: the real adapter of the `Disk` port.

Invariants:
- A write is complete or an `OSError`; a short one is continued, never returned.
- A reservation that fails leaves the file as long as it was: ext4 may have grown it before it reports a full disk, and
  whoever mapped the grown part would be killed by a signal instead of being told.
- A descriptor lives as long as anybody holds its `LocalFile`: dropping the last reference closes it, so a cache may
  forget a file which is still being sent to a reader. The last descriptor of a removed file frees its blocks, which
  takes the device 5 to 15 ms for 64 MiB where it is told of them (`discard`): that is left to a disk thread.

Linux is production. Elsewhere (macOS) what is missing falls back: `posix_fallocate` to writing zeros, `fdatasync` to
`F_FULLFSYNC` or `fsync`, `RWF_NOWAIT` to "everything is in memory", and syncs by the kernel itself to threads.
"""

import asyncio
import ctypes
import errno
import fcntl
import mmap
import os
import re
import shutil
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar

from kraftpy.runtime.kernel_syncs import KernelSyncs
from kraftpy.runtime.ports import Buffer, File

T = TypeVar("T")

THREADS = 4
"""Enough to keep a disk's queue busy; more would only fight for the interpreter lock."""

CACHE_PROBE_BYTES = 64 * 1024
"""`is_cached` looks at one byte in each stretch of this size, half of the kernel's usual read-ahead window."""

ZEROS_BYTES = 1024 * 1024
BUFFERS_MAX = 1024  # IOV_MAX on Linux and macOS

_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)

SYNCFS_RELEASE = (5, 8)
"""From this Linux on, syncfs(2) tells of writes that failed."""


def _find_syncfs() -> Callable[[int], int] | None:
    """The system call, where it can be relied on; the interpreter lock is released while it runs."""
    if sys.platform != "linux":
        return None
    release = tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])
    found: Callable[[int], int] | None = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    return found if release >= SYNCFS_RELEASE else None


_syncfs = _find_syncfs()
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS})


class LocalFile:
    """A file of the operating system, opened for reading and writing."""

    __slots__ = ("_descriptor", "_removed", "_tells_cached", "path")

    def __init__(self, path: str, *, create: bool = False, removed: deque[int] | None = None) -> None:
        """`removed` takes descriptors of removed files, for somebody else to close."""
        self._descriptor = -1  # first, so that a failed open has something for __del__
        self._removed = removed
        self._tells_cached = bool(_NOWAIT)
        self.path = path
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        self._descriptor = os.open(path, flags, 0o644)

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"LocalFile({self.path!r})"

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def write(self, buffers: Sequence[Buffer], position: int) -> None:
        length = sum(map(len, buffers))
        if len(buffers) <= BUFFERS_MAX and os.pwritev(self._descriptor, buffers, position) == length:
            return
        self._write_piecewise(buffers, position)

    def _write_piecewise(self, buffers: Sequence[Buffer], position: int) -> None:
        """The slow way, after a short write: again from the start, piece by piece, until done or told why not."""
        for buffer in buffers:
            rest = memoryview(buffer).cast("B")
            while rest:
                written = os.pwrite(self._descriptor, rest, position)
                if written == 0:
                    raise OSError(errno.EIO, "the file system wrote nothing and gave no reason", self.path)
                rest, position = rest[written:], position + written

    def read(self, length: int, position: int) -> bytes:
        data = os.pread(self._descriptor, length, position)
        if len(data) == length or not data:
            return data
        pieces = [data]
        got = len(data)
        while got < length:
            piece = os.pread(self._descriptor, length - got, position + got)
            if not piece:
                break
            pieces.append(piece)
            got += len(piece)
        return b"".join(pieces)

    def is_cached(self, length: int, position: int) -> bool:
        if not self._tells_cached:
            return True
        probe = [bytearray(1)]
        end = position + length
        try:
            for at in range(position, end, CACHE_PROBE_BYTES):
                os.preadv(self._descriptor, probe, at, _NOWAIT)
            if length > 1:
                os.preadv(self._descriptor, probe, end - 1, _NOWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            self._tells_cached = False  # tmpfs refuses the flag: there everything is in memory
        return True

    def allocate(self, length: int) -> None:
        size = self.size()
        if length <= size:
            return
        try:
            self._reserve(size, length - size)
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise

    def _reserve(self, position: int, length: int) -> None:
        if sys.platform != "darwin":
            try:
                os.posix_fallocate(self._descriptor, position, length)
                return
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
        zeros = bytes(min(length, ZEROS_BYTES))
        for at in range(position, position + length, ZEROS_BYTES):
            self._write_piecewise([memoryview(zeros)[: min(ZEROS_BYTES, position + length - at)]], at)

    def truncate(self, length: int) -> None:
        os.ftruncate(self._descriptor, length)

    def sync(self) -> None:
        _sync_data(self._descriptor)

    def map(self, length: int, *, writable: bool = False) -> "LocalMap":
        return LocalMap(self._descriptor, length, writable)

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        if self._removed is not None and os.fstat(descriptor).st_nlink == 0:
            self._removed.append(descriptor)  # atomic, and takes no lock: the collector may call this at any point
        else:
            os.close(descriptor)


class LocalMap:
    """A mapping; the kernel keeps the file open for it (one descriptor more), whatever becomes of the file object."""

    __slots__ = ("_map", "view")

    def __init__(self, descriptor: int, length: int, writable: bool) -> None:
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self._map = mmap.mmap(descriptor, length, access=access)
        self.view = memoryview(self._map)

    def sync(self) -> None:
        self._map.flush()

    def close(self) -> None:
        self.view.release()
        self._map.close()


class LocalLock:
    """An advisory lock on a file, released with the process if not before."""

    __slots__ = ("_descriptor",)

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            self._descriptor = -1
            if isinstance(error, BlockingIOError):
                raise BlockingIOError(error.errno, "another process holds this lock", path) from None
            raise

    def sync_file_system(self) -> bool:
        if self._descriptor < 0 or _syncfs is None:
            return False
        if _syncfs(self._descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return True

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class LocalDisk:
    """The file system of this machine, with a few threads for what blocks."""

    def __init__(self, *, threads: int = THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="kraftpy-disk")
        self._locks: dict[str, LocalLock] = {}  # by directory, which operators spell with or without a slash at its end
        self._removed: deque[int] = deque()  # descriptors of removed files, which the next work's thread closes
        self._kernel_syncs: KernelSyncs | None = None  # once asked for, where there are any
        self._has_kernel_syncs = True  # as far as is known

    def open(self, path: str, *, create: bool = False) -> LocalFile:
        return LocalFile(path, create=create, removed=self._removed)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def list(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def make_directory(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def remove_tree(self, path: str) -> None:
        shutil.rmtree(path)

    def rename(self, old: str, new: str) -> None:
        os.replace(old, new)

    def sync_directory(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync_file_system(self, path: str) -> bool:
        """By the descriptor of the directory's lock, which is older than whatever is to be durable: a write that fails
        is told to every descriptor that was open then, once."""
        lock = self._locks.get(os.path.normpath(path))
        return lock is not None and lock.sync_file_system()

    def read_bytes(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def write_atomically(self, path: str, data: bytes) -> None:
        temporary = path + ".tmp"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            _sync_all(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
        self.sync_directory(os.path.dirname(path))

    def space(self, path: str) -> tuple[int, int]:
        found = os.statvfs(path)
        return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize

    def lock(self, path: str) -> LocalLock:
        lock = self._locks[os.path.normpath(os.path.dirname(path))] = LocalLock(path)
        return lock

    async def run(self, work: Callable[[], T]) -> T:
        if self._removed:
            self._threads.submit(self._close_removed)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def sync(self, files: Sequence[File]) -> None:
        taken = 0
        if self._has_kernel_syncs:
            try:
                taken, ended = self._syncs_of_this_loop().begin([file.fileno() for file in files])
            except OSError:
                self._has_kernel_syncs = False
            else:
                number = await ended if taken else 0
                if number:
                    raise OSError(number, os.strerror(number))
        if taken < len(files):
            await self.run(lambda: _sync_each(files[taken:]))

    def _syncs_of_this_loop(self) -> KernelSyncs:
        """Raises `OSError` where there are none."""
        loop, syncs = asyncio.get_running_loop(), self._kernel_syncs
        if syncs is None or syncs.loop is not loop:
            if syncs is not None:
                syncs.close()
            syncs = self._kernel_syncs = KernelSyncs(loop)
        return syncs

    def _close_removed(self) -> None:
        while self._removed:
            try:
                descriptor = self._removed.popleft()
            except IndexError:
                return  # another thread was faster
            os.close(descriptor)

    def mutex(self) -> AbstractContextManager[object]:
        return threading.Lock()

    def close(self) -> None:
        """Wait for the work under way and end the threads."""
        self._threads.shutdown(wait=True)
        if self._kernel_syncs is not None:
            self._kernel_syncs.close()
            self._kernel_syncs = None
        self._close_removed()


def _sync_each(files: Sequence[File]) -> None:
    for file in files:
        file.sync()


def _sync_data(descriptor: int) -> None:
    if sys.platform == "darwin":
        _sync_all(descriptor)
    else:
        os.fdatasync(descriptor)


def _sync_all(descriptor: int) -> None:
    """fsync, and on macOS down to the platter: there a plain fsync stops at the drive's cache."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        try:
            fcntl.fcntl(descriptor, full)
            return
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
    os.fsync(descriptor)
