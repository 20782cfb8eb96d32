"""Which segments of a log directory hold descriptors and mappings: the least recently used ones give theirs back.

A segment that is in use needs up to three descriptors (its file, and one for each mapped index). Thousands of idle
partitions need none. Giving back is forgetting: a file that is still being sent to a reader stays open until that
reader drops it.
"""

from collections import OrderedDict
from typing import Protocol

OPEN_SEGMENTS_MAX = 250
"""Fits into the 1,024 descriptors that a process usually gets, with room for connections. A node that may have more
should use them: opening a segment again costs about 40 µs."""


class Releasable(Protocol):
    def release(self) -> None:
        """Drop descriptors and mappings; the next use opens them again."""


class OpenSegments:
    """Least-recently-used order over what is open."""

    __slots__ = ("_latest", "_open", "limit")

    def __init__(self, limit: int = OPEN_SEGMENTS_MAX) -> None:
        assert limit > 0
        self.limit = limit
        self._open: OrderedDict[Releasable, None] = OrderedDict()  # by identity
        self._latest: Releasable | None = None

    def __len__(self) -> int:
        return len(self._open)

    def touch(self, segment: Releasable) -> None:
        """`segment` is about to be used."""
        if segment is self._latest:
            return
        self._latest = segment
        self._open[segment] = None
        self._open.move_to_end(segment)
        if len(self._open) > self.limit:
            self._open.popitem(last=False)[0].release()

    def forget(self, segment: Releasable) -> None:
        """`segment` is closed or deleted."""
        if self._open.pop(segment, self) is None:
            segment.release()
        if self._latest is segment:
            self._latest = None
