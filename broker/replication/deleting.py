"""Deleting records on a user's word (DeleteRecords, KIP-107): answered once no replica in service shows them any more.

The leader's log begins later at once, and its followers take that over with their next fetch. The answer waits for
them: for the low watermark, the lowest log start of all replicas whose brokers are in service. Otherwise the next
leader could show again what its predecessor, which died right after its answer, had deleted. A log start counts once
it is durable: else a restart would show again what was deleted.
"""

import asyncio
from collections.abc import Callable

from broker.replication.partition import NO_EPOCH, Partition
from broker.replication.purgatory import Deadlines
from kraftpy.errors import KraftpyError, PolicyViolationError, RequestTimedOutError
from kraftpy.runtime.ports import Clock


class Deleting:
    """All deletions that this broker serves."""

    def __init__(
        self,
        find: Callable[[str, int], Partition],
        clock: Clock,
        deadlines: Deadlines,
        watch: Callable[[Partition], None],
    ) -> None:
        """`watch`: a partition that is to be looked at when a broker comes or goes."""
        self._find = find
        self._clock = clock
        self._deadlines = deadlines
        self._watch = watch

    async def delete(self, topic: str, index: int, before_offset: int, timeout_ms: int) -> int:
        """Drop what is below `before_offset` (-1: the high watermark), and return the low watermark once it is there.

        Raises `PolicyViolationError` where the topic only compacts, `OffsetOutOfRangeError` above the high watermark,
        `RequestTimedOutError` where replicas do not follow in time (the leader's log begins later all the same), and as
        `Partition.lead_as` does, also while it waits.
        """
        partition = self._find(topic, index)
        partition.lead_as(NO_EPOCH)
        if not partition.log.config.deletes:
            # The newest record of a key would go, which compaction promises to keep. So does Kafka's Partition refuse.
            raise PolicyViolationError(
                f"{topic} only compacts, and keeps the newest record of each key: "
                "set its cleanup.policy to compact,delete first"
            )
        wanted = partition.delete_records(before_offset)
        if partition.low_watermark < wanted:
            await self._started(partition, wanted, timeout_ms)
        return partition.low_watermark

    async def _started(self, partition: Partition, wanted: int, timeout_ms: int) -> None:
        waiting = _Waiting()
        late = RequestTimedOutError(f"not all replicas of {partition.name} begin at {wanted} yet; the leader does")
        deadline = self._deadlines.add(self._clock.monotonic_ms() + timeout_ms, lambda: waiting.settle(0, late))
        partition.start_waits.add(wanted, waiting, 0)
        self._watch(partition)
        try:
            await waiting.future
        finally:
            deadline.cancel()


class _Waiting:
    """`purgatory.Parked`: one deletion in one partition."""

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_done(self) -> bool:
        return self.future.done()

    def settle(self, slot: int, error: KraftpyError | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)
