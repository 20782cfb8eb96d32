"""Group commit: everything that waits for the disk of one log directory shares the next flush.

At most one round is under way. What is asked for meanwhile gathers for the next one, so under load a flush serves
hundreds of appends and at rest one append waits for one flush. A round syncs its logs in a few streams side by side:
the device merges them, and the file system's journal commits them together. Many logs are synced as one (see `flush`).

The first failure puts up the fence of the directory: nothing is acknowledged from then on, not even by flushes that
succeeded beside the one that failed, and nothing is tried again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice

from kraftpy.errors import KafkaStorageError
from log_store.fence import Fence
from log_store.flush import SYNCS_AT_ONCE, Flush, carry_out
from log_store.log import Log

LOGS_PER_ROUND = 500
"""What asks meanwhile waits for the round, whoever else began to write; and a round holds up to three descriptors for
each log."""

STREAMS = 3
"""Disk threads that one round may use; one more stays free for cold reads."""

LOGS_PER_STREAM = 4
"""Below this, a further stream costs more than it saves (a hop to a thread and back: 80 µs; a sync: 70–300 µs)."""

Begun = tuple[Log, Flush]


class Flusher:
    """Flushes the logs of one directory. Used on one event loop."""

    def __init__(
        self,
        fence: Fence,
        on_flushed: Callable[[Log], None] | None = None,
        logs_per_round: int = LOGS_PER_ROUND,
    ) -> None:
        self.on_flushed = on_flushed
        self.before_counting: Callable[[Sequence[Log]], Awaitable[None]] | None = None
        """Told of logs that are on the disk now; what it makes durable is so before anything of them counts as flushed.
        Raises `KafkaStorageError`."""
        self._fence = fence
        self._logs_per_round = logs_per_round
        self._wanted: dict[Log, None] = {}  # in the order of asking
        self._waiting: dict[Log, list[asyncio.Future[None]]] = {}
        self._rounds: asyncio.Task[None] | None = None
        fence.on_failure(self._fail_waiting)

    def request(self, log: Log) -> None:
        """Flush `log` soon; `on_flushed(log)` tells. Where its settings relax flushing: only if it is due by them.

        Does nothing behind the fence.
        """
        if log not in self._wanted and log.flush_is_due:
            self._want(log)

    def request_overdue(self, logs: Iterable[Log], now_ms: int) -> None:
        """Flush those whose records have waited for their `flush_interval_ms`; to be called now and then."""
        for log in logs:
            if log.flush_is_overdue(now_ms) and log.needs_flush:
                self._want(log)

    def _want(self, log: Log) -> None:
        if self._fence.failure is None:
            self._wanted[log] = None
            if self._rounds is None:
                self._rounds = asyncio.get_running_loop().create_task(self._run_rounds())

    async def flush(self, log: Log) -> int:
        """Make durable all that is in `log` now, whatever its settings; gives the recovery point.

        Raises `KafkaStorageError`.
        """
        end_offset = log.end_offset
        while (
            not log.is_closed
            and log.needs_flush
            and (log.has_loose_ends or log.recovery_point < min(end_offset, log.end_offset))
        ):
            self._fence.check()
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(log, []).append(done)
            self._want(log)
            await done
        self._fence.check()
        return log.recovery_point

    async def stop(self) -> None:
        """Wait until everything asked for is done, or has failed."""
        while self._rounds is not None:
            await asyncio.gather(self._rounds, return_exceptions=True)

    async def _run_rounds(self) -> None:
        try:
            while self._wanted and self._fence.failure is None:
                await self._run_round()
        finally:
            self._rounds = None

    async def _run_round(self) -> None:
        taken = list(islice(self._wanted, self._logs_per_round))
        for log in taken:
            del self._wanted[log]
        waiting = {log: self._waiting.pop(log) for log in taken if log in self._waiting}
        logs = [log for log in taken if not log.is_closed]
        try:
            begun = [(log, log.begin_flush()) for log in logs]
            streams = max(1, min(STREAMS, len(begun) // LOGS_PER_STREAM)) if len(begun) < SYNCS_AT_ONCE else 1
            if streams == 1:
                await self._run_stream(begun)  # without the tasks and turns that gathering would cost
            else:
                await asyncio.gather(*[self._run_stream(begun[at::streams]) for at in range(streams)])
        except KafkaStorageError as error:
            _settle(waiting, error)
            return
        _settle(waiting, self._fence.failure)
        for log in logs:
            if log.has_loose_ends and not log.is_closed:
                self._want(log)

    async def _run_stream(self, begun: list[Begun]) -> None:
        log_of = {flush: log for log, flush in begun}
        try:
            # A log that is closed meanwhile may lose its files.
            await carry_out([*log_of], self._fence.directory, lambda flush: log_of[flush].is_closed)
        except OSError as error:
            raise self._fence.raise_for(error, f"flushing {begun[0][0].name}{_and_others(begun)}") from error
        if self.before_counting is not None:
            await self.before_counting([log for log, _ in begun])
        for log, flush in begun:
            if self._fence.failure is None and not log.is_closed:
                log.complete_flush(flush)
                if self.on_flushed is not None:
                    self.on_flushed(log)

    def _fail_waiting(self, error: KafkaStorageError) -> None:
        self._wanted = {}
        waiting, self._waiting = self._waiting, {}
        _settle(waiting, error)


def _and_others(begun: list[Begun]) -> str:
    return f" and {len(begun) - 1} others" if len(begun) > 1 else ""


def _settle(waiting: dict[Log, list["asyncio.Future[None]"]], error: KafkaStorageError | None) -> None:
    for futures in waiting.values():
        for future in futures:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
