"""How the log directories of this broker stand: what `DescribeLogDirs` tells (KIP-113, KIP-827)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from broker.replication.directory_moves import DirectoryMoves, Move
from broker.replication.hosting import Hosting
from broker.replication.partition import Partition
from log_store.log_directory import LogDirectory

UNKNOWN_BYTES = -1


@dataclass(frozen=True, slots=True)
class ReplicaInDirectory:
    """A replica, or a copy that will replace one."""

    topic: str
    partition: int
    size_bytes: int
    offset_lag: int  # behind the high watermark; of a copy: behind the log that it will replace
    is_future: bool = False


@dataclass(frozen=True, slots=True)
class DirectoryStatus:
    """`error` is empty while the directory is well; sizes are of its file system, -1 where they are not known."""

    path: str
    directory_id: UUID | None
    error: str
    total_bytes: int = UNKNOWN_BYTES
    usable_bytes: int = UNKNOWN_BYTES
    replicas: tuple[ReplicaInDirectory, ...] = ()


async def directory_statuses(
    hosting: Hosting, moves: DirectoryMoves, unusable: Mapping[str, str], topics: Collection[str]
) -> list[DirectoryStatus]:
    """Every directory that is configured, with the replicas of `topics` (none: of all)."""
    statuses = [await _status(hosting, moves, home, topics) for home in hosting.directories]
    return statuses + [DirectoryStatus(path, None, reason) for path, reason in unusable.items()]


async def _status(
    hosting: Hosting, moves: DirectoryMoves, home: LogDirectory, topics: Collection[str]
) -> DirectoryStatus:
    directory_id = hosting.directory_id(home)
    if home.failure is not None:
        return DirectoryStatus(home.path, directory_id, str(home.failure))
    try:
        total_bytes, usable_bytes = await home.disk.run(lambda: home.disk.space(home.path))
    except OSError:
        total_bytes = usable_bytes = UNKNOWN_BYTES
    held = [_replica(each) for each in hosting.partitions.values() if hosting.home_of(each) is home]
    held += [_future(each) for each in moves.under_way() if each.target is home]
    shown = [replica for replica in held if not topics or replica.topic in topics]
    shown.sort(key=lambda replica: (replica.topic, replica.partition, replica.is_future))
    return DirectoryStatus(home.path, directory_id, "", total_bytes, usable_bytes, tuple(shown))


def _replica(partition: Partition) -> ReplicaInDirectory:
    log = partition.log
    lag = max(partition.high_watermark - log.end_offset, 0)
    return ReplicaInDirectory(partition.topic, partition.key.partition, log.size_bytes, lag)


def _future(move: Move) -> ReplicaInDirectory:
    partition = move.partition
    size_bytes = 0 if move.copy is None else move.copy.size_bytes
    return ReplicaInDirectory(partition.topic, partition.key.partition, size_bytes, move.offset_lag, is_future=True)
