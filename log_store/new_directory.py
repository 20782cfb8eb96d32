"""Making a directory so that it survives a power failure: its name is an entry in its parent, and so on upwards."""

from kraftpy.runtime.ports import Disk


def make_directory(disk: Disk, path: str) -> list[str]:
    """Make `path` with its parents; gives the directories to sync before it is durable, the innermost first.

    Empty where it existed. Raises `OSError`.
    """
    to_sync = []
    missing = path
    while missing and not disk.exists(missing):
        missing = missing.rpartition("/")[0]
        to_sync.append(missing or "/")
    disk.make_directory(path)
    return to_sync
