"""Making a log, or a directory for logs, so that it survives a power failure.

The name of a directory is an entry in its parent, and so on upwards: a file that was synced is lost with any of them.
"""

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
    """An empty log. Its files and its name become durable with its first flush. Raises `OSError`."""
    parent = parent_of(directory)
    if not disk.exists(parent):
        make_directory(disk, parent)
    disk.make_directory(directory)
    segment = Segment.create(disk, OpenSegments(1), config, directory, start_offset, created_ms=wall_ms)
    unflushed = Unflushed(directory, directories=[directory, parent], names_durable=False)
    if topic_id is not None:
        unflushed.small_files.append((f"{directory}/{file_names.PARTITION_METADATA}", encode_topic_id(topic_id)))
    return OpenedLog(
        segments=[segment],
        epochs=LeaderEpochs(),
        producers=ProducerState(config.producer_ids_max),
        start_offset=start_offset,
        recovery=Recovery(clean=True),
        snapshots=Snapshots(disk, directory),
        unflushed=unflushed,
    )
