"""When each open transaction has to end: a heap of times, at most one that counts for each transactional id. Pure.

Times are of the monotonic clock, in milliseconds.
"""

from heapq import heapify, heappop, heappush

_STALE_MAX = 1_000


class Deadlines:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._due_ms: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []  # with some that no longer count

    def __contains__(self, transactional_id: str) -> bool:
        return transactional_id in self._due_ms

    def set(self, transactional_id: str, due_ms: int) -> None:
        """In place of any other."""
        if self._due_ms.get(transactional_id) == due_ms:
            return
        self._due_ms[transactional_id] = due_ms
        heappush(self._heap, (due_ms, transactional_id))
        if len(self._heap) > 2 * len(self._due_ms) + _STALE_MAX:
            self._heap = [(due, each) for each, due in self._due_ms.items()]
            heapify(self._heap)

    def clear(self, transactional_id: str) -> None:
        self._due_ms.pop(transactional_id, None)

    def next_ms(self) -> int | None:
        """The first of all."""
        while self._heap:
            due_ms, transactional_id = self._heap[0]
            if self._due_ms.get(transactional_id) == due_ms:
                return due_ms
            heappop(self._heap)
        return None

    def due(self, now_ms: int) -> str | None:
        """The id that is due first; it stays due until it is set anew or cleared."""
        first_ms = self.next_ms()
        return None if first_ms is None or first_ms > now_ms else self._heap[0][1]
