"""Where the batches of a segment stand: a walk over their heads, which hold all that a search needs of them."""

from struct import Struct
from typing import NamedTuple

from kraftpy.errors import CorruptRecordError
from kraftpy.runtime.ports import File

SCAN_BYTES = 16 * 1024
BATCH_HEAD = Struct(">qi11xi")  # base offset, length, …, last offset delta
LENGTH_OVERHEAD = 12  # a batch's length field counts what follows it
MAX_TIMESTAMP_AT = 35  # eight bytes


class BatchPlace(NamedTuple):
    """Where a batch stands. `end_offset` is exclusive."""

    base_offset: int
    end_offset: int
    position: int
    size_bytes: int


class BatchPlaces:
    """Walks over batch heads, from a batch boundary to `end`; reads `SCAN_BYTES` at a time."""

    __slots__ = ("_end", "_file", "_position", "_window", "_window_start")

    def __init__(self, file: File, position: int, end: int) -> None:
        self._file = file
        self._position = position
        self._end = end
        self._window = b""
        self._window_start = position

    def __iter__(self) -> "BatchPlaces":
        return self

    def __next__(self) -> BatchPlace:
        position = self._position
        if position >= self._end:
            raise StopIteration
        at = position - self._window_start
        if at + BATCH_HEAD.size > len(self._window):
            self._window = self._file.read(min(SCAN_BYTES, self._end - position), position)
            self._window_start, at = position, 0
            if len(self._window) < BATCH_HEAD.size:
                raise CorruptRecordError(f"{self._file.path} ends inside a batch, at {position}")
        base_offset, length, delta = BATCH_HEAD.unpack_from(self._window, at)
        size_bytes = length + LENGTH_OVERHEAD
        if length <= 0 or delta < 0 or position + size_bytes > self._end:
            raise CorruptRecordError(f"{self._file.path} holds no batch at {position}")
        self._position = position + size_bytes
        return BatchPlace(base_offset, base_offset + delta + 1, position, size_bytes)
