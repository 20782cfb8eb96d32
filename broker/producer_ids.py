"""Producer ids for those who ask this broker: out of a block that it got from the controller (KIP-730).

Invariants
- No id is given away twice: blocks are the controller's, each goes to one broker, and each id leaves its block once.
- At most one request for a block is under way, whoever waits for it; its failure reaches all of them, as something to
  try again.
"""

import asyncio
from collections.abc import Awaitable, Callable

from broker.controller.commands import ProducerIdBlock
from kraftpy.errors import CoordinatorLoadInProgressError, KraftpyError
from kraftpy.runtime.ports import TransportError


class ProducerIds:
    """See the module's docstring."""

    def __init__(self, allocate: Callable[[], Awaitable[ProducerIdBlock]]) -> None:
        """`allocate` asks the controller for the next block; it may raise `KraftpyError` and `TransportError`."""
        self._allocate = allocate
        self._next_id = 0
        self._end_id = 0  # exclusive
        self._allocation: asyncio.Task[None] | None = None

    async def next(self) -> int:
        """An id that nobody else has. Raises a `RetriableError` where the controller cannot be had now."""
        while self._next_id == self._end_id:
            if self._allocation is None:
                self._allocation = asyncio.get_running_loop().create_task(self._refill())
                self._allocation.add_done_callback(self._finished)
            await asyncio.shield(self._allocation)  # whoever stops waiting must not stop it for the others
        self._next_id += 1
        return self._next_id - 1

    async def _refill(self) -> None:
        try:
            block = await self._allocate()
        except (KraftpyError, TransportError) as error:
            raise CoordinatorLoadInProgressError(f"no producer ids can be had at the moment: {error}") from None
        finally:
            self._allocation = None  # here: who comes before `_finished` and waited for this would not wait at all
        if block.first_producer_id < 0 or block.count < 1:
            raise CoordinatorLoadInProgressError(f"the controller gave {block}, which holds no producer ids")
        self._next_id, self._end_id = block.first_producer_id, block.first_producer_id + block.count

    def _finished(self, task: "asyncio.Task[None]") -> None:
        if self._allocation is task:
            self._allocation = None  # it was cancelled before it began
        if not task.cancelled():
            task.exception()  # those who wait have it; nobody may be left
