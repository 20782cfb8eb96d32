"""Leaders that this broker has lost sight of a moment ago, and who waits until it is known who leads instead.

A connection that breaks is seen 20 to 100 ms before the news of the election that follows. A client that asks for
metadata in between has mostly lost the same leader, and told of that one again it is content for a while: librdkafka
looks at such partitions once a second. Whoever answers it waits here first.

Invariant: a broker is lost from when a fetcher's connection to it breaks until it answers again, or is out of service,
or nothing is fetched there any more; but `PATIENCE_MS` at most, so that a leader that only this broker cannot reach
delays nobody for long.
"""

import asyncio
from collections.abc import Callable

from kraftpy.runtime.ports import Clock

PATIENCE_MS = 500
"""Several times what an election takes after a refused connection. A node that is merely silent is not waited for."""


class LostLeaders:
    """Those of this broker."""

    def __init__(self, clock: Clock, may_lead: Callable[[int], bool]) -> None:
        """`may_lead(broker_id)`: whether metadata says so, as far as it was acted by."""
        self._clock = clock
        self._may_lead = may_lead
        self._until_ms: dict[int, int] = {}  # by broker: how long it is waited for
        self._news = asyncio.Event()

    def lost(self, broker_id: int) -> None:
        """The connection broke, or could not be made. Said again of one that has not answered since, it means nothing
        new."""
        self._until_ms.setdefault(broker_id, self._clock.monotonic_ms() + PATIENCE_MS)

    def settled(self, broker_id: int) -> None:
        """It answers, or leads nothing that is fetched here."""
        if self._until_ms.pop(broker_id, None) is not None:
            self._news.set()

    async def wait_settled(self) -> None:
        """Return when no leader is lost, or all have been waited for long enough."""
        while (left_ms := self._left_ms()) > 0:
            self._news.clear()
            try:
                async with asyncio.timeout(left_ms / 1_000):
                    await self._news.wait()
            except TimeoutError:
                pass

    def _left_ms(self) -> int:
        lost_until_ms = [until_ms for broker_id, until_ms in self._until_ms.items() if self._may_lead(broker_id)]
        return max(lost_until_ms) - self._clock.monotonic_ms() if lost_until_ms else 0
