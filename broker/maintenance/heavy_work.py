"""Compaction, the scrub and digests of one broker, with those who carry them out.

Each has a worker of its own: their paces differ, and none waits for another's jobs.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from broker.maintenance.compactor import CompactableLog, Compactor
from broker.maintenance.config import CompactionConfig, ScrubConfig
from broker.maintenance.jobs import Digester, Worker
from broker.maintenance.observed import ObservedCompaction
from broker.maintenance.scrubber import Scrubber
from broker.replication.replicas import Replicas
from kraftpy.runtime.ports import Clock
from log_store.log import Log


class HeavyWork:
    """`compactor.run` and `scrubber.run` as tasks; `stop` once these have ended."""

    def __init__(
        self,
        replicas: Replicas,
        make_worker: Callable[[], Worker],
        clock: Clock,
        compaction: CompactionConfig,
        scrub: ScrubConfig,
        log_dirs: Sequence[str],
    ) -> None:
        self._replicas = replicas
        self._cleaner, self._checker, self._digester = make_worker(), make_worker(), make_worker()
        self.compactor = Compactor(self._compactable, self._cleaner, clock, compaction)
        self.scrubber = Scrubber(self._logs, self._checker, clock, scrub, replicas.log_damaged)
        self.observed_compaction = ObservedCompaction(self.compactor, clock, list(log_dirs))
        replicas.on_suspicion = self.scrubber.suspect
        replicas.repairs.on_cut = self.compactor.forgive
        self.compactor.on_suspicion = self.scrubber.suspect

    @property
    def digester(self) -> Digester:
        return self._digester

    def settings(self) -> Mapping[str, Callable[[str], None]]:
        """Those that can change while it goes on, each with who follows it."""
        return {
            "log.cleaner.backoff.ms": lambda text: self._compact_with(backoff_ms=int(text)),
            "log.cleaner.dedupe.buffer.size": lambda text: self._compact_with(map_bytes=int(text)),
            "log.cleaner.io.max.bytes.per.second": lambda text: self._compact_with(bytes_per_second=float(text)),
            "log.cleaner.threads": lambda text: self._compact_with(threads=int(text)),
            "log.scrub.interval.ms": lambda text: self._scrub_with(interval_ms=int(text)),
            "log.scrub.io.max.bytes.per.second": lambda text: self._scrub_with(bytes_per_second=float(text)),
        }

    async def stop(self) -> None:
        """End whoever works, in the midst of jobs too."""
        async with AsyncExitStack() as closing:
            for worker in (self._cleaner, self._checker, self._digester):
                closing.push_async_callback(worker.stop)

    def _compactable(self) -> list[CompactableLog]:
        found = self._replicas.with_homes()
        return [CompactableLog(each.log, home, each.last_stable_offset) for each, home in found]

    def _logs(self) -> list[Log]:
        return [each.log for each, _ in self._replicas.with_homes()]

    def _compact_with(self, **changed: Any) -> None:
        self.compactor.reconfigure(replace(self.compactor.config, **changed))

    def _scrub_with(self, **changed: Any) -> None:
        self.scrubber.reconfigure(replace(self.scrubber.config, **changed))
