"""Whose turn a callback is: lanes, and the handles and tasks that know theirs.

A lane is one life of one node. It is found through a context variable, which tasks hand on to what they start. What
lanes may do, and in which order, is the loop's matter (`loop`).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any, TypeVar

T = TypeVar("T")


class Lane:
    """One life of one node as the loop sees it: its callbacks, its tasks, and whether it may run."""

    __slots__ = (
        "base_us",
        "context",
        "dead",
        "index",
        "late",
        "name",
        "origin_us",
        "paused",
        "queued",
        "rate",
        "ready",
        "tasks",
        "tasks_prune_at",
    )

    def __init__(self, name: str, index: int) -> None:
        self.name = name
        self.index = index
        self.ready: deque[Handle] = deque()
        self.late: list[Handle] = []  # timers that fell due during a pause
        self.queued = False
        self.paused = False
        self.dead = False
        self.tasks: list[Task[Any]] = []  # in order of creation; done ones are pruned now and then
        self.tasks_prune_at = 64
        # Local time is base_us + (now - origin_us) * rate: how fast this node's clock runs.
        self.rate = 1.0
        self.origin_us = 0
        self.base_us = 0.0
        self.context = Context()
        self.context.run(LANE.set, self)

    def __repr__(self) -> str:
        return f"<Lane {self.name}{' dead' if self.dead else ' paused' if self.paused else ''}>"


LANE: ContextVar[Lane | None] = ContextVar("simulation_lane", default=None)


class Handle:
    """A scheduled callback that knows its lane. One class serves `call_soon` and timers.

    To its users it is an `asyncio.TimerHandle`, of which it has what is used: hundreds of thousands are made a virtual
    minute, and one of asyncio's takes twice as long to make.
    """

    __slots__ = ("_args", "_callback", "_cancelled", "_context", "lane")
    _callback: Callable[..., object] | None
    _args: Any

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context, lane: Lane) -> None:
        self._callback = callback
        self._args = args
        self._context = context
        self._cancelled = False
        self.lane = lane

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = None
        self._args = None

    def cancelled(self) -> bool:
        return self._cancelled


class Task(asyncio.Task[T]):
    """A task whose hash is its number, so that even a set of tasks (asyncio keeps some) is walked in one order."""

    def __init__(self, coro: Coroutine[Any, Any, T], *, lane: Lane, number: int, **options: Any) -> None:
        self.lane = lane
        self.number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.number
