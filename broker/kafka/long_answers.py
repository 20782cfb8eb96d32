"""Answers that list what each of many names stands for: looked up and written some at a time."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

from broker.kafka.schema import Structure
from broker.kafka.wire import NO_TAGS, NO_THROTTLE, count
from broker.rpc.many_names import told_in_turns
from kraftpy.errors import KraftpyError
from kraftpy.runtime.ports import FrameParts

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
    async for part in told_in_turns(named, name_of, tell, refuse, lambda: len(encoded)):
        write(part, encoded)
    if flexible:
        encoded += NO_TAGS
    return [encoded]
