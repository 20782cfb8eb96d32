"""Reading the small files that are read as a whole: one sector that cannot be read (EIO) damages all of such a file.

So its reader raises what it raises for any other damage, and whoever can do without a damaged file can do without this
one. An error that is not of one file (no descriptor, a disk that is gone) stays what it is.
"""

import errno

from kraftpy.runtime.ports import Disk
from log_store.checkpoints import CorruptCheckpointError


def read_small(disk: Disk, path: str, damaged: type[ValueError] = CorruptCheckpointError) -> bytes:
    """All of a file. Raises `damaged` where a sector of it cannot be read, `OSError`."""
    try:
        return disk.read_bytes(path)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise damaged(f"{path} cannot be read: {error}") from error
