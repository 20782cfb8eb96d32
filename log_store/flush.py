"""One flush of one log: what the loop hands to a disk thread, and gets back done.

The order is part of the promise. First batches and indexes, then the leader epochs, then names; last the producers'
snapshots, still under temporary names (whose leftovers were removed before): the loop renames them when it takes the
result, unless the log was cut in the meantime, so that a snapshot never claims more than is durable (see `snapshots`).
"""

from dataclasses import dataclass

from kraftpy.runtime.ports import Disk
from log_store import file_names
from log_store.unflushed import Unflushed


@dataclass(frozen=True, slots=True)
class Flush:
    """Everything that makes a log durable up to `end_offset`. `run` blocks; the rest is the log's business."""

    disk: Disk
    end_offset: int  # exclusive; of the log when the flush began
    generation: int  # of the log's truncations when the flush began
    epoch_changes: int
    work: Unflushed

    def run(self) -> None:
        """Do it, on a disk thread. Raises `OSError`, after which nothing may count on anything of it."""
        disk, work = self.disk, self.work
        for file in work.files:
            file.sync()
        for path, content in work.small_files:
            disk.write_atomically(path, content)
        for directory in work.directories:
            disk.sync_directory(directory)
        for path in work.removals:
            if disk.exists(path):
                disk.remove(path)
        for snapshot in work.snapshots:
            file = disk.open(snapshot.path + file_names.TEMPORARY, create=True)
            file.truncate(0)
            file.write([snapshot.data], 0)
            file.sync()
            file.close()
