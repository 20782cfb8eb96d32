"""Asking the coordinator of a transaction whether it may begin in partitions led here (KIP-890).

A coordinator that is still ending the transaction before is asked again for a moment: a producer of the second version
begins its next one at once, and most markers are written within milliseconds. What cannot be asked now is an error to
be tried again, which the producer does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from broker.replication.verification import Admission
from kraftpy.errors import ConcurrentTransactionsError, CoordinatorNotAvailableError, KraftpyError
from kraftpy.runtime.ports import Clock, TransportError

PAUSE_MIN_MS = 2
"""About what a marker takes. Kafka begins with 20 ms, and every transaction that follows upon another waits for it."""
PAUSE_MAX_MS = 20
"""add.partitions.to.txn.retry.backoff.ms"""
PATIENCE_MS = 100
"""add.partitions.to.txn.retry.backoff.max.ms"""
ASK_TIMEOUT_MS = 5_000

Ask = Callable[[Admission, int], Awaitable[list[KraftpyError | None]]]
"""Ask the coordinator once, within so many milliseconds. Raises `KraftpyError`, `TransportError`."""


class CoordinatorGate:
    """`broker.replication.verification.TransactionGate`."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock

    async def admit(self, admission: Admission, timeout_ms: int) -> list[KraftpyError | None]:
        """One answer for each partition, in order; None: it may."""
        timeout_ms = min(max(timeout_ms, 1), ASK_TIMEOUT_MS)
        patient_until_ms = self._clock.monotonic_ms() + min(PATIENCE_MS, timeout_ms)
        pause_ms = PAUSE_MIN_MS
        while True:
            answers = await self._asked(admission, timeout_ms)
            if not _is_busy(answers) or self._clock.monotonic_ms() >= patient_until_ms:
                return answers
            await asyncio.sleep(pause_ms / 1_000)
            pause_ms = min(2 * pause_ms, PAUSE_MAX_MS)

    async def _asked(self, admission: Admission, timeout_ms: int) -> list[KraftpyError | None]:
        count = len(admission.partitions)
        try:
            return await self._ask(admission, timeout_ms)
        except KraftpyError as error:
            return [error] * count
        except TransportError as error:
            return [CoordinatorNotAvailableError(f"the transaction coordinator cannot be reached: {error}")] * count


def _is_busy(answers: Sequence[KraftpyError | None]) -> bool:
    return any(isinstance(answer, ConcurrentTransactionsError) for answer in answers)
