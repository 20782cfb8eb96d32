"""Answers that list what many names stand for: looked up and written some at a time, and others have turns between.

As one message, what is known of a thousand groups would hold the loop for seconds, and lie in memory several times.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

from broker.kafka.schema import Structure
from broker.kafka.wire import NO_TAGS, NO_THROTTLE, count
from broker.rpc.limits import Repeats
from kraftpy.errors import InvalidRequestError, KraftpyError
from kraftpy.runtime.ports import FrameParts

TURN_NAMES = 5
"""Told between two turns of the loop: 12 ms, where each is a group with the offsets of 500 partitions."""

N = TypeVar("N")
P = TypeVar("P", bound=Structure)


async def long_answer(
    named: Sequence[N],
    name_of: Callable[[N], Hashable],
    tell: Callable[[N], Awaitable[P]],
    refuse: Callable[[N, KraftpyError], P],
    write: Callable[[P, bytearray], None],
    *,
    flexible: bool,
    has_throttle_time: bool = True,
) -> FrameParts:
    """The body of a response that is nothing but what is told of each of `named`, in their order."""
    encoded = bytearray(NO_THROTTLE if has_throttle_time else b"")
    encoded += count(len(named), flexible=flexible)
    repeats = Repeats()

    async def told(each: N) -> P:
        try:
            repeats.check(name_of(each), len(encoded))
        except InvalidRequestError as error:
            return refuse(each, error)
        return await tell(each)

    for first in range(0, len(named), TURN_NAMES):
        for result in await asyncio.gather(*map(told, named[first : first + TURN_NAMES])):
            write(result, encoded)
        await asyncio.sleep(0)
    if flexible:
        encoded += NO_TAGS
    return [encoded]
