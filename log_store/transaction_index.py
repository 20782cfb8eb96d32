"""The aborted transactions whose markers lie in one segment, in a file beside it: what committed readers must skip.

    00000000000000000042.txnindex    entries of 34 bytes, in the order of their markers; Kafka's format, version 0
    version int16 · producer id int64 · first offset int64 · marker's offset int64 · last stable offset int64

The last stable offset is that of the log once the marker was in it: every transaction that began below has its marker
no later. So a search may stop at the first entry whose last stable offset reaches the end of what is read.

Invariants: the file exists only where something was aborted, or where compaction has put an empty one; nothing of it is
kept in memory but its length. The file of a segment that recovery scans is made anew, so it need not be durable before
its segment is sealed.

Every method that touches the disk raises `OSError`.
"""

import errno
from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import NamedTuple, Protocol

from kraftpy.runtime.ports import Disk, File

VERSION = 0
ENTRY = Struct(">hqqqq")
WINDOW_BYTES = ENTRY.size * 1024


class Aborted(NamedTuple):
    """One aborted transaction: of whom, from its first record to its marker, both inclusive."""

    producer_id: int
    first_offset: int
    marker_offset: int
    last_stable_offset: int


class TransactionIndex:
    """That of one segment."""

    __slots__ = ("_count", "_disk", "_file", "_is_lost", "path")

    def __init__(self, disk: Disk, path: str) -> None:
        self.path = path
        self._disk = disk
        self._file: File | None = None
        self._count: int | None = None  # None: not looked at yet
        self._is_lost = False  # what a proof covers could not be read, and what follows is not written, either

    def __len__(self) -> int:
        if self._count is None:
            self._count = self._disk.size(self.path) // ENTRY.size if self._disk.exists(self.path) else 0
        return self._count

    def append(self, aborted: Aborted) -> None:
        """The newest one; its marker was just written to the segment."""
        count = len(self)
        if self._file is None:
            self._file = self._disk.open(self.path, create=True)
        self._file.write([ENTRY.pack(VERSION, *aborted)], count * ENTRY.size)
        self._count = count + 1

    def read_from(self, offset: int) -> Iterator[Aborted]:
        """Those whose markers stand at `offset` or behind it."""
        count = len(self)
        if not count:
            return
        file = self._opened()
        position, end = self._first_from(file, offset) * ENTRY.size, count * ENTRY.size
        while position < end:
            window = file.read(min(WINDOW_BYTES, end - position), position)
            if len(window) < ENTRY.size:
                return
            whole = len(window) - len(window) % ENTRY.size
            for _, *fields in ENTRY.iter_unpack(memoryview(window)[:whole]):
                yield Aborted._make(fields)
            position += whole

    def cut(self, end_offset: int) -> None:
        """Forget those whose markers stand at `end_offset` or behind it. Durable when the segment is sealed."""
        if len(self):
            file = self._opened()
            self._count = self._first_from(file, end_offset)
            file.truncate(self._count * ENTRY.size)

    def is_sound(self, base_offset: int, end_offset: int) -> bool:
        """Whether it can be the index of a segment of these offsets."""
        if self._is_lost or (self._disk.exists(self.path) and self._disk.size(self.path) % ENTRY.size):
            return False
        before = base_offset - 1
        try:
            for _, first_offset, marker_offset, stable_offset in self.read_from(-1):
                if not (before < marker_offset < end_offset and 0 <= first_offset < marker_offset):
                    return False
                if stable_offset > marker_offset + 1:
                    return False
                before = marker_offset
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False
        return True

    def replace(self, aborted: Iterable[Aborted]) -> None:
        """Make it hold exactly these, durably."""
        data = encode(aborted)
        self._file, self._count, self._is_lost = None, None, False
        if data:
            self._disk.write_atomically(self.path, data)
        elif self._disk.exists(self.path):
            self._disk.remove(self.path)

    def replace_after(self, proven: int, aborted: Sequence[Aborted]) -> None:
        """Keep what a proof at `proven` covers, whatever else the file holds, and let these follow, durably.

        Where a sector of it cannot be read, it is not sound until it is replaced as a whole.
        """
        try:
            data = self._disk.read_bytes(self.path) if self._disk.exists(self.path) else b""
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._is_lost = True
            return
        kept: list[Aborted] = []
        for _, *fields in ENTRY.iter_unpack(memoryview(data)[: len(data) - len(data) % ENTRY.size]):
            entry = Aborted._make(fields)
            if not (kept[-1].marker_offset if kept else -1) < entry.marker_offset < proven:
                break
            kept.append(entry)
        if aborted or len(kept) * ENTRY.size < len(data):
            self.replace([*kept, *aborted])

    def remove_if_empty(self) -> None:
        if not len(self) and self._disk.exists(self.path):
            self._file = None
            self._disk.remove(self.path)

    def release(self) -> None:
        """Give the descriptor back; the next use opens it again."""
        self._file = None

    def _opened(self) -> File:
        """For one look; only who appends keeps it open."""
        return self._disk.open(self.path) if self._file is None else self._file

    def _first_from(self, file: File, offset: int) -> int:
        """The number of the first entry whose marker stands at `offset` or behind it."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if _entry(file, middle).marker_offset < offset:
                low = middle + 1
            else:
                high = middle
        return low


class Indexed(Protocol):
    """A segment, as far as a search goes."""

    @property
    def base_offset(self) -> int: ...

    @property
    def transactions(self) -> TransactionIndex: ...


def _entry(file: File, number: int) -> Aborted:
    _, *fields = ENTRY.unpack(file.read(ENTRY.size, number * ENTRY.size))
    return Aborted._make(fields)


def encode(aborted: Iterable[Aborted]) -> bytes:
    """Entries as they stand in a file."""
    return b"".join(ENTRY.pack(VERSION, *each) for each in aborted)


def find_aborted(segments: Iterable[Indexed], offset: int, end_offset: int) -> list[Aborted]:
    """Those that have records, or could have, in `[offset, end_offset)`; `segments` begin with the one of `offset`."""
    found = []
    for segment in segments:
        if not len(segment.transactions):
            continue
        for aborted in segment.transactions.read_from(offset):
            if aborted.first_offset < end_offset:
                found.append(aborted)
            if aborted.last_stable_offset >= end_offset:
                return found
    return found
