"""The order of a connection's answers, for handlers whose answer should be of the moment in which it leaves.

Handlers of one connection run at once, and their answers leave in the order of the requests. So an answer that is there
early may wait for one before it, for as long as a Produce with acks=all waits for a replica that has just died, and
what it says of the cluster is then of before that.
"""

import asyncio


class Turns:
    """Those of one connection. A request is given a number when it arrives, and gives it back when it is answered."""

    __slots__ = ("_last", "_news", "_unanswered")

    def __init__(self) -> None:
        self._last = 0
        self._unanswered: dict[int, None] = {}  # in the order of the requests
        self._news: asyncio.Event | None = None  # there once somebody has waited

    def arrived(self) -> int:
        self._last += 1
        self._unanswered[self._last] = None
        return self._last

    def answered(self, number: int) -> None:
        del self._unanswered[number]
        if self._news is not None:
            self._news.set()

    async def wait(self, number: int) -> None:
        """Return when every request before that one is answered."""
        while next(iter(self._unanswered)) != number:
            if self._news is None or self._news.is_set():
                self._news = asyncio.Event()
            await self._news.wait()
