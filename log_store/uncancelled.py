"""Waiting for what no cancellation ends: a disk thread goes on, and what it writes must not be written beside it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def uncancelled(work: Coroutine[Any, Any, T]) -> T:
    """Do `work` to its end; a cancellation that comes meanwhile is raised after it, in place of what `work` raises."""
    running = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.gather(asyncio.shield(running), return_exceptions=True)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return running.result()
