"""A file of fixed-size entries, mapped and written in place: what the two indexes of a segment are made of.

Invariants:
- `count` entries are valid. What lies behind them is reserved room (zeros) or was cut off, and is never read.
- Room is reserved before it is mapped, so a full disk is an `OSError` and never a signal; and a file is never made
  shorter while it is mapped.
- Nothing keeps a slice of the mapping, so it may be released at any time between two calls.
- A file is read before it is mapped for the first time: a sector that cannot be read is an `OSError` then, where the
  mapping would kill the process. One that goes bad later may still do that.

Not durable by itself: an index is rebuilt from its segment wherever a crash may have touched it.
"""

import errno
from collections.abc import Sequence
from struct import Struct

from kraftpy.runtime.ports import Disk, File, MappedRange
from log_store.room import Room

RESERVE_FIRST_BYTES = 4096


class MappedEntries:
    """The entries of one index file; the file exists once there is an entry."""

    __slots__ = (
        "_capacity",
        "_disk",
        "_format",
        "_is_readable",
        "_map",
        "_view",
        "count",
        "entries_max",
        "path",
        "room",
    )

    def __init__(self, disk: Disk, path: str, entry: Struct, count: int, bytes_max: int) -> None:
        self.path = path
        self.count = count
        self.entries_max = bytes_max // entry.size
        self._disk = disk
        self._format = entry
        self.room = Room(disk, path, count * entry.size)
        self._capacity = count  # entries that are mapped, or would be: for those there is room
        self._map: MappedRange | None = None
        self._view = memoryview(b"")
        self._is_readable = count == 0  # all of it, as far as it was there when it was opened

    @property
    def first_bytes(self) -> int:
        """The room that the first entry takes."""
        return RESERVE_FIRST_BYTES // self._format.size * self._format.size

    @property
    def size_bytes(self) -> int:
        return self.count * self._format.size

    @property
    def is_trimmed(self) -> bool:
        """Whether the file is no longer than its entries."""
        return self.room.length_bytes == self.size_bytes

    def reserve(self, entries: int) -> None:
        """Make room, so that so many appends cannot fail. Raises `OSError`."""
        needed = self.count + entries
        if needed <= self._capacity:
            return
        entry_bytes = self._format.size
        if needed * entry_bytes > self.room.length_bytes:
            wanted = max(RESERVE_FIRST_BYTES // entry_bytes, min(self._capacity * 2, self.entries_max), needed)
            self.room.take(wanted * entry_bytes)
        self.release()
        self._capacity = self.room.length_bytes // entry_bytes

    def want_room(self) -> bool:
        """Where half of the room is used, let a flush make more; whether it has to be told."""
        size_bytes, length_bytes = self.size_bytes, self.room.length_bytes
        most_bytes = self.entries_max * self._format.size
        if size_bytes * 2 <= length_bytes or length_bytes >= most_bytes:
            return False
        return self.room.want(min(length_bytes * 2, most_bytes))

    def give_room_back(self) -> bool:
        """As `trim`, but let a flush do it; whether it has to be told."""
        self.release()
        self._capacity = self.count
        return self.room.want(self.size_bytes)

    def append(self, *fields: int) -> None:
        """Add an entry, for which room was reserved."""
        assert self.count < self._capacity
        view = self._view if self._map is not None else self._mapped()
        self._format.pack_into(view, self.count * self._format.size, *fields)
        self.count += 1

    def append_last(self, *fields: int) -> None:
        """Add an entry after which no more are expected: room for it alone. Raises `OSError`."""
        if self.count < self._capacity or self.size_bytes + self._format.size <= self.room.length_bytes:
            self.reserve(1)
            self.append(*fields)
            return
        self.release()
        file = self._disk.open(self.path, create=True)
        try:
            file.write([self._format.pack(*fields)], self.size_bytes)
        finally:
            file.close()
        self.count = self._capacity = self.count + 1
        self.room.length_bytes = self.size_bytes

    def get(self, number: int) -> tuple[int, ...]:
        assert 0 <= number < self.count
        view = self._view if self._map is not None else self._mapped()
        return self._format.unpack_from(view, number * self._format.size)

    def last(self) -> tuple[int, ...] | None:
        """The last entry, for which alone the file is not mapped: of thousands of segments it is all that is asked.

        Raises `OSError`.
        """
        if not self.count or self._map is not None:
            return self.get(self.count - 1) if self.count else None
        file = self._disk.open(self.path)
        try:
            return self._format.unpack(self._read(file, self.count - 1, self.count))
        finally:
            file.close()

    def last_not_above(self, field: int, limit: int) -> int:
        """The number of the last entry whose `field` is ≤ `limit` (they ascend in every field); -1: none."""
        low, high = 0, self.count
        if not high:
            return -1
        view = self._view if self._map is not None else self._mapped()
        unpack, size = self._format.unpack_from, self._format.size
        while low < high:
            middle = (low + high) // 2
            if unpack(view, middle * size)[field] <= limit:
                low = middle + 1
            else:
                high = middle
        return low - 1

    def cut(self, count: int) -> None:
        """Forget all entries from number `count` on, and overwrite them: what a later proof covers holds no old ones.

        Maps the file only where there is something to overwrite.
        """
        assert 0 <= count <= self.count
        self.room.keep()
        if count < self.count:
            size = self._format.size
            view = self._view if self._map is not None else self._mapped()
            stale = view[count * size : self.count * size]
            if any(stale):
                stale[:] = bytes(len(stale))
            stale.release()
            self.count = count

    def cut_to_ascending(self, above: Sequence[int], limits: Sequence[int]) -> None:
        """Keep the first entries, as long as every field ascends, from `above` on, and does not exceed its limit.

        For a file of which only so much is known to be as it was written; the rest may be of any age.
        """
        data = self._disk.read_bytes(self.path) if self.count else b""
        last, kept = tuple(above), 0
        for entry in self._format.iter_unpack(data[: self.count * self._format.size]):
            if not all(low < field <= limit for low, field, limit in zip(last, entry, limits, strict=True)):
                break
            last, kept = entry, kept + 1
        self.cut(kept)

    def release(self) -> None:
        """Give mapping and descriptor back; the next use maps again."""
        if self._map is not None:
            self._map.close()
            self._map = None
            self._view = memoryview(b"")

    def trim(self) -> None:
        """Shorten the file to its entries: Kafka's tools expect no zeros at the end of a closed one.

        A file that is as it was found is not touched, so that what was proven durable stays so.
        """
        if self.is_trimmed:
            self.room.keep()
            return
        self.release()
        self.room.cut(self.size_bytes)
        self._capacity = self.count

    def clear(self) -> None:
        """Forget all entries and remove the file."""
        self.release()
        if self._disk.exists(self.path):
            self._disk.remove(self.path)
        self.count = self._capacity = self.room.length_bytes = 0

    def _mapped(self) -> memoryview:
        file = self._disk.open(self.path)
        try:
            if not self._is_readable:
                self._read(file, 0, self._capacity)
                self._is_readable = True
            self._map = file.map(self._capacity * self._format.size, writable=True)
        finally:
            file.close()
        self._view = self._map.view
        return self._view

    def _read(self, file: File, first: int, end: int) -> bytes:
        """The entries `[first, end)`, or the room for them. Raises `OSError`."""
        size_bytes = (end - first) * self._format.size
        data = file.read(size_bytes, first * self._format.size)
        if len(data) < size_bytes:
            raise OSError(errno.EIO, "the file ends before its entries do", self.path)
        return data
