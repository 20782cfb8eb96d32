"""The coordinators of one internal topic on this node: a shard for each partition that it leads.

Invariants
- Shards begin and end with leaderships, synchronously (`led`, `left`): one for each partition led here, in its present
  leader epoch.
- A key belongs to the partition in which Kafka's own tools would look: the absolute value of its hash in Java, modulo
  the number of partitions.
- A shard that failed is made anew from its log after `RESTART_PAUSE_MS`; as long as that cannot be read, after twice
  the pause each time, up to `RESTART_PAUSE_MAX_MS`, and who asks for everything is answered without it. Where only
  descriptors were lacking, it counts as still being read.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from broker.coordinator.core import NAME_BYTES_MAX, Core, RecordCodec, is_too_long
from broker.coordinator.shard import COMMIT_TIMEOUT_MS, Shard, ShardLog
from broker.metadata.internal_topics import CONSUMER_OFFSETS
from broker.replication.partition import Partition
from kraftpy.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    InvalidGroupIdError,
    InvalidRequestError,
    NotCoordinatorError,
)
from kraftpy.runtime.ports import Clock
from log_store.fence import lacked_descriptors

C = TypeVar("C")
R = TypeVar("R")

RESTART_PAUSE_MS = 1_000
RESTART_PAUSE_MAX_MS = 60_000


class Coordinators(Generic[C, R]):
    """See the module's docstring. What the doors ask."""

    def __init__(
        self,
        topic: str,
        partitions: Callable[[], int],
        make_core: Callable[[int, int], Core[C, R]],
        make_codec: Callable[[], RecordCodec[R]],
        log_of: Callable[[Partition, int], ShardLog],
        clock: Clock,
        perform: Callable[[Shard[C, R], Any], Awaitable[None]],
        commit_timeout_ms: int = COMMIT_TIMEOUT_MS,
        turn: asyncio.Lock | None = None,
    ) -> None:
        """`partitions()`: how many the topic has, 0 while it does not exist. `make_core(partition, leader_epoch)`: an
        empty one. `make_codec()`: that of its records. `log_of(partition, leader_epoch)`: its log under that
        leadership. `perform`, `commit_timeout_ms` and `turn`: see `Shard`."""
        self.topic = topic
        self._partitions = partitions
        self._make_core = make_core
        self._make_codec = make_codec
        self._log_of = log_of
        self._clock = clock
        self._perform = perform
        self._commit_timeout_ms = commit_timeout_ms
        self.turn = turn or asyncio.Lock()
        self._shards: dict[int, tuple[int, Shard[C, R]]] = {}  # by partition, with the leader epoch
        self._restarts: dict[int, asyncio.TimerHandle] = {}
        self._unreadable: dict[int, int] = {}  # whose logs could not be read when that was tried last: the pause after

    # --- leaderships (`broker.replication.assignments.LeadershipListener`) -------------------------------------------

    def led(self, partition: Partition) -> None:
        """This node leads `partition`, in its present epoch. Again for the same epoch: nothing happens."""
        index, leadership = partition.key.partition, partition.leadership
        if leadership is None:
            self.left(index)
        elif self._shards.get(index, (-1, None))[0] != leadership.leader_epoch:
            self.left(index)
            self._begin(partition, leadership.leader_epoch)

    def left(self, partition: int) -> None:
        """This node does not lead it."""
        timer = self._restarts.pop(partition, None)
        if timer is not None:
            timer.cancel()
        self._unreadable.pop(partition, None)
        _, shard = self._shards.pop(partition, (-1, None))
        if shard is not None:
            shard.close()

    def stop(self) -> None:
        """End all shards; whoever waits is told to look for the next coordinator."""
        for partition in list(self._shards):
            self.left(partition)

    def _begin(self, partition: Partition, leader_epoch: int) -> None:
        index = partition.key.partition
        log = self._log_of(partition, leader_epoch)
        core = self._make_core(index, leader_epoch)
        codec = self._make_codec()
        shard = Shard(core, codec, log, self._clock, self._perform, self._commit_timeout_ms, self.turn)
        shard.on_failed = lambda error: self._begin_later(
            partition, leader_epoch, is_readable=shard.has_loaded or lacked_descriptors(error)
        )
        self._shards[index] = (leader_epoch, shard)
        shard.start()

    def _begin_later(self, partition: Partition, leader_epoch: int, *, is_readable: bool) -> None:
        index, pause_ms = partition.key.partition, RESTART_PAUSE_MS
        if is_readable:
            self._unreadable.pop(index, None)
        else:
            if index in self._unreadable:
                pause_ms = min(2 * self._unreadable[index], RESTART_PAUSE_MAX_MS)
            self._unreadable[index] = pause_ms

        def begin() -> None:
            del self._restarts[index]
            self._begin(partition, leader_epoch)

        self._restarts[index] = asyncio.get_running_loop().call_later(pause_ms / 1_000, begin)

    # --- what the doors ask ------------------------------------------------------------------------------------------

    def partition_of(self, key: str) -> int:
        """Raises `CoordinatorNotAvailableError` while there is no such topic; as `partition_of`."""
        partitions = self._partitions()
        if not partitions:
            raise CoordinatorNotAvailableError(f"topic {self.topic} does not exist yet")
        return partition_of(self.topic, key, partitions)

    def shard(self, partition: int) -> Shard[C, R]:
        """Raises `NotCoordinatorError` for a partition that is not led here."""
        found = self._shards.get(partition)
        if found is None:
            raise NotCoordinatorError(f"this node does not lead {self.topic}-{partition}")
        return found[1]

    async def submit(self, key: str, command: C) -> Any:
        """Have the coordinator of `key` answer `command`. Raises `KraftpyError`."""
        return await self.shard(self.partition_of(key)).submit(command)

    async def listed(self, command: C) -> list[Any]:
        """What all of them answer to `command`, each with a list. One that ends before it answers is another node's
        to ask, as in Kafka. Raises `CoordinatorLoadInProgressError` while something of it is not known here."""
        found: list[Any] = []
        self._check_loaded()
        for shard in self.active():
            try:
                found += await shard.submit(command)
            except NotCoordinatorError:
                self._check_loaded()  # it may have begun anew here, in another epoch
        return found

    def _check_loaded(self) -> None:
        if self.is_loading:
            raise CoordinatorLoadInProgressError(f"coordinators of {self.topic} are still reading their logs")

    def active(self) -> list[Shard[C, R]]:
        """Those that have read their logs, in the order of their partitions: for what lists everything."""
        return [shard for _, (_, shard) in sorted(self._shards.items()) if shard.is_active]

    @property
    def is_loading(self) -> bool:
        """Whether any is still reading: then a list of everything would lack something. Those that tried in vain count
        as absent, or nothing could be listed for the sake of one damaged log."""
        return any(not shard.is_active and index not in self._unreadable for index, (_, shard) in self._shards.items())


def partition_of(topic: str, key: str, partitions: int) -> int:
    """Where in an internal topic `key` belongs. Raises `InvalidGroupIdError`, `InvalidRequestError`: it is too long."""
    if is_too_long(key):
        if topic == CONSUMER_OFFSETS:
            raise InvalidGroupIdError(f"the name of a group (group.id) has {NAME_BYTES_MAX} bytes at most")
        raise InvalidRequestError(f"a transactional id has {NAME_BYTES_MAX} bytes at most")
    return absolute_hash(key) % partitions


def absolute_hash(text: str) -> int:
    """The absolute value of Java's `String.hashCode`, 0 for the one number that has none, as Kafka's `Utils.abs`."""
    units = text.encode("utf-16-be", "surrogatepass")
    value = 0
    for position in range(0, len(units), 2):
        value = (31 * value + (units[position] << 8 | units[position + 1])) & 0xFFFFFFFF
    return 0 if value == 1 << 31 else min(value, (1 << 32) - value)
