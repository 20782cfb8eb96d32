"""The room of a segment's three files: the batches and their two indexes (`room` says what that is).

Room is reserved in chunks that grow with the segment: an idle partition holds 64 KiB, a busy one asks the file system
once in 8 MiB; and so that the loop need not, the next chunk is wanted while half of the last one is still there.
"""

from collections.abc import Sequence

from log_store.mapped_entries import MappedEntries
from log_store.room import Room

RESERVE_FIRST_BYTES = 64 * 1024
RESERVE_MOST_BYTES = 8 * 1024 * 1024
"""Recovery reads what is reserved to the end: with the next chunk, up to one and a half of this."""

FILLING_UP = 0.75
"""From this share of `segment_bytes` on the files of the next segment are worth their room."""


class SegmentRoom:
    """That of one segment."""

    __slots__ = ("_indexes", "batches")

    def __init__(self, batches: Room, index: MappedEntries, time_index: MappedEntries) -> None:
        self.batches = batches
        self._indexes = (index, time_index)

    @property
    def _all(self) -> tuple[Room, ...]:
        index, time_index = self._indexes
        return self.batches, index.room, time_index.room

    def is_exact(self, size_bytes: int) -> bool:
        """Whether no file is longer than what it holds; the batches are so many bytes."""
        return self.batches.length_bytes == size_bytes and all(entries.is_trimmed for entries in self._indexes)

    def reserve(self, needed_bytes: int, segment_bytes: int) -> None:
        """For batches, now. Raises `OSError`."""
        reserved = self.batches.length_bytes
        chunk = min(max(reserved, RESERVE_FIRST_BYTES), RESERVE_MOST_BYTES)
        begun = reserved if needed_bytes <= reserved + chunk else needed_bytes
        self.batches.take(max(needed_bytes, min(begun + chunk, segment_bytes)))

    def reserve_entries(self, count: int) -> None:
        """For so many in each index, now. Raises `OSError`."""
        index, time_index = self._indexes
        index.reserve(count)
        time_index.reserve(count + 1)  # one more for sealing

    def look_ahead(self, size_bytes: int, segment_bytes: int) -> list[Room]:
        """Want what will be needed soon, of a segment that is appended to: what a flush has to be told of."""
        reserved = self.batches.length_bytes
        chunk = min(reserved, RESERVE_MOST_BYTES)
        wanting = [entries.room for entries in self._indexes if entries.want_room()]
        is_short = reserved - size_bytes < chunk // 2 and reserved < segment_bytes
        if is_short and self.batches.want(min(reserved + chunk, segment_bytes)):
            wanting.append(self.batches)
        return wanting

    def next_lengths(self, segment_bytes: int) -> tuple[int, int, int]:
        """What the files of the next segment should begin with: indexes as long as these have become."""
        index, time_index = (entries.room.length_bytes or entries.first_bytes for entries in self._indexes)
        return min(RESERVE_MOST_BYTES, segment_bytes), index, time_index

    def adopt(self, lengths: Sequence[int]) -> None:
        """The files of a new segment are there, and this long."""
        for room, length_bytes in zip(self._all, lengths, strict=True):
            room.length_bytes = length_bytes

    def give_back(self, size_bytes: int) -> list[Room]:
        """Want the files to be no longer than what they hold: what a flush has to be told of."""
        wanting = [entries.room for entries in self._indexes if entries.give_room_back()]
        return [*wanting, self.batches] if self.batches.want(size_bytes) else wanting

    def trim(self, size_bytes: int) -> None:
        """Shorten the files to what they hold, now. Raises `OSError`."""
        if self.batches.length_bytes > size_bytes:
            self.batches.cut(size_bytes)
        else:
            self.batches.keep()
        for entries in self._indexes:
            entries.trim()

    def keep(self) -> None:
        """Nothing is wanted any more: the files are about to lose their names."""
        for room in self._all:
            room.keep()
