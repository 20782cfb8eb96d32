"""Which segment is read again next, and what becomes of what was found. Runs on the loop; reading is done elsewhere.

    a reader met damage, or compaction ─→ suspect ─┐
    every log, once an interval ───────────────────┴→ a job → `scrub`, elsewhere → the log's damages → `on_damage`

A suspicion is looked into at once and at full speed; the rest, one segment at a time, at the pace of the settings. What
was damaged and is no more (a read that failed once) is taken back. A log whose job fails is passed over for a while
that doubles, and the others go on.
"""

import asyncio
import logging
from collections import deque
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
"""Between looks for logs that are due, where none was; what came up since is not put off for longer, either."""
FAILURE_PAUSE_MS = 1_000
"""After a job that failed; the log whose it was is passed over for as long at first."""
FAILURE_PAUSE_MS_MAX = 600_000
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
        self._turns: deque[Log] = deque()  # logs that were due at the last look, in their order
        self._look_again_ms = NEVER_MS
        self._pauses: dict[Log, _Pause] = {}  # of those whose last job failed
        self._news = asyncio.Event()

    def reconfigure(self, config: ScrubConfig) -> None:
        """Follow new settings from now on, also in the midst of a segment."""
        self.config = config
        self._checker.limit(config.bytes_per_second)
        self._turns.clear()
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
        for segment, log in list(self._suspects.items()):
            if segment not in log.segments or log.is_closed:
                del self._suspects[segment]
            elif not self._is_passed_over(log):
                await self._look_into(log, segment)
                return True
        found = await self._due() if self.config.enable else None
        if found is None:
            return False
        self._checker.limit(self.config.bytes_per_second)
        await self._check(found.log, found.segment)
        if found.log.scrubbed != found.before:
            return True  # somebody began anew
        found.log.scrubbed = found.after
        return True

    async def _look_into(self, log: Log, segment: Segment) -> None:
        self._checker.limit(float_info.max)
        try:
            await self._check(log, segment)
        finally:
            self._checker.limit(self.config.bytes_per_second)
        self._suspects.pop(segment, None)
        if len(self._looked_ms) >= LOOKED_MAX:
            self._looked_ms.clear()
        self._looked_ms[segment] = self._clock.monotonic_ms()

    async def _check(self, log: Log, segment: Segment) -> None:
        job = scrub_job(log, segment)
        try:
            scrubbed = await self._checker.scrub(job)
        except JobFailed:
            self._pass_over(log)
            raise
        self._pauses.pop(log, None)
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
        is_fresh = self._clock.monotonic_ms() >= self._look_again_ms
        if is_fresh:
            await self._look()
        found = self._first_due()
        if found is None and not is_fresh:
            await self._look()
            found = self._first_due()
        return found

    def _first_due(self) -> "_Due | None":
        while self._turns:
            found = None if self._is_passed_over(self._turns[0]) else self._take_due(self._turns[0])
            if found is not None:
                return found
            self._turns.popleft()
        return None

    async def _look(self) -> None:
        """Through all logs: once for many segments, as it takes a while where there are thousands."""
        found = []
        for number, log in enumerate(list(self._logs())):
            if number % LOGS_PER_TURN == LOGS_PER_TURN - 1:
                await asyncio.sleep(0)
            if (due := self._take_due(log)) is not None:
                found.append(due)
        self._turns = deque(each.log for each in sorted(found, key=lambda each: each.order))
        self._look_again_ms = self._clock.monotonic_ms() + LOOK_INTERVAL_MS
        self._pauses = {log: pause for log, pause in self._pauses.items() if not log.is_closed}

    def _take_due(self, log: Log) -> "_Due | None":
        """What is to be read next of it. None: nothing now; a pass that has come to its end is noted as over."""
        if log.is_closed or len(log.segments) < 2:
            return None
        due = due_pass(log.scrubbed, log.segments[0].base_offset, self._clock.wall_ms(), self.config.interval_ms)
        found = None if due is None else _next_of(log, due)
        if due is not None and found is None:
            log.scrubbed = ScrubPass(due.began_ms, PASS_IS_OVER)
        return found

    def _is_passed_over(self, log: Log) -> bool:
        return log in self._pauses and self._clock.monotonic_ms() < self._pauses[log].until_ms

    def _pass_over(self, log: Log) -> None:
        """Twice as long as the last time."""
        length_ms = FAILURE_PAUSE_MS
        if log in self._pauses:
            length_ms = min(2 * self._pauses[log].length_ms, FAILURE_PAUSE_MS_MAX)
        self._pauses[log] = _Pause(length_ms, self._clock.monotonic_ms() + length_ms)

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


class _Pause(NamedTuple):
    """In which a log whose job failed is passed over."""

    length_ms: int
    until_ms: int


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
        if segment.end_offset > due.next_offset:
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
