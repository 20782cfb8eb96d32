"""`.timeindex`: from timestamps to offsets in a segment, sparse, in Kafka's format.

An entry (timestamp: int64, offset − base offset: int32) says that no record up to the batch which ends with `offset` is
younger than `timestamp`. Both fields ascend; the last entry of a closed segment holds its youngest timestamp.
"""

from struct import Struct
from typing import NamedTuple

from kraftpy.runtime.limits import INT64_MAX
from kraftpy.runtime.ports import Disk
from log_store.mapped_entries import MappedEntries

ENTRY = Struct(">qi")
NO_TIMESTAMP = -1

_TIMESTAMP, _OFFSET = 0, 1


class TimestampOffset(NamedTuple):
    timestamp_ms: int
    offset: int


class TimeIndex:
    """The time index of one segment."""

    __slots__ = ("base_offset", "entries")

    def __init__(self, disk: Disk, path: str, base_offset: int, *, size_bytes: int, bytes_max: int) -> None:
        self.base_offset = base_offset
        self.entries = MappedEntries(disk, path, ENTRY, size_bytes // ENTRY.size, bytes_max)

    def append_if_younger(self, timestamp_ms: int, offset: int) -> None:
        """Nothing up to `offset` is younger than `timestamp_ms`; ignored where the last entry says the same."""
        if timestamp_ms > self.last().timestamp_ms:
            self.entries.append(timestamp_ms, offset - self.base_offset)

    def append_last(self, timestamp_ms: int, offset: int) -> None:
        """The same, for a segment that is sealed: no room is needed after it. Raises `OSError`."""
        self.entries.append_last(timestamp_ms, offset - self.base_offset)

    def before(self, timestamp_ms: int) -> TimestampOffset:
        """The last entry that is not younger than `timestamp_ms`; (-1, base offset) where there is none."""
        found = self.entries.last_not_above(_TIMESTAMP, timestamp_ms)
        return self._told(self.entries.get(found) if found >= 0 else None)

    def last(self) -> TimestampOffset:
        return self._told(self.entries.last())

    def last_below(self, end_offset: int) -> TimestampOffset:
        """The last entry about offsets below `end_offset` alone."""
        found = self.entries.last_not_above(_OFFSET, end_offset - self.base_offset - 1)
        return self._told(self.entries.get(found) if found >= 0 else None)

    def cut(self, end_offset: int) -> None:
        """Forget what was said up to `end_offset` or beyond."""
        self.entries.cut(self.entries.last_not_above(_OFFSET, end_offset - self.base_offset - 1) + 1)

    def cut_to_proof(self, end_offset: int) -> None:
        """Keep what a proof at `end_offset` covers, whatever else the file holds. Raises `OSError`."""
        self.entries.cut_to_ascending((0, -1), (INT64_MAX, end_offset - self.base_offset - 1))

    def _told(self, entry: tuple[int, ...] | None) -> TimestampOffset:
        if entry is None:
            return TimestampOffset(NO_TIMESTAMP, self.base_offset)
        timestamp_ms, relative = entry
        return TimestampOffset(timestamp_ms, self.base_offset + relative)
