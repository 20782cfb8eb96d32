"""The files of the segment that comes next, made ahead of need, so that beginning it is a matter of names.

    next.log.tmp   next.index.tmp   next.timeindex.tmp

A new segment needs three files with room in them: nine operations that may each wait for the file system. A flush makes
them while the last segment is filling up (`settle`, on a disk thread); beginning the segment renames them. Where they
are not there in time, the segment is made on the spot.

Nothing is ever written to a spare, and its names need not be durable: those that a segment takes become so with its
own. What a crash leaves is cleared away by the next start, as every temporary name is.

Invariant: the loop touches the files only while `_is_ready`, a disk thread only before.
"""

from collections.abc import Sequence

from kraftpy.runtime.ports import Disk
from log_store import file_names
from log_store.room import has_allocated
from log_store.segment_files import SegmentFiles

STEM = "next"


class Spare:
    """That of one log: wanted, then ready, then taken, then wanted again."""

    __slots__ = ("_disk", "_is_ready", "_lengths", "_paths")

    def __init__(self, disk: Disk, directory: str) -> None:
        self._disk = disk
        self._paths = [f"{directory}/{STEM}{suffix}{file_names.TEMPORARY}" for suffix in file_names.OF_SEGMENT[:3]]
        self._lengths: Sequence[int] = ()  # of the batches' file and its two indexes; none: not wanted
        self._is_ready = False

    def want(self, lengths: Sequence[int]) -> bool:
        """Let a flush make the files, this long; false where they are there, or will be."""
        if self._lengths:
            return False
        self._lengths = tuple(lengths)
        return True

    def settle(self) -> None:
        """On a disk thread; without room for it there will be none. Raises `OSError` for anything else."""
        made = zip(self._paths, self._lengths, strict=True)
        if all(self._has_made(path, length_bytes) for path, length_bytes in made):
            self._is_ready = True
            return
        for path in self._paths:
            if self._disk.exists(path):
                self._disk.remove(path)

    def _has_made(self, path: str, length_bytes: int) -> bool:
        file = self._disk.open(path, create=True)
        try:
            file.truncate(0)
            return has_allocated(file, length_bytes)
        finally:
            file.close()

    def take(self, files: SegmentFiles) -> Sequence[int]:
        """Give the files these names; their lengths, or nothing where there are none yet. Raises `OSError`."""
        if not self._is_ready:
            return ()
        self._is_ready = False
        lengths, self._lengths = self._lengths, ()
        for path, name in zip(self._paths, files[:3], strict=True):
            self._disk.rename(path, name)
        return lengths

    def drop(self) -> None:
        """Remove them, if they are there: the log is closed. What is left is for the next start."""
        if not self._is_ready:
            return
        self._is_ready = False
        try:
            for path in self._paths:
                self._disk.remove(path)
        except OSError:
            pass
