"""Bringing into the page cache what a search by time reads, on a disk thread: the search itself is the loop's.

It reads the ends of time indexes until one is young enough, then that segment's indexes, and batches from where these
lead. Of a log that nobody has searched since the start all of it may be on the device alone.
"""

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import NamedTuple

from kraftpy.runtime.ports import Disk
from log_store import offset_index, time_index
from log_store.segment import Segment
from log_store.segment_files import SegmentFiles

BATCHES_BYTES = 1024 * 1024


class _Cold(NamedTuple):
    """What a disk thread has to know of a segment, which the loop goes on using."""

    files: SegmentFiles
    size_bytes: int
    index_bytes: int
    time_index_bytes: int
    youngest_ms: int | None  # None: nobody has looked


def warm_for_time(disk: Disk, segments: Iterable[Segment], timestamp_ms: int | None) -> Callable[[], None]:
    """Blocking work. `timestamp_ms` None: the youngest of all is wanted. What fails is left to the search to tell."""
    cold = [
        _Cold(
            each.files,
            each.size_bytes,
            each.index.entries.size_bytes,
            each.time_index.entries.size_bytes,
            each.max_timestamp_ms,
        )
        for each in segments
    ]

    def warm() -> None:
        try:
            for each in cold:
                youngest_ms = _youngest(disk, each) if each.youngest_ms is None else each.youngest_ms
                if timestamp_ms is not None and youngest_ms >= timestamp_ms:
                    _warm_batches(disk, each, timestamp_ms)
                    return
        except OSError:
            pass  # also where retention has taken a segment meanwhile

    return warm


def _youngest(disk: Disk, cold: _Cold) -> int:
    size = time_index.ENTRY.size
    data = _read(disk, cold.files.time_index, size, cold.time_index_bytes - size) if cold.time_index_bytes else b""
    return int(time_index.ENTRY.unpack(data)[0]) if len(data) == size else time_index.NO_TIMESTAMP


def _warm_batches(disk: Disk, cold: _Cold, timestamp_ms: int) -> None:
    """The two indexes, and the batches behind the entry that the search will choose."""
    times = _read(disk, cold.files.time_index, cold.time_index_bytes, 0)
    places = _read(disk, cold.files.offset_index, cold.index_bytes, 0)
    before = [offset for at_ms, offset in time_index.ENTRY.iter_unpack(times) if at_ms < timestamp_ms]
    from_offset = before[-1] if before else 0
    at = [position for offset, position in offset_index.ENTRY.iter_unpack(places) if offset <= from_offset]
    position = at[-1] if at else 0
    _read(disk, cold.files.log, min(BATCHES_BYTES, cold.size_bytes - position), position)


def _read(disk: Disk, path: str, length: int, position: int) -> bytes:
    if length <= 0:
        return b""
    with closing(disk.open(path)) as file:
        return file.read(length, position)
