"""How long a file is that is being appended to: room is reserved behind what it holds, and given back in the end.

To reserve or to give back waits for the file system: for the file's own pages that are being written, for the blocks
that tell what is free, for the journal. Of one device, 15 to 75 ms were seen where 0.1 ms is usual. So the loop says
ahead of need what it will want (`want`), and the next flush brings it about (`settle`), on a disk thread and before it
syncs the file. What comes too late for that is taken on the spot (`take`), as it always was.

Invariants:
- The file is at least `length_bytes` long, on blocks of its own.
- A file becomes shorter by `settle` only where the loop still wants it so: `keep` and `cut` see to that.
"""

import errno
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from kraftpy.runtime.ports import Disk, File

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Room:
    """That of one file. Used by the loop, except `settle`."""

    __slots__ = ("_disk", "_mutex", "_path", "_wanted_bytes", "length_bytes")

    def __init__(self, disk: Disk, path: str, length_bytes: int) -> None:
        self.length_bytes = length_bytes
        self._disk = disk
        self._path = path
        self._wanted_bytes: int | None = None  # the length that a flush is to bring about
        self._mutex: AbstractContextManager[object] = nullcontext()  # until a disk thread may come into it

    def want(self, length_bytes: int) -> bool:
        """Let a flush give the file this length; false where one is told so already."""
        if length_bytes == self._wanted_bytes:
            return False
        if isinstance(self._mutex, nullcontext):
            self._mutex = self._disk.mutex()
        self._wanted_bytes = length_bytes
        return True

    def settle(self) -> None:
        """On a disk thread. What is wanted and cannot be had is left: whoever needs it takes it, and is told why not.

        Raises `OSError` where it is not for want of room.
        """
        with self._mutex:
            wanted, self._wanted_bytes = self._wanted_bytes, None
            if wanted is None or wanted == self.length_bytes:
                return
            with self._opened() as file:
                if wanted < self.length_bytes:
                    file.truncate(wanted)
                elif not has_allocated(file, wanted):
                    return
            self.length_bytes = wanted

    def take(self, length_bytes: int) -> None:
        """Have so much at once. Raises `OSError`; then everything is as before."""
        with self._mutex:
            self._wanted_bytes = None
            if length_bytes > self.length_bytes:
                with self._opened() as file:
                    file.allocate(length_bytes)
                self.length_bytes = length_bytes

    def cut(self, length_bytes: int) -> None:
        """Shorten the file at once. Raises `OSError`."""
        with self._mutex:
            self._wanted_bytes = None
            with self._opened() as file:
                file.truncate(length_bytes)
            self.length_bytes = length_bytes

    def keep(self) -> None:
        """Let the file be as long as it is: it will be appended to again, or is about to lose its name."""
        with self._mutex:
            self._wanted_bytes = None

    @contextmanager
    def _opened(self) -> Iterator[File]:
        file = self._disk.open(self._path, create=True)
        try:
            yield file
        finally:
            file.close()


def has_allocated(file: File, length_bytes: int) -> bool:
    """Make the file so long, ahead of need; false where there is no room. Raises `OSError` for anything else."""
    try:
        file.allocate(length_bytes)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        return False
    return True
