"""Which segment is read again next, and what becomes of what was found. Runs on the loop; reading is done elsewhere.

    a reader met damage, or compaction ─→ suspect ─┐
    every log, once an interval ───────────────────┴→ a job → `scrub`, elsewhere → the log's damages → `on_damage`

A suspicion is looked into at once and at full speed; the rest, one segment at a time, at the pace of the settings. What
was damaged and is no more (a read that failed once) is taken back.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from sys import float_info
from typing import NamedTuple

from broker.maintenance.config import ScrubConfig
from broker.maintenance.failure import JobFailed
from broker.maintenance.jobs import Checker
from broker.metrics import Metric
from kraftpy.runtime.ports import Clock
from log_store.inspection import scrub_job, take_verdict
from log_store.log import Log
from log_store.scrub import PASS_IS_OVER, ScrubPass, due_pass
from log_store.segment import Segment

logger = logging.getLogger(__name__)

LOOK_INTERVAL_MS = 30_000
"""Between looks for a log that is due, where none was."""
FAILURE_PAUSE_MS = 1_000
SUSPICION_PAUSE_MS = 5_000
"""Before the same segment is looked into again: whoever cannot read it asks again and again."""
LOOKED_MAX = 1_000
NEVER_MS = -(1 << 62)
LOGS_PER_TURN = 500


class Scrubber:
    """`run` as a task; cancelled at the end, before the log directories are closed."""

    def __init__(
        self,
        logs: Callable[[], Iterable[Log]],
        checker: Checker,
        clock: Clock,
        config: ScrubConfig | None = None,
        on_damage: Callable[[Log], None] = lambda log: None,
    ) -> None:
        """`logs()`: what is here at this moment. `on_damage(log)`: something new is in its `damages`."""
        self.config = config or ScrubConfig()
        self.segments_read = 0
        self.bytes_read = 0
        self.damaged_segments = 0
        self._logs = logs
        self._checker = checker
        self._clock = clock
        self._on_damage = on_damage
        self._suspects: dict[Segment, Log] = {}
        self._looked_ms: dict[Segment, int] = {}  # when a suspicion was looked into
        self._news = asyncio.Event()

    def reconfigure(self, config: ScrubConfig) -> None:
        """Follow new settings from now on, also in the midst of a segment."""
        self.config = config
        self._checker.limit(config.bytes_per_second)
        self._news.set()

    def suspect(self, log: Log, offset: int | None = None) -> None:
        """Somebody met something odd at `offset`, or (None) somewhere: look into it soon."""
        now_ms = self._clock.monotonic_ms()
        for segment in log.segments:
            is_it = offset is None or segment.base_offset <= offset < segment.end_offset
            if is_it and now_ms - self._looked_ms.get(segment, NEVER_MS) >= SUSPICION_PAUSE_MS:
                self._suspects.setdefault(segment, log)
        if self._suspects:
            self._news.set()

    async def run(self) -> None:
        """For ever. Raises what breaks it."""
        while True:
            self._news.clear()
            try:
                if await self.scrub_next():
                    continue
                pause_ms = LOOK_INTERVAL_MS
            except JobFailed as failure:
                logger.warning("a scrub failed and will be tried again: %s", failure)
                pause_ms = FAILURE_PAUSE_MS
            await self._checker.rest()
            try:
                async with asyncio.timeout(min(pause_ms, self.config.interval_ms) / 1000):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def scrub_next(self) -> bool:
        """Read the segment that comes next; false where none is due. Raises `JobFailed`."""
        while self._suspects:
            segment, log = next(iter(self._suspects.items()))
            if segment in log.segments and not log.is_closed:
                self._checker.limit(float_info.max)
                try:
                    await self._check(log, segment)
                finally:
                    self._checker.limit(self.config.bytes_per_second)
                self._suspects.pop(segment, None)
                if len(self._looked_ms) >= LOOKED_MAX:
                    self._looked_ms.clear()
                self._looked_ms[segment] = self._clock.monotonic_ms()
                return True
            del self._suspects[segment]
        found = await self._due() if self.config.enable else None
        if found is None:
            return False
        self._checker.limit(self.config.bytes_per_second)
        await self._check(found.log, found.segment)
        if found.log.scrubbed != found.before:
            return True  # somebody began anew
        found.log.scrubbed = found.after
        return True

    async def _check(self, log: Log, segment: Segment) -> None:
        job = scrub_job(log, segment)
        scrubbed = await self._checker.scrub(job)
        self.segments_read += 1
        self.bytes_read += scrubbed.bytes_read
        known = bool(log.damages)
        is_news = take_verdict(log, job, segment, scrubbed.damages)
        if is_news:
            self.damaged_segments += 1
            for damage in scrubbed.damages:
                logger.error("%s is damaged in %s: %s", log.name, segment.files.log, damage)
            self._on_damage(log)
        elif known and not log.damages:
            logger.warning("%s could be read again: no damage was found in %s", log.name, segment.files.log)

    async def _due(self) -> "_Due | None":
        """Of the log that is under way, else of the one whose last pass began first."""
        best: _Due | None = None
        now_ms, interval_ms = self._clock.wall_ms(), self.config.interval_ms
        for number, log in enumerate(list(self._logs())):
            if number % LOGS_PER_TURN == LOGS_PER_TURN - 1:
                await asyncio.sleep(0)
            if log.is_closed or len(log.segments) < 2:
                continue
            due = due_pass(log.scrubbed, log.segments[0].base_offset, now_ms, interval_ms)
            if due is None:
                continue
            found = _next_of(log, due)
            if found is None:
                log.scrubbed = ScrubPass(due.began_ms, PASS_IS_OVER)
            elif best is None or found.order < best.order:
                best = found
        return best

    def metrics(self) -> list[Metric]:
        damaged = [log for log in self._logs() if log.damages]
        return [
            Metric("kraftpy_log_scrub_segments_total", self.segments_read),
            Metric("kraftpy_log_scrub_bytes_total", self.bytes_read),
            Metric("kraftpy_log_scrub_damaged_segments_total", self.damaged_segments),
            Metric("kraftpy_log_damaged_partitions_count", len(damaged)),
        ]

    def problems(self) -> list[str]:
        return [damaged_sentence(log) for log in self._logs() if log.damages]


class _Due(NamedTuple):
    """A segment whose turn it is, with the log's pass before and after it."""

    order: tuple[bool, int]
    log: Log
    segment: Segment
    before: ScrubPass
    after: ScrubPass


def _next_of(log: Log, due: ScrubPass) -> _Due | None:
    closed = log.segments[:-1]
    for segment, following in zip(closed, log.segments[1:], strict=True):
        if segment.end_offset > due.next_offset and segment.size_bytes:
            is_last = following is log.segments[-1]
            after = ScrubPass(due.began_ms, PASS_IS_OVER if is_last else segment.end_offset)
            return _Due(
                (log.scrubbed.next_offset == PASS_IS_OVER, log.scrubbed.began_ms), log, segment, log.scrubbed, after
            )
    return None


def damaged_sentence(log: Log) -> str:
    """What is damaged, what that means, and what is done about it."""
    told = "; ".join(map(str, log.damages.all[:3])) + ("; …" if len(log.damages.all) > 3 else "")
    return (
        f"{log.name} in {log.directory} is damaged: {told}. It is copied anew from another replica that is in sync; "
        "where there is none, everything else of it is served, and docs/operations.md says what can be done"
    )
