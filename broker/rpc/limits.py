"""Bounds on what one call may ask, whatever its sizes fit into."""

import asyncio

from kraftpy.runtime.ports import BadRequest

ITEMS_MAX = 20_000
"""Partitions or topics that one call may name; answering costs about 10 µs each."""
WAIT_MAX_MS = 10 * 60 * 1000
"""Nobody waits longer, whatever they ask: an answer with nothing in it is a sign of life."""


def check_count(count: int, what: str) -> None:
    """Raises `BadRequest` where a call names too many."""
    if count > ITEMS_MAX:
        raise BadRequest(f"{count} {what} in one call; at most {ITEMS_MAX}")


class Occupied:
    """The bytes that calls of one kind hold in memory, all together."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.bytes = 0

    @property
    def room(self) -> int:
        """What may still come; 0 where there is more than should be."""
        return max(0, self._bytes_max - self.bytes)

    def take_for_this_call(self, size_bytes: int) -> None:
        """Until its task is over, and so its answer handed to the connection."""
        task = asyncio.current_task()
        assert task is not None
        self.take(size_bytes)
        task.add_done_callback(lambda _: self.give_back(size_bytes))

    def take(self, size_bytes: int) -> None:
        """Until `give_back`."""
        self.bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        self.bytes -= size_bytes
