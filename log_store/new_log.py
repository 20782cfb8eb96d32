"""Making a log, or a directory for logs, so that it survives a power failure.

A new log is nothing but memory until its first record: thousands of partitions that nobody writes to cost no file, no
flush, and no look at the next start. That is safe because there is nothing to lose: a log that is not found, and that
no list says was ever here, is an empty one.

The name of a directory is an entry in its parent, and so on upwards: a file that was synced is lost with any of them.
"""

from dataclasses import dataclass
from uuid import UUID

from kraftpy.runtime.ports import Disk
from log_store import file_names
from log_store.checkpoints import encode_topic_id
from log_store.config import LogConfig
from log_store.leader_epochs import LeaderEpochs
from log_store.open_segments import OpenSegments
from log_store.opened_log import OpenedLog, Recovery
from log_store.producer_state import ProducerState
from log_store.segment import Segment
from log_store.snapshots import Snapshots
from log_store.unflushed import Unflushed


def make_directory(disk: Disk, path: str) -> None:
    """Make `path` with its parents, durably, from the outside in. Raises `OSError`.

    Each is synced before the next is made, and the outermost that is found is synced too: whoever made it may have died
    before. So whatever comes to exist below a directory lies in one that cannot vanish.
    """
    parent = parent_of(path)
    if disk.exists(path):
        try:
            disk.sync_directory(parent)
        except PermissionError:
            pass  # where we may not look, we did not make it
        return
    make_directory(disk, parent)
    disk.make_directory(path)
    disk.sync_directory(parent)


def parent_of(path: str) -> str:
    """The directory that holds the name of `path`; the root is its own."""
    start, slash, name = path.rstrip("/").rpartition("/")
    return start or slash or ("." if name else "/")


def new_log(
    disk: Disk, directory: str, config: LogConfig, *, start_offset: int, topic_id: UUID | None, wall_ms: int
) -> OpenedLog:
    """An empty log, of which the disk knows nothing yet; `Birth.make` tells it."""
    segment = Segment.new(disk, OpenSegments(1), config, directory, start_offset, created_ms=wall_ms)
    return OpenedLog(
        segments=[segment],
        epochs=LeaderEpochs(),
        producers=ProducerState(config.producer_ids_max),
        start_offset=start_offset,
        recovery=Recovery(clean=True),
        snapshots=Snapshots(disk, directory),
        unflushed=Unflushed(directory),
        birth=Birth(disk, directory, topic_id, segment),
    )


@dataclass(frozen=True, slots=True)
class Birth:
    """What a new log has to become on its disk."""

    disk: Disk
    directory: str
    topic_id: UUID | None
    first: Segment

    def make(self, unflushed: Unflushed) -> None:
        """Make its directory and files; the next flush makes them durable, with their names. Raises `OSError`.

        The topic's id is there first, so that a process that dies leaves a log which is known to whom it belongs; one
        whose machine dies may leave less, and then nothing of the log was durable, and nothing of it counted.
        """
        disk, parent = self.disk, parent_of(self.directory)
        if not disk.exists(parent):
            make_directory(disk, parent)
        disk.make_directory(self.directory)
        if self.topic_id is not None:
            path = f"{self.directory}/{file_names.PARTITION_METADATA}"
            metadata = disk.open(path, create=True)
            metadata.write([encode_topic_id(self.topic_id)], 0)
            metadata.close()
            unflushed.paths.append(path)
        self.first.make_file()
        unflushed.directories += [self.directory, parent]
        unflushed.names_durable = False
