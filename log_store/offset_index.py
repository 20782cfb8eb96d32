"""`.index`: from offsets to positions in a segment, sparse, in Kafka's format.

An entry (offset − base offset: int32, position: int32) says that the batch at `position` ends with `offset`. One is
made for the first batch after each `index_interval_bytes`; so a search finds a place at or before the wanted batch,
and the scan from there is short. Both fields ascend.
"""

from struct import Struct

from kraftpy.runtime.limits import INT32_MAX
from kraftpy.runtime.ports import Disk
from log_store.mapped_entries import MappedEntries

ENTRY = Struct(">ii")

_OFFSET, _POSITION = 0, 1


class OffsetIndex:
    """The offset index of one segment."""

    __slots__ = ("base_offset", "entries")

    def __init__(self, disk: Disk, path: str, base_offset: int, *, size_bytes: int, bytes_max: int) -> None:
        self.base_offset = base_offset
        self.entries = MappedEntries(disk, path, ENTRY, size_bytes // ENTRY.size, bytes_max)

    def append(self, last_offset: int, position: int) -> None:
        """The batch at `position` ends with `last_offset`."""
        self.entries.append(last_offset - self.base_offset, position)

    def position_before(self, offset: int) -> int:
        """A batch's position at or before the batch that holds `offset`."""
        found = self.entries.last_not_above(_OFFSET, min(offset - self.base_offset, INT32_MAX))
        return self.entries.get(found)[_POSITION] if found >= 0 else 0

    def boundary_before(self, position: int) -> int:
        """The highest batch position at or below `position` that the index knows; 0 is always one."""
        found = self.entries.last_not_above(_POSITION, min(position, INT32_MAX))
        return self.entries.get(found)[_POSITION] if found >= 0 else 0

    def cut(self, end_offset: int) -> None:
        """Forget what points to batches that reach to `end_offset` or beyond."""
        self.entries.cut(self.entries.last_not_above(_OFFSET, end_offset - self.base_offset - 1) + 1)

    def cut_to_proof(self, end_offset: int) -> None:
        """Keep what a proof at `end_offset` covers, whatever else the file holds. Raises `OSError`."""
        self.entries.cut_to_ascending((-1, 0), (end_offset - self.base_offset - 1, INT32_MAX))

    def last_position(self) -> int:
        """Where the last entry points; 0 without one. Raises `OSError`."""
        last = self.entries.last()
        return 0 if last is None else last[_POSITION]

    def last_offset(self) -> int | None:
        """The last offset of the batch there; None without an entry. Raises `OSError`."""
        last = self.entries.last()
        return None if last is None else self.base_offset + last[_OFFSET]
