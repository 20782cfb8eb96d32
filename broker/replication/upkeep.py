"""What is done now and then, however quiet it is: for in-sync sets, watermarks, retention, checkpoints, late flushes.

Invariant: after the process stood still nobody is judged before what arrived meanwhile was read.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from functools import partial
from typing import Any

from broker.metadata.state import PartitionKey
from broker.replication.config import ReplicationConfig
from broker.replication.hosting import Hosting
from broker.replication.partition import Partition
from broker.replication.repairs import Repairs
from kraftpy.errors import KafkaStorageError
from kraftpy.runtime.ports import Clock
from log_store.fence import is_unreadable

logger = logging.getLogger(__name__)

LATE_PAUSE_MS = 500
LOG_CHECKPOINT_INTERVAL_MS = 60_000
FLUSH_CHECK_INTERVAL_MS = 1_000
REPAIR_CHECK_INTERVAL_MS = 5_000
DESERTION_CHECK_INTERVAL_MS = 1_000
FETCHES_MISSED_MAX = 3
"""Of a follower, until it is taken for one that follows somebody else."""
JUDGED_IN_ONE_GO = 500
LOOKED_AT_IN_ONE_GO = 10
"""Partitions of which retention has nothing to delete, before requests go first: some 10 µs each."""


class Upkeep:
    """That of all replicas here. `start` it; whoever moves a watermark sets `watermarks_moved`."""

    def __init__(
        self,
        clock: Clock,
        config: ReplicationConfig,
        hosting: Hosting,
        repairs: Repairs,
        moving: dict[Partition, None],
        is_unheard: Callable[[], bool],
        on_deserted: Callable[[Collection[PartitionKey]], Awaitable[None]],
    ) -> None:
        """`moving`: what is led here and perhaps has a follower that lags or may join; those at rest are taken out.
        `is_unheard()`: whether this broker may have been fenced without hearing of it. `on_deserted(keys)` is called
        again and again while there are leaderships that others may have, and with none when there are none any more."""
        self.watermarks_moved = False
        self._clock = clock
        self._config = config
        self._hosting = hosting
        self._repairs = repairs
        self._moving = moving
        self._is_unheard = is_unheard
        self._on_deserted = on_deserted
        self._deserted: dict[Partition, None] = {}

    def start(self, spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], None]) -> None:
        config = self._config
        for interval_ms, work in (
            (config.isr_check_interval_ms, self._check_in_sync_sets),
            (config.high_watermark_checkpoint_interval_ms, self.checkpoint_watermarks),
            (config.retention_check_interval_ms, self._enforce_retention),
            (LOG_CHECKPOINT_INTERVAL_MS, self._hosting.write_checkpoints),
            (FLUSH_CHECK_INTERVAL_MS, self._flush_overdue),
            (REPAIR_CHECK_INTERVAL_MS, self._look_at_repairs),
            (DESERTION_CHECK_INTERVAL_MS, self._look_for_deserted),
        ):
            spawn(partial(self._every, interval_ms, work))

    async def _every(self, interval_ms: int, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            due_ms = self._clock.monotonic_ms() + interval_ms
            await asyncio.sleep(interval_ms / 1000)
            if self._clock.monotonic_ms() - due_ms > interval_ms // 2:
                # The process stood still: let it read what arrived meanwhile before it judges anybody.
                await asyncio.sleep(LATE_PAUSE_MS / 1000)
            await work()

    async def _check_in_sync_sets(self) -> None:
        """Look at those that moved since they were last all in sync; a partition at rest costs nothing."""
        for partition in list(self._moving):
            leadership = partition.leadership
            if leadership is None or (leadership.is_at_rest(partition.log.end_offset) and not partition.start_waits):
                self._moving.pop(partition, None)
            else:
                partition.consider_shrinking()
                partition.consider_expansion()

    async def _look_for_deserted(self) -> None:
        """Leaderships that others may have by now, where this broker would not hear of it. While it is heard: none."""
        is_unheard = self._is_unheard()
        silence_ms = FETCHES_MISSED_MAX * self._config.fetch_wait_max_ms
        had_any = bool(self._deserted)
        for number, partition in enumerate(
            list(self._hosting.partitions.values() if is_unheard else self._deserted), 1
        ):
            if partition.consider_desertion(is_unheard, silence_ms):
                self._deserted[partition] = None
            else:
                self._deserted.pop(partition, None)
            if number % JUDGED_IN_ONE_GO == 0:
                await asyncio.sleep(0)
        if self._deserted and not had_any:
            logger.warning(
                "no controller hears this broker, and nobody follows it in %d partitions that it leads: "
                "their consumers are sent to look for other leaders",
                len(self._deserted),
            )
        if self._deserted or had_any:
            await self._on_deserted([partition.key for partition in self._deserted])

    async def checkpoint_watermarks(self) -> None:
        """Write them down if any has moved since."""
        if self.watermarks_moved:
            self.watermarks_moved = False
            await self._hosting.write_high_watermarks()

    async def _look_at_repairs(self) -> None:
        self._repairs.look(again=True)

    async def _flush_overdue(self) -> None:
        self._hosting.flush_overdue()

    async def _enforce_retention(self) -> None:
        for number, partition in enumerate(list(self._hosting.partitions.values()), 1):
            has_deleted = False
            if self._hosting.partitions.get(partition.key) is partition:
                try:
                    has_deleted = partition.enforce_retention()
                except KafkaStorageError as error:  # of this log, or of its directory: others go on
                    logger.warning("retention leaves %s as it is: %s", partition.name, error)
                    if is_unreadable(error) and not partition.log.damages:
                        partition.surroundings.suspected(partition, None)
                self._hosting.flush(partition)
            if has_deleted or number % LOOKED_AT_IN_ONE_GO == 0:
                await asyncio.sleep(0)  # requests go first
