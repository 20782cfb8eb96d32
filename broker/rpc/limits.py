"""Bounds on what one call may ask, whatever its sizes fit into."""

import asyncio
from collections.abc import Hashable

from kraftpy.errors import InvalidRequestError
from kraftpy.runtime.ports import BadRequest

ITEMS_MAX = 20_000
"""Partitions or topics that one call may name; answering costs about 10 µs each."""
REPEATED_BYTES_MAX = 4 * 1024 * 1024
"""Of an answer up to which a name that comes again is told again, as Kafka does without end."""
WAIT_MAX_MS = 10 * 60 * 1000
"""Nobody waits longer, whatever they ask: an answer with nothing in it is a sign of life."""


def check_count(count: int, what: str) -> None:
    """Raises `BadRequest` where a call names too many."""
    if count > ITEMS_MAX:
        raise BadRequest(f"{count} {what} in one call; at most {ITEMS_MAX}")


class Repeats:
    """Names that one call gives more than once: told again in a small answer, and refused in a large one.

    So that an answer grows with what there is, and not with how often a few bytes ask for it.
    """

    def __init__(self) -> None:
        self._named: set[Hashable] = set()

    def check(self, name: Hashable, answer_bytes: int) -> None:
        """Raises `InvalidRequestError` where `name` was named before, and `answer_bytes` are too many for that."""
        if name in self._named and answer_bytes > REPEATED_BYTES_MAX:
            raise InvalidRequestError("the request names this more than once, and the answer is large")
        self._named.add(name)


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
