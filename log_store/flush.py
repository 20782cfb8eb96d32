"""One flush of one log: what the loop hands to a disk thread, and gets back done.

The order is part of the promise. First batches and indexes, then the leader epochs, then names; last the producers'
snapshots, still under temporary names: the loop renames them when it takes the result, unless the log was cut in the
meantime, so that a snapshot never claims more than is durable (see `recovery`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kraftpy.runtime.ports import Disk, File
from log_store import file_names


@dataclass(frozen=True, slots=True)
class SnapshotToWrite:
    """A snapshot of the producers as of `offset`, encoded."""

    offset: int
    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """Everything that makes a log durable up to `end_offset`. `run` blocks; the rest is the log's business."""

    disk: Disk
    end_offset: int  # exclusive; of the log when the flush began
    generation: int  # of the log's truncations when the flush began
    epoch_changes: int
    files: Sequence[File]
    small_files: Sequence[tuple[str, bytes]]  # paths and contents: the leader epochs, the topic's id
    directories: Sequence[str]  # where names changed, the inner one first
    snapshots: Sequence[SnapshotToWrite]
    removals: Sequence[str]

    def run(self) -> None:
        """Do it, on a disk thread. Raises `OSError`, after which nothing may count on anything of it."""
        for file in self.files:
            file.sync()
        for path, content in self.small_files:
            self.disk.write_atomically(path, content)
        for directory in self.directories:
            self.disk.sync_directory(directory)
        for snapshot in self.snapshots:
            file = self.disk.open(snapshot.path + file_names.TEMPORARY, create=True)
            file.truncate(0)
            file.write([snapshot.data], 0)
            file.sync()
            file.close()
        for path in self.removals:
            if self.disk.exists(path):
                self.disk.remove(path)
