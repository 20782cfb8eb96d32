"""Which log is compacted next, and the way of a result into its log. Runs on the loop; the work is done elsewhere.

    plan every compacted log → the first in order → a job → `clean`, elsewhere → swap → flushes → checkpoint

One job at a time. A log that cannot be cleaned (a damaged batch) is left alone until the next start, as in Kafka; its
reason is in `uncleanable`. Anything else that fails is tried again after a pause.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple, Protocol

from broker.maintenance.config import CompactionConfig
from broker.maintenance.failure import CleaningFailed, failure_of
from kraftpy.errors import KafkaStorageError
from kraftpy.runtime.ports import Clock, Disk
from log_store.compaction.cleaner import clean
from log_store.compaction.job import Cleaned, CleaningJob
from log_store.compaction.plan import CompactionPlan, in_order
from log_store.log import Log
from log_store.log_directory import LogDirectory

LOG = logging.getLogger(__name__)


class Cleaner(Protocol):
    """Who carries out the jobs."""

    async def clean(self, job: CleaningJob) -> Cleaned:
        """Raises `CleaningFailed`."""

    async def stop(self) -> object: ...


LOGS_PER_TURN = 50
"""Plans made before others have their turn on the loop: half a millisecond or so."""


class CompactableLog(NamedTuple):
    """A log of this node, where it lies, and below what it may be compacted."""

    log: Log
    home: LogDirectory
    stable_offset: int  # the high watermark, or the last stable offset where that is lower


class Compactor:
    """`run` as a task; cancelled at the end, before the log directories are closed."""

    def __init__(
        self,
        logs: Callable[[], Iterable[CompactableLog]],
        cleaner: Cleaner,
        clock: Clock,
        config: CompactionConfig | None = None,
    ) -> None:
        """`logs()` gives what is here at this moment; those that are not compacted may be among them."""
        self.uncleanable: dict[Log, str] = {}
        """Logs that cannot be cleaned, and why."""
        self.rounds = 0
        self.bytes_read = 0
        self.bytes_written = 0
        self._logs = logs
        self._cleaner = cleaner
        self._clock = clock
        self._config = config or CompactionConfig()

    async def run(self) -> None:
        """Compact what is due, for ever, unless it is switched off."""
        while self._config.enable:
            if not await self.compact_next():
                await asyncio.sleep(self._config.backoff_ms / 1000)

    async def compact_next(self) -> bool:
        """Compact the log that needs it most; false where there is none, or where it failed."""
        found = await self._plans()
        if not found:
            return False
        here, plan = found[in_order([plan for _, plan in found])[0]]
        try:
            return await self._compact(here, plan)
        except KafkaStorageError as error:
            LOG.warning("compacting %s failed: %s", here.log.name, error)
        return False

    async def _plans(self) -> list[tuple[CompactableLog, CompactionPlan]]:
        found = []
        self.uncleanable = {log: why for log, why in self.uncleanable.items() if not log.is_closed}
        for number, here in enumerate(list(self._logs())):
            if number % LOGS_PER_TURN == LOGS_PER_TURN - 1:
                await asyncio.sleep(0)
            log = here.log
            if not log.config.compacted or log.is_closed or log in self.uncleanable:
                continue
            try:
                plan = log.plan_compaction(here.stable_offset, self._clock.wall_ms())
            except KafkaStorageError:
                continue  # its directory has failed, and who has to know was told
            if plan is not None:
                found.append((here, plan))
            elif log.has_loose_ends:
                here.home.flusher.request(log)  # a segment was rolled, or a swap is not through
        return found

    async def _compact(self, here: CompactableLog, plan: CompactionPlan) -> bool:
        log, clock = here.log, self._clock
        if log.is_closed:
            return False  # it was deleted while others were looked at
        job = log.cleaning_job(plan, clock.wall_ms(), self._config.map_bytes)
        began_ms = clock.monotonic_ms()
        try:
            cleaned = await self._cleaner.clean(job)
        except CleaningFailed as failure:
            self._note_failure(log, job, failure)
            return False
        if not log.swap(job, cleaned, clock.wall_ms()):
            LOG.info("%s was cut or deleted while it was compacted: the result is dropped", log.name)
            return True
        await here.home.flusher.flush(log)
        await here.home.write_checkpoints()
        self._note(log, plan, cleaned, clock.monotonic_ms() - began_ms)
        return True

    def _note_failure(self, log: Log, job: CleaningJob, failure: CleaningFailed) -> None:
        if not log.is_cleaned_by(job):
            LOG.info("%s was cut or deleted while it was compacted", log.name)  # under the cleaner's eyes
        elif failure.is_permanent:
            self.uncleanable[log] = str(failure)
            LOG.error("%s cannot be compacted and is left alone: %s", log.name, failure)
        else:
            LOG.warning("compacting %s failed and will be tried again: %s", log.name, failure)

    def _note(self, log: Log, plan: CompactionPlan, cleaned: Cleaned, took_ms: int) -> None:
        self.rounds += 1
        self.bytes_read += cleaned.bytes_read
        self.bytes_written += cleaned.bytes_written
        LOG.info(
            "compacted %s up to offset %d: %d of %d records stay, %d bytes of %d segments became %d in %d, %d ms",
            log.name,
            cleaned.end_offset,
            cleaned.records_kept,
            cleaned.records_read,
            cleaned.bytes_read,
            len(plan.sources),
            cleaned.bytes_written,
            len(cleaned.segments),
            took_ms,
        )
        if cleaned.keyless:
            LOG.warning(
                "%d records of %s had no key and are gone, as the topic is compacted", cleaned.keyless, log.name
            )


class InlineCleaner:
    """Carries out jobs by `disk.run`: for the simulation, and where no process may be started."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def clean(self, job: CleaningJob) -> Cleaned:
        try:
            return await self._disk.run(partial(clean, self._disk, job))
        except Exception as error:
            failure = failure_of(error)
            if failure is None:
                raise
            raise failure from error

    async def stop(self) -> None:
        """Nothing of it goes on."""
