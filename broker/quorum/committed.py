"""How far the quorum's log was committed and durable here, in a file beside it: `committed-offset-checkpoint`.

A log that ends in bytes which fail their checksum looks the same after a torn write, which nobody counted on, and after
rot of what was committed. With what this file says recovery tells them apart, and refuses the second: a replica that
forgot what it had confirmed could elect a leader without it, and where it is the only one, topics would be gone.

Written some seconds after the offset moved, so a quorum at rest writes nothing; what was committed since then is not
covered. The format is that of Kafka's `replication-offset-checkpoint`.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from kraftpy.runtime.ports import Disk
from log_store.checkpoints import CorruptCheckpointError, decode_offsets, encode_offsets
from log_store.file_names import QUORUM_LOG

logger = logging.getLogger(__name__)

NAME = "committed-offset-checkpoint"
DELAY_S = 5.0


class CommittedOffset:
    """That of the log in `directory`, which exists."""

    def __init__(self, disk: Disk, directory: str, durable: Callable[[], int]) -> None:
        """`durable` tells how far the log is: a replica may know sooner that others have committed."""
        self._disk = disk
        self._path = f"{directory}/{NAME}"
        self._durable = durable
        self._offset = 0
        self._writing: asyncio.Task[None] | None = None

    def note(self, offset: int) -> None:
        """Everything below is committed; to be written soon."""
        self._offset = max(self._offset, offset)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_later())

    async def _write_later(self) -> None:
        await asyncio.sleep(DELAY_S)
        noted = self._offset
        data = encode_offsets({QUORUM_LOG: min(noted, self._durable())})
        try:
            await self._disk.run(partial(self._disk.write_atomically, self._path, data))
        except OSError as error:  # where the disk has failed, the log's next flush ends the node
            logger.warning("%s could not be written: %s", self._path, error)
        self._writing = None  # not before: on a slow disk a second one would write over the first
        if self._offset > noted:
            self.note(self._offset)

    def close(self) -> None:
        if self._writing is not None:
            self._writing.cancel()


def load(disk: Disk, directory: str) -> int:
    """What was last written; 0 where nothing was, or the file is damaged. Blocks."""
    path = f"{directory}/{NAME}"
    if not disk.exists(path):
        return 0
    try:
        return decode_offsets(disk.read_bytes(path)).get(QUORUM_LOG, 0)
    except (CorruptCheckpointError, OSError) as error:
        logger.warning("%s cannot be read, so it proves nothing: %s", path, error)
        return 0
