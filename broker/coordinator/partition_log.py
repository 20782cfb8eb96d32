"""A partition as the log of its coordinator, for the leader epoch in which the coordinator began."""

from collections.abc import Callable

from broker.replication.partition import ALL_IN_SYNC, Partition
from kraftpy.errors import CorruptRecordError, KafkaStorageError, KraftpyError, NotLeaderOrFollowerError
from kraftpy.runtime.ports import Disk
from log_store.fence import is_unreadable


class PartitionLog:
    """`broker.coordinator.shard.ShardLog`. After the epoch everything is NOT_LEADER_OR_FOLLOWER."""

    def __init__(self, partition: Partition, leader_epoch: int, disk: Disk) -> None:
        self._partition = partition
        self._leader_epoch = leader_epoch
        self._disk = disk

    @property
    def name(self) -> str:
        return self._partition.name

    @property
    def start_offset(self) -> int:
        return self._partition.log.start_offset

    @property
    def end_offset(self) -> int:
        return self._partition.log.end_offset

    async def read(self, offset: int, bytes_max: int) -> bytes:
        self._check_leading()
        try:
            return await self._read(offset, bytes_max)
        except (CorruptRecordError, KafkaStorageError) as error:
            if isinstance(error, CorruptRecordError) or is_unreadable(error):
                self.suspect(offset)
            raise

    def suspect(self, offset: int) -> None:
        self._partition.suspect(offset)

    async def _read(self, offset: int, bytes_max: int) -> bytes:
        log = self._partition.log
        prefetch = log.prefetch(offset, bytes_max)
        if prefetch is not None:
            self._partition.found_damage(prefetch, await self._disk.run(prefetch))
            self._check_leading()
            log = self._partition.log  # it may have moved to another directory meanwhile
        return log.read_bytes(offset, bytes_max, log.end_offset)

    def append(self, batch: bytearray, *, bumps_epoch: bool = False) -> int:
        self._check_leading()
        return self._partition.append(batch, ALL_IN_SYNC, coordinated=True, bumps_epoch=bumps_epoch).end_offset

    def call_committed(self, end_offset: int, call: Callable[[KraftpyError | None], None]) -> Callable[[], None]:
        parked = _Call(call)
        try:
            self._check_leading()
        except KraftpyError as error:
            parked.settle(0, error)
            return parked.forget
        if end_offset <= self._partition.high_watermark:
            parked.settle(0, None)
        else:
            self._partition.committed_waits.add(end_offset, parked, 0)
        return parked.forget

    def _check_leading(self) -> None:
        leadership = self._partition.leadership
        if leadership is None or leadership.leader_epoch != self._leader_epoch:
            raise NotLeaderOrFollowerError(f"this node no longer leads {self.name} in epoch {self._leader_epoch}")


class _Call:
    """`broker.replication.purgatory.Parked`: somebody who is called, once."""

    __slots__ = ("_call", "is_done")

    def __init__(self, call: Callable[[KraftpyError | None], None]) -> None:
        self._call = call
        self.is_done = False

    def settle(self, slot: int, error: KraftpyError | None) -> None:
        if not self.is_done:
            self.is_done = True
            self._call(error)

    def forget(self) -> None:
        """Nobody is to be called any more."""
        self.is_done = True
