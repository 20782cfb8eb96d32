"""The log directories of one node, locked, and known to be its own.

`meta.properties` says of each whose it is (cluster, node, directory id), and it is written here: with an id of its own
before anything else happens in a new directory, with the cluster's id once the node has one. A directory of another
node or cluster is refused by name before anything in it is touched.

The first holds the quorum's log: where it cannot be used, the node cannot start. Any other that cannot be used is left
out, and told of (`unusable`): its replicas are offline, and the node serves the rest (KIP-112).
"""

import errno
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import Final
from uuid import UUID

from kraftpy.errors import ConfigurationError, InconsistentClusterIdError
from kraftpy.runtime.ports import Disk
from log_store.checkpoints import CorruptCheckpointError, MetaProperties
from log_store.file_names import META_PROPERTIES, QUORUM_LOG
from log_store.log_directory import RECOVERY_THREADS, LogDirectory
from log_store.open_segments import OPEN_SEGMENTS_MAX

logger = logging.getLogger(__name__)

LIFE: Final = ".kraftpy_life"
"""In every log directory: the run of the machine and the broker epoch of the life that began last."""
BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"
"""Another one after every start of the machine (Linux)."""
NOT_A_PLACE: Final = frozenset(
    (
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.EEXIST,
        errno.ENOENT,  # it could not be made: in /proc, for instance
        errno.ELOOP,
        errno.ENAMETOOLONG,
    )
)
"""Where data cannot lie, whatever is done about the disk; other errors are the disk's."""


class Directories:
    """See the module's docstring. Make them by `open`."""

    def __init__(
        self,
        disk: Disk,
        logs: Sequence[LogDirectory],
        properties: Sequence[MetaProperties],
        unusable: Mapping[str, str],
    ) -> None:
        self.all = tuple(logs)
        self.unusable = dict(unusable)
        """Directories that could not be opened, by path, with the reason."""
        self._disk = disk
        self._properties = list(properties)

    @classmethod
    async def open(
        cls,
        disk: Disk,
        paths: Sequence[str],
        node_id: int,
        random: Random,
        *,
        open_segments_max: int = OPEN_SEGMENTS_MAX,
        recovery_threads: int = RECOVERY_THREADS,
    ) -> "Directories":
        """Lock the directories, making those that are missing, and check whose they are.

        `open_segments_max`, `recovery_threads`: of each. Raises `ConfigurationError` or `InconsistentClusterIdError`
        with what to do, `OSError`.
        """
        opened: list[LogDirectory] = []
        unusable: dict[str, str] = {}
        make = partial(LogDirectory, disk, open_segments_max=open_segments_max, recovery_threads=recovery_threads)
        try:
            properties = []
            for path in paths:
                try:
                    home = _lock(make, path)
                except OSError as error:
                    if path == paths[0]:
                        raise _unusable(path, error) from error
                    unusable[path] = _reason(error)
                    continue
                opened.append(home)
                try:
                    properties.append(await disk.run(partial(_identify, disk, home, node_id, random)))
                except OSError as error:
                    if path == paths[0]:
                        raise
                    unusable[path] = _reason(error)
                    await opened.pop().close(clean=False)
            _check_quorum_log(disk, opened)
            cluster_ids = sorted({each.cluster_id for each in properties if each.cluster_id is not None})
            if len(cluster_ids) > 1:
                raise InconsistentClusterIdError(
                    f"the log directories {', '.join(paths)} belong to different clusters ({', '.join(cluster_ids)}): "
                    "name only those of one"
                )
        except BaseException:
            for home in opened:
                await home.close(clean=False)
            raise
        return cls(disk, opened, properties, unusable)

    @property
    def first(self) -> LogDirectory:
        """Where the quorum's log lies; its id is the node's as a replica of the quorum."""
        return self.all[0]

    @property
    def ids(self) -> tuple[UUID, ...]:
        """In the order of `all`."""
        return tuple(each.directory_id for each in self._properties)

    @property
    def cluster_id(self) -> str | None:
        """As remembered; None in directories that are new."""
        return next((each.cluster_id for each in self._properties if each.cluster_id is not None), None)

    async def previous_broker_epoch(self) -> int:
        """The broker epoch that was ended with nothing lost (KIP-966); -1: something may be. Once the logs are open.

        Nothing is lost by a clean stop; nor where only the process died, which the page cache outlives: the machine has
        not been started anew since then.
        """
        epochs = [home.previous_broker_epoch for home in self.all]
        for index, home in enumerate(self.all):
            if epochs[index] < 0:
                epochs[index] = await self._disk.run(partial(_interrupted_life, self._disk, home.path))
        return epochs[0] if epochs.count(epochs[0]) == len(epochs) else -1

    async def note_life(self, broker_epoch: int) -> None:
        """This life has begun. Where it cannot be noted, its end will count as unclean unless it is a clean stop."""
        boot_id = await self._disk.run(partial(_boot_id, self._disk))
        if not boot_id:
            return
        for home in self.all:
            try:
                note = f"{boot_id} {broker_epoch}\n".encode()
                await self._disk.run(partial(self._disk.write_atomically, f"{home.path}/{LIFE}", note))
            except OSError as error:
                logger.warning("%s: the note of this life could not be written: %s", home.path, error)

    async def remember(self, cluster_id: str) -> None:
        """Write the cluster's id into every directory, durably.

        Raises `OSError` for the first; another one that cannot be written to has failed.
        """
        for index, home in enumerate(self.all):
            if self._properties[index].cluster_id != cluster_id:
                self._properties[index] = replace(self._properties[index], cluster_id=cluster_id)
                try:
                    await self._disk.run(partial(home.write_properties, self._properties[index]))
                except OSError as error:
                    if home is self.first:
                        raise
                    home.fence.raise_for(error, "writing the cluster's id")

    async def close(self, *, clean: bool, broker_epoch: int) -> None:
        """Close every log and release the locks. `clean`: the next start need not recover.

        `broker_epoch`: that this life was registered with; -1: it never was, and so has acted by no metadata
        (`Replicas.apply`). Nothing was appended or cut, and what the life before ended cleanly still counts.
        """
        for home in self.all:
            await home.close(clean=clean, broker_epoch=home.previous_broker_epoch if broker_epoch < 0 else broker_epoch)


def _boot_id(disk: Disk) -> str:
    """Of this machine's present run; "" where none can be had."""
    try:
        return disk.read_bytes(BOOT_ID).decode().strip() if disk.exists(BOOT_ID) else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _interrupted_life(disk: Disk, path: str) -> int:
    """The broker epoch of a life that ended in this run of the machine; -1 where none is known."""
    try:
        noted = disk.read_bytes(f"{path}/{LIFE}").decode().split() if disk.exists(f"{path}/{LIFE}") else []
    except (OSError, UnicodeDecodeError):
        return -1
    is_of_this_run = len(noted) == 2 and noted[0] == _boot_id(disk) and noted[1].isdecimal()
    return int(noted[1]) if is_of_this_run else -1


def _lock(make: Callable[[str], LogDirectory], path: str) -> LogDirectory:
    try:
        return make(path)
    except BlockingIOError:
        raise ConfigurationError(
            f"the data directory {path} is in use by another process: stop that one first, or give this node a "
            "directory of its own (--data-dir)"
        ) from None


def _unusable(path: str, error: OSError) -> Exception:
    """What the node's start fails with, where the first directory cannot be used."""
    if error.errno in NOT_A_PLACE:
        return ConfigurationError(
            f"the data directory {path} cannot be used: {error.strerror}. Name another with --data-dir"
        )
    return error


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _check_quorum_log(disk: Disk, homes: Sequence[LogDirectory]) -> None:
    """The order of the directories matters: to start without the quorum's log would be to start as another node."""
    first, *others = homes
    for home in others:
        if disk.exists(f"{home.path}/{QUORUM_LOG}") and not disk.exists(f"{first.path}/{QUORUM_LOG}"):
            raise ConfigurationError(
                f"the quorum's log lies in {home.path}: name that directory first in log.dirs, before {first.path}"
            )


def _identify(disk: Disk, home: LogDirectory, node_id: int, random: Random) -> MetaProperties:
    path = f"{home.path}/{META_PROPERTIES}"
    try:
        properties = home.read_properties()
    except CorruptCheckpointError as error:
        raise ConfigurationError(f"{path} cannot be read ({error}): restore it, or use an empty directory") from error
    if properties is None:
        if disk.exists(f"{home.path}/{QUORUM_LOG}"):
            raise ConfigurationError(
                f"{home.path} holds a quorum log, but no meta.properties that says whose it is: restore the file, or "
                "give the node an empty directory"
            )
        properties = MetaProperties(UUID(int=random.getrandbits(128), version=4), None, node_id)
        home.write_properties(properties)
    elif properties.node_id is not None and properties.node_id != node_id:
        raise ConfigurationError(
            f"the data directory {home.path} belongs to node {properties.node_id}, and this is node {node_id}: name "
            f"this node's own with --data-dir, or start it as node {properties.node_id} (--id)"
        )
    return properties
