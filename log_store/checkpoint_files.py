"""The checkpoints of one log directory: offsets by the names of its logs, in Kafka's files.

A name is all that they say, and a topic that was deleted and made anew has the name of the former one. What a file says
of the former log must not be believed of the new one: an old start offset would empty it, and an old high watermark
would make it look like a log that has lost what was committed.

Invariants
- A former log is out of every file before anything counts of a new log of its name (`forget_former`).
- Files are written one after the other, also where whoever wanted one is cancelled, and what they are to say is asked
  when their turn has come: a log that was deleted meanwhile is not put down again.
- Each is written atomically and durably (KAFKA-16541). Nothing depends on one for safety: it may be missing.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from kraftpy.runtime.ports import Disk
from log_store import checkpoints, file_names
from log_store.checkpoints import CorruptCheckpointError
from log_store.fence import Fence
from log_store.small_files import read_small
from log_store.uncancelled import uncancelled

_KEPT_FOR_LONG = (file_names.SCRUB_TIMES, file_names.SCRUB_OFFSETS)
"""Mostly the same as a minute ago."""

Offsets = Mapping[str, int]
"""By log name."""
_NOTHING: Offsets = {}


class CheckpointFiles:
    """Used on one event loop, but for `load` and `write_now`."""

    def __init__(self, disk: Disk, directory: str, fence: Fence) -> None:
        self._disk = disk
        self._directory = directory
        self._fence = fence
        self._on_disk: dict[str, Offsets] = {}  # by file name
        self._coming: Mapping[str, Offsets] = {}  # likewise, of those that are being written now
        self._former: dict[str, None] = {}  # names of logs that are gone and may stand in a file
        self._turn = asyncio.Lock()

    def load(self, name: str) -> dict[str, int]:
        """What the file says; nothing, where it is missing or damaged. Blocks. Raises `OSError`."""
        path = self._path(name)
        offsets: dict[str, int] = {}
        try:
            if self._disk.exists(path):
                offsets = checkpoints.decode_offsets(read_small(self._disk, path))
        except CorruptCheckpointError:
            pass
        self._on_disk[name] = dict(offsets)
        return offsets

    def found(self, logs: Iterable[str]) -> None:
        """These are the logs that a start has found: whatever else the files name is gone."""
        here = set(logs)
        for offsets in self._on_disk.values():
            self._former.update((name, None) for name in offsets if name not in here)

    def deleted(self, log: str) -> None:
        """There is no log of that name any more."""
        self._former[log] = None

    async def write(self, contents: Callable[[], Mapping[str, Offsets]]) -> None:
        """Write files by their names, as `contents` says when it is their turn. Raises `KafkaStorageError`."""
        async with self._turn:
            self._coming = contents()
            try:
                for name, offsets in self._coming.items():
                    if name not in _KEPT_FOR_LONG or self._on_disk.get(name) != offsets:
                        await uncancelled(self._write(name, offsets))
            finally:
                self._coming = {}
            self._forget_unnamed()

    def may_exceed(self, name: str, log: str, offset: int) -> bool:
        """Whether the file says more than `offset` of the log, or will once it is written."""
        return any(files.get(name, _NOTHING).get(log, 0) > offset for files in (self._on_disk, self._coming))

    async def forget_former(self, logs: Iterable[str]) -> None:
        """Before anything counts of logs under these names: no file speaks of former ones. Raises
        `KafkaStorageError`."""
        former = [log for log in logs if log in self._former]
        if not former:
            return
        async with self._turn:
            for name, offsets in list(self._on_disk.items()):
                if any(log in offsets for log in former):
                    left = {log: offsets[log] for log in offsets if log not in self._former}
                    await uncancelled(self._write(name, left))
            for log in former:
                self._former.pop(log, None)
            self._forget_unnamed()

    async def wait_written(self) -> None:
        """Until none is being written, and of those that wait for their turn none that came before."""
        async with self._turn:
            pass

    def write_now(self, contents: Mapping[str, Offsets]) -> None:
        """Write files on a disk thread, while nobody uses the loop for it. Raises `OSError`."""
        for name, offsets in contents.items():
            self._disk.write_atomically(self._path(name), checkpoints.encode_offsets(offsets))
            self._on_disk[name] = offsets

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}"

    async def _write(self, name: str, offsets: Offsets) -> None:
        self._fence.check()
        data = checkpoints.encode_offsets(offsets)
        try:
            await self._disk.run(partial(self._disk.write_atomically, self._path(name), data))
        except OSError as error:
            raise self._fence.raise_for(error, f"writing {name}") from error
        self._on_disk[name] = offsets

    def _forget_unnamed(self) -> None:
        """Of the logs that are gone, keep those that some file names, so that they do not add up."""
        self._former = {log: None for log in self._former if any(log in each for each in self._on_disk.values())}
