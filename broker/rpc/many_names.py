"""What many names stand for, told some at a time: others have their turns between.

As one message, what is known of a thousand groups would hold the loop for seconds, and lie in memory several times.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

from broker.rpc.limits import Repeats
from kraftpy.errors import InvalidRequestError, KraftpyError

TURN_NAMES = 5
"""Told between two turns of the loop: 12 ms, where each is a group with the offsets of 500 partitions."""

N = TypeVar("N")
P = TypeVar("P")


async def told_in_turns(
    named: Sequence[N],
    name_of: Callable[[N], Hashable],
    tell: Callable[[N], Awaitable[P]],
    refuse: Callable[[N, KraftpyError], P],
    answer_bytes: Callable[[], int],
) -> AsyncIterator[P]:
    """One for each of `named`, in their order. `answer_bytes`: of what was given until now, for `Repeats`."""
    repeats = Repeats()

    async def told(each: N) -> P:
        try:
            repeats.check(name_of(each), answer_bytes())
        except InvalidRequestError as error:
            return refuse(each, error)
        return await tell(each)

    for first in range(0, len(named), TURN_NAMES):
        for part in await asyncio.gather(*map(told, named[first : first + TURN_NAMES])):
            yield part
        await asyncio.sleep(0)
