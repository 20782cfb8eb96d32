"""Reading a segment file from front to back, for recovery and for searches that indexes cannot answer.

By `pread` in large pieces and not through a mapping: a sector that cannot be read is then an `OSError`, where a mapping
would kill the process, and a thread that waits for the device does not hold the interpreter lock.
"""

from collections.abc import Iterator
from typing import NamedTuple

from kraftpy.errors import CorruptRecordError
from kraftpy.record import DAMAGED, HEADER_BYTES, BatchHeader, check_batch, read_header
from kraftpy.runtime.ports import File

WINDOW_BYTES = 1024 * 1024
HEADER_WINDOW_BYTES = 16 * 1024
BATCH_BYTES_MAX = 2**31 - 1


class ScannedBatch(NamedTuple):
    position: int
    header: BatchHeader
    data: memoryview  # the whole batch; only its first bytes where headers alone were asked for


def intact_batches(file: File, position: int, end: int, *, compacted: bool) -> Iterator[ScannedBatch]:
    """Every batch from `position` on, checked by CRC, up to the first that is damaged or cut off. Raises `OSError`."""
    window, start = memoryview(b""), position
    while end - position >= HEADER_BYTES:
        at = position - start
        needed = _needed_bytes(window, at)
        if at + needed > len(window):
            window, start, at = (
                memoryview(file.read(min(max(needed, WINDOW_BYTES), end - position), position)),
                position,
                0,
            )
            needed = _needed_bytes(window, 0)
            if needed > len(window):
                if needed > end - position:
                    return  # cut off, or no length at all
                window = memoryview(file.read(needed, position))
        try:
            header = check_batch(window, at, compacted=compacted)
        except DAMAGED:
            return
        yield ScannedBatch(position, header, window[at : at + header.size_bytes])
        position += header.size_bytes


def _needed_bytes(window: memoryview, at: int) -> int:
    """How many bytes the batch at `at` takes, as far as the window can tell."""
    if at + HEADER_BYTES > len(window):
        return HEADER_BYTES
    return max(int.from_bytes(window[at + 8 : at + 12], "big", signed=True) + 12, HEADER_BYTES)


def batch_headers(file: File, position: int, end: int) -> Iterator[ScannedBatch]:
    """The header of every batch from `position` on; nothing else is checked. Raises `OSError`, `CorruptRecordError`."""
    window, start = memoryview(b""), position
    while position < end:
        at = position - start
        if at + HEADER_BYTES > len(window):
            window = memoryview(file.read(min(HEADER_WINDOW_BYTES, end - position), position))
            start, at = position, 0
        header = read_header(window, at)
        if position + header.size_bytes > end:
            raise CorruptRecordError(f"the batch at {position} of {file.path} reaches beyond its segment")
        yield ScannedBatch(position, header, window[at : at + header.size_bytes])
        position += header.size_bytes


def is_zeros(file: File, position: int, end: int) -> bool:
    """Whether nothing was ever written there: reserved room, not a torn batch."""
    while position < end:
        data = file.read(min(WINDOW_BYTES, end - position), position)
        if not data or data.count(0) != len(data):
            return not data
        position += len(data)
    return True
