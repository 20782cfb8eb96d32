"""Which logs this node has made, and in which of its directories each lies: a file in the first of them.

What is on the disks does not say what is missing there. A partition whose directory an operator removed, or whose disk
was replaced, looks like one that was never made; and a broker that makes it anew, empty, while the cluster counts its
replica as in sync, would lead with nothing. The inventory tells the two apart.

Invariants
- Nothing of a new log counts as flushed before the inventory that names it is durable (`LogDirectory.before_counting`).
- No entry is durable before its log is: else a crash in between would leave a log that was here and is gone, although
  it never held anything, and nobody may lead that.
- An entry may outlive its log (`forget` waits for the next write).
"""

import asyncio
from functools import partial
from uuid import UUID

from kraftpy.runtime.ports import Disk
from log_store import checkpoints, file_names
from log_store.checkpoints import CorruptCheckpointError
from log_store.fence import Fence
from log_store.small_files import read_small
from log_store.uncancelled import uncancelled

LogKey = tuple[UUID, int]
"""A topic's id and a partition."""


class Inventory:
    """Directory ids by log. Used on one event loop; make it by `load`."""

    def __init__(
        self, disk: Disk, path: str, fence: Fence, entries: dict[LogKey, UUID], *, is_complete: bool = True
    ) -> None:
        self.is_complete = is_complete
        """False: what is not listed may have been here all the same."""
        self._disk = disk
        self._path = path
        self._fence = fence
        self._entries = entries
        # As they are written: thousands of lines that hardly change, put together anew whenever a log is made.
        self._lines = {key: checkpoints.inventory_line(key, directory_id) for key, directory_id in entries.items()}
        self._changes = 0
        self._changes_written = 0
        self._writing = asyncio.Lock()

    @classmethod
    def load(cls, disk: Disk, directory: str, fence: Fence) -> "Inventory":
        """As it is in `directory`, the first of the node's; `fence` is that directory's.

        A file that is missing or damaged says nothing: every log found is listed anew. Raises `OSError`.
        """
        path = f"{directory}/{file_names.INVENTORY}"
        if disk.exists(path):
            try:
                return cls(disk, path, fence, checkpoints.decode_inventory(read_small(disk, path)))
            except CorruptCheckpointError:
                pass
        return cls(disk, path, fence, {}, is_complete=False)

    def where(self, key: LogKey) -> UUID | None:
        """The directory in which the log was made, or moved to; None: it never was here."""
        return self._entries.get(key)

    def listed(self) -> list[LogKey]:
        return list(self._entries)

    def note(self, key: LogKey, directory_id: UUID) -> None:
        """The log is in that directory, durably. Durable itself after `settle`."""
        if self._entries.get(key) != directory_id:
            self._entries[key] = directory_id
            self._lines[key] = checkpoints.inventory_line(key, directory_id)
            self._changes += 1

    def forget(self, key: LogKey) -> None:
        """The log is deleted."""
        if self._entries.pop(key, None) is not None:
            del self._lines[key]
            self._changes += 1

    @property
    def is_settled(self) -> bool:
        return self._changes_written == self._changes

    async def settle(self) -> None:
        """Make durable what was noted so far; many callers share one write. Raises `KafkaStorageError`."""
        wanted = self._changes
        while self._changes_written < wanted:
            async with self._writing:
                if self._changes_written < wanted:
                    await uncancelled(self._write())

    async def _write(self) -> None:
        changes = self._changes
        data = checkpoints.encode_inventory(self._lines.values())
        self._fence.check()
        try:
            await self._disk.run(partial(self._disk.write_atomically, self._path, data))
        except OSError as error:
            raise self._fence.raise_for(error, "writing which logs are where") from error
        self._changes_written = changes
