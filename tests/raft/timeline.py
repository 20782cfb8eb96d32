"""Time as a heap of actions, and the trace of what happened in it: a seed is a history."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random
from zlib import crc32

from tests.raft.invariants import Violation


class Timeline:
    """`trace`, if given, collects every line noted; `trace_digest` stands for them all."""

    def __init__(self, seed: int, trace: list[str] | None) -> None:
        self.random = Random(seed)
        self.now_ms = 0
        self.trace = trace
        self.trace_digest = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        heappush(self._heap, (self.now_ms + delay_ms, next(self._order), action))

    def run(self, duration_ms: int, events_max: int = 200_000) -> None:
        until_ms = self.now_ms + duration_ms
        for _ in range(events_max):
            if not self._heap or self._heap[0][0] > until_ms:
                self.now_ms = until_ms
                return
            self.now_ms, _, action = heappop(self._heap)
            action()
        raise Violation(f"livelock: {events_max} events in {duration_ms} ms")

    def note(self, line: str) -> None:
        text = f"{self.now_ms:6d} {line}"
        self.trace_digest = crc32(text.encode(), self.trace_digest)
        if self.trace is not None:
            self.trace.append(text)
