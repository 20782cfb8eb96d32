"""Which log is compacted next, and the way of a result into its log. Runs on the loop; the work is done elsewhere.

    plan every compacted log → the first in order → a job → `clean`, elsewhere → swap → flushes → checkpoint

As many jobs at a time as `CompactionConfig.threads`, one a directory of a log. A log that cannot be cleaned (a damaged
batch) is left alone until the next start, as in Kafka, while the others go on; its reason is in `uncleanable`. Anything
else that fails is tried again after a pause, which grows, and in which the others have their turn; where a sector could
not be read, the scrub is told to look.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from broker.maintenance.config import CompactionConfig
from broker.maintenance.failure import JobFailed
from broker.maintenance.figures import Figures
from broker.maintenance.jobs import Cleaner
from kraftpy.errors import KafkaStorageError
from kraftpy.runtime.ports import Clock
from log_store.compaction.cleaned_file import remove_leftovers
from log_store.compaction.job import Cleaned, CleaningJob
from log_store.compaction.plan import CompactionPlan, in_order
from log_store.log import Log
from log_store.log_directory import LogDirectory

logger = logging.getLogger(__name__)


LOGS_PER_TURN = 50
"""Plans made before others have their turn on the loop: half a millisecond or so."""
MAP_BYTES_MIN = 1024 * 1024
"""For each job, however many share the memory."""
PAUSE_MS_MAX = 600_000
"""Before a log that failed is tried again, however often it has: so long it may grow once the trouble is over."""


class CompactableLog(NamedTuple):
    """A log of this node, where it lies, and below what it may be compacted."""

    log: Log
    home: LogDirectory
    stable_offset: int  # the high watermark, or the last stable offset where that is lower


class _Pause(NamedTuple):
    """In which a log that failed is passed over."""

    length_ms: int
    until_ms: int


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
        self.on_suspicion: Callable[[Log], None] = lambda log: None
        """Told of each of them, and of those of which a sector could not be read."""
        self.figures = Figures()
        self.config = config or CompactionConfig()
        self._logs = logs
        self._cleaner = cleaner
        self._clock = clock
        # Directories of logs: the job of one that was deleted meanwhile writes under the names that the job of its
        # successor would write under.
        self._busy: dict[str, None] = {}
        self._pauses: dict[Log, _Pause] = {}  # of those that failed when they were last tried
        self._news = asyncio.Event()  # for who keeps the slots: one ended, or the settings changed
        self._settings_changed = asyncio.Event()  # for slots that rest

    @property
    def process_deaths(self) -> int:
        return self._cleaner.deaths

    def reconfigure(self, config: CompactionConfig) -> None:
        """Follow new settings from now on; whether to compact at all is not among them."""
        self.config = config
        self._share_pace()
        self._settings_changed.set()
        self._settings_changed = asyncio.Event()
        self._news.set()

    def forgive(self, log: Log) -> None:
        """It was repaired: try again."""
        self.uncleanable.pop(log, None)
        self._pauses.pop(log, None)

    # --- slots -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Compact what is due, for ever, unless it is switched off. Raises what breaks it."""
        slots: dict[int, asyncio.Task[None]] = {}
        try:
            while self.config.enable:
                for number in range(self.config.threads):
                    if number not in slots:
                        slots[number] = task = asyncio.create_task(self._slot(number), name=f"compactor-{number}")
                        task.add_done_callback(lambda _: self._news.set())
                self._news.clear()
                await self._news.wait()
                for number in [number for number, task in slots.items() if task.done()]:
                    slots.pop(number).result()
        finally:
            for task in slots.values():
                task.cancel()
            await asyncio.gather(*slots.values(), return_exceptions=True)

    async def _slot(self, number: int) -> None:
        while number < self.config.threads:
            if not await self.compact_next():
                await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self.config.backoff_ms / 1000):
                await self._settings_changed.wait()
        except TimeoutError:
            pass

    # --- one log after the other -------------------------------------------------------------------------------------

    async def compact_next(self) -> bool:
        """Compact the log that needs it most; false where there is none, or where it failed."""
        found = [each for each in await self._plans() if each[0].log.directory not in self._busy]
        if not found:
            return False
        here, _ = found[in_order([plan for _, plan in found])[0]]
        directory = here.log.directory
        self._busy[directory] = None
        self._share_pace()
        try:
            return await self._compact(here)
        except KafkaStorageError as error:
            logger.warning("compacting %s failed: %s", here.log.name, error)
            self._pass_over(here.log)
        finally:
            del self._busy[directory]
            self._share_pace()
        return False

    def _share_pace(self) -> None:
        self._cleaner.limit(self.config.bytes_per_second / max(1, len(self._busy)))

    async def _plans(self) -> list[tuple[CompactableLog, CompactionPlan]]:
        found = []
        dirty_ratio = 0.0
        self.uncleanable = {log: why for log, why in self.uncleanable.items() if not log.is_closed}
        self._pauses = {log: pause for log, pause in self._pauses.items() if not log.is_closed}
        for number, here in enumerate(list(self._logs())):
            if number % LOGS_PER_TURN == LOGS_PER_TURN - 1:
                await asyncio.sleep(0)
            log = here.log
            if not log.config.compacted or log.is_closed or log in self.uncleanable or log.directory in self._busy:
                continue
            try:
                plan = log.compacting.plan(here.stable_offset, self._clock.wall_ms())
            except KafkaStorageError:
                continue  # its directory has failed, and who has to know was told; or a sector cannot be read
            dirty_ratio = max(dirty_ratio, log.compacting.dirty_ratio)
            if plan is None:
                if log.has_loose_ends:
                    here.home.flusher.request(log)  # a segment was rolled, or a swap is not through
            elif log not in self._pauses or self._pauses[log].until_ms <= self._clock.monotonic_ms():
                found.append((here, plan))
        self.figures.note_look(dirty_ratio, self._clock.monotonic_ms())
        return found

    async def _compact(self, here: CompactableLog) -> bool:
        log, clock = here.log, self._clock
        # While others were looked at it may have been deleted, begun to move, or been compacted in another slot.
        plan = log.compacting.plan(here.stable_offset, clock.wall_ms())
        if plan is None:
            return True
        map_bytes = max(MAP_BYTES_MIN, self.config.map_bytes // self.config.threads)
        job = log.compacting.job_for(plan, clock.wall_ms(), map_bytes)
        began_ms = clock.monotonic_ms()
        try:
            cleaned = await self._cleaner.clean(job)
        except JobFailed as failure:
            await self._note_failure(here, job, failure)
            return False
        self._pauses.pop(log, None)
        if not log.compacting.swap(job, cleaned, clock.wall_ms()):
            logger.info("%s was cut, deleted or moved while it was compacted: the result is dropped", log.name)
            return True
        await here.home.flusher.flush(log)
        await here.home.write_checkpoints()
        took_ms = clock.monotonic_ms() - began_ms
        self.figures.note_round(cleaned, took_ms)
        _tell(log, plan, cleaned, took_ms)
        return True

    async def _note_failure(self, here: CompactableLog, job: CleaningJob, failure: JobFailed) -> None:
        log = here.log
        if not log.compacting.is_current(job):
            logger.info("%s was cut, deleted or moved while it was compacted", log.name)  # under the cleaner's eyes
            return
        if failure.is_permanent:
            self.uncleanable[log] = str(failure)
            logger.error("%s", uncleanable_sentence(log, str(failure)))
        else:
            logger.warning("compacting %s failed and will be tried again: %s", log.name, failure)
            self._pass_over(log)
        if failure.is_permanent or failure.is_unreadable:
            self.on_suspicion(log)
        with suppress(OSError):  # else the next job for this log does it
            await here.home.disk.run(partial(remove_leftovers, here.home.disk, job.directory))

    def _pass_over(self, log: Log) -> None:
        """Twice as long as the last time, and at first as a slot rests, after which it would be the first again."""
        last_ms = self._pauses[log].length_ms if log in self._pauses else self.config.backoff_ms
        length_ms = min(2 * last_ms, PAUSE_MS_MAX)
        self._pauses[log] = _Pause(length_ms, self._clock.monotonic_ms() + length_ms)


def uncleanable_sentence(log: Log, why: str) -> str:
    """What happened, what it means, and what to do."""
    return (
        f"{log.name} cannot be compacted and grows until somebody helps: {why}. Where another replica is in sync, stop "
        f"the node, remove {log.directory} and start it: the replica is copied anew. Else restore its files and "
        "restart the node"
    )


def _tell(log: Log, plan: CompactionPlan, cleaned: Cleaned, took_ms: int) -> None:
    logger.info(
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
        logger.warning("%d records of %s had no key and are gone, as the topic is compacted", cleaned.keyless, log.name)
