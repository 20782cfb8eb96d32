"""Disks that can be full, and disks that lose power.

Each is a file system of limited size, mounted at a path of its own inside an enclosure. `Ext4Disk` is an image behind a
loop device; its power failure is ext4's own shutdown (`EXT4_IOC_SHUTDOWN`, linux/fs/ext4/ioctl.c): from that moment
nothing more reaches the image, and what was only in memory is gone when it is mounted again and its journal replayed.
"""

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from tests.chaos.enclosure import Unavailable, call, need

EXT4_IOC_SHUTDOWN = 0x8004587D
WRITE_BYTES = 1 << 20
BALLAST = ".ballast"
_ON_DISK, _IN_MEMORY = ".control-on-disk", ".control-in-memory"
_CONTROL = b"control" * 1_000


class Journal(Enum):
    """What becomes of the journal's open transaction when the power fails: both happen to machines."""

    LOST = 2
    WRITTEN = 1


class Disk:
    """A mounted file system of `size_bytes` at `path`."""

    def __init__(self, path: str, size_bytes: int) -> None:
        self.path = path
        self.size_bytes = size_bytes
        os.makedirs(path)

    def fill(self) -> int:
        """Leave no room, by a file that takes all of it: its bytes. May be repeated, where something was freed."""
        descriptor = os.open(os.path.join(self.path, BALLAST), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        try:
            for size in (WRITE_BYTES, 4_096, 1):
                with contextlib.suppress(_Full):
                    while True:
                        _write(descriptor, size)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def free(self) -> None:
        """Remove that file."""
        os.unlink(os.path.join(self.path, BALLAST))

    @property
    def is_full(self) -> bool:
        """Whether a file that is not there yet cannot have one byte."""
        probe = os.path.join(self.path, ".probe")
        try:
            Path(probe).write_bytes(b"x" * 4_096)
        except OSError as error:
            return error.errno == errno.ENOSPC
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(probe)
        return False

    def close(self) -> None:
        call("umount", self.path)


class MemoryDisk(Disk):
    """A tmpfs."""

    def __init__(self, path: str, size_bytes: int) -> None:
        super().__init__(path, size_bytes)
        call("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "kraftpy", path)


class Ext4Disk(Disk):
    """An image file beside `path`, ext4, on a loop device that goes when it is unmounted."""

    def __init__(self, path: str, size_bytes: int) -> None:
        super().__init__(path, size_bytes)
        need("mkfs.ext4")
        self._image = f"{path}.ext4"
        with open(self._image, "wb") as image:
            image.truncate(size_bytes)
        call("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1", self._image)
        self._mount()

    def cut_power(self, journal: Journal) -> None:
        """Nothing more reaches the disk. Whoever uses it gets errors until `restore`."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", journal.value))
        except OSError as error:
            raise Unavailable(f"ext4 cannot be shut down here: {error.strerror}") from None
        finally:
            os.close(descriptor)

    def restore(self) -> None:
        """Mount it again. Nobody may have a file open on it."""
        call("umount", self.path)
        self._mount()

    def note_control(self) -> None:
        """Write one file that is flushed and one that is not, to be looked for after the power failure."""
        _write_control(os.path.join(self.path, _ON_DISK), os.fsync)
        directory = os.open(self.path, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        _write_control(os.path.join(self.path, _IN_MEMORY), lambda _: None)

    def check_control(self) -> None:
        """Raise `AssertionError` unless what was flushed is there and what was not is gone."""
        kept, lost = Path(self.path, _ON_DISK), Path(self.path, _IN_MEMORY)
        assert kept.read_bytes() == _CONTROL, "what was flushed is gone: that was more than a power failure"
        assert not lost.exists() or not lost.read_bytes(), "what was not flushed is there: the power did not fail"
        kept.unlink()
        lost.unlink(missing_ok=True)

    def _mount(self) -> None:
        call("mount", "-t", "ext4", "-o", "loop", self._image, self.path)


class _Full(Exception):
    """There is no room for so many bytes."""


def _write(descriptor: int, size: int) -> None:
    try:
        os.write(descriptor, bytes(size))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _Full from None


def _write_control(path: str, flush: Callable[[int], None]) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.write(descriptor, _CONTROL)
    flush(descriptor)
    os.close(descriptor)
