"""Logs of one directory that are deleted: gone by name at once, their files after a while, or with the next start."""

import asyncio
from functools import partial
from uuid import UUID

from kraftpy.runtime.ports import Disk
from log_store import file_names
from log_store.fence import Fence


class DoomedLogs:
    """Those of one log directory."""

    def __init__(self, disk: Disk, path: str, fence: Fence) -> None:
        self._disk = disk
        self._path = path
        self._fence = fence
        self._removals: dict[str, asyncio.Task[None]] = {}  # by the path

    def take(self, directory: str, name: str, topic_id: UUID | None, delay_ms: int) -> None:
        """Delete what stands in `directory`, of the log `name`. Raises `KafkaStorageError`."""
        self._fence.check()
        path, doomed = f"{self._path}/{directory}", self._name_for(name, topic_id)
        try:
            self._disk.rename(path, doomed)
        except OSError as error:
            raise self._fence.raise_for(error, f"deleting {path}") from error
        self._removals[doomed] = asyncio.get_running_loop().create_task(self._remove_later(doomed, delay_ms))

    def _name_for(self, name: str, topic_id: UUID | None) -> str:
        """A path of Kafka's form that is not taken: the topic's id, counted up where it was deleted before."""
        number = 0 if topic_id is None else topic_id.int
        while True:
            path = f"{self._path}/{file_names.doomed_name(name, number)}"
            if not self._disk.exists(path):
                return path
            number += 1

    async def _remove_later(self, path: str, delay_ms: int) -> None:
        try:
            await self._disk.run(partial(self._disk.sync_directory, self._path))
            await asyncio.sleep(delay_ms / 1000)
            await self._disk.run(partial(self._disk.remove_tree, path))
        except OSError as error:
            self._fence.raise_for(error, f"removing {path}")
        finally:
            del self._removals[path]

    def leave(self) -> None:
        """What is not removed yet is the next start's."""
        for removal in list(self._removals.values()):
            removal.cancel()
