"""What a cut leaves of the segment that it falls into: found by reading alone, before anything is changed."""

from typing import TYPE_CHECKING, NamedTuple

from kraftpy.runtime.ports import File
from log_store.batch_places import MAX_TIMESTAMP_AT, BatchPlace, BatchPlaces
from log_store.time_index import TimestampOffset

if TYPE_CHECKING:
    from log_store.segment import Segment


class Cut(NamedTuple):
    """Where a cut falls in a segment, and what is true of it afterwards."""

    position: int
    end_offset: int
    max_timestamp_ms: int
    max_timestamp_offset: int


def plan_cut(segment: "Segment", end_offset: int) -> Cut:
    """What removing the batches that reach to `end_offset` or beyond comes to.

    Raises `OSError`, `CorruptRecordError`.
    """
    position = segment.position_of(end_offset)
    last = _last_before(segment, position)
    kept = segment.base_offset if last is None else last.end_offset
    youngest = segment.time_index.last_below(kept)
    start = segment.index.position_before(youngest.offset) if youngest.timestamp_ms >= 0 else 0
    return Cut(position, kept, *_youngest_between(segment.file(), start, position, youngest))


def _last_before(segment: "Segment", position: int) -> BatchPlace | None:
    """The batch that ends at `position`."""
    if not position:
        return None
    *_, last = BatchPlaces(segment.file(), segment.index.boundary_before(position - 1), position)
    return last


def _youngest_between(file: File, position: int, end: int, youngest: TimestampOffset) -> TimestampOffset:
    """`youngest`, unless one of the batches in `[position, end)` is younger. Raises `OSError`, `CorruptRecordError`."""
    for place in BatchPlaces(file, position, end):
        timestamp_ms = int.from_bytes(file.read(8, place.position + MAX_TIMESTAMP_AT), "big", signed=True)
        if timestamp_ms > youngest.timestamp_ms:
            youngest = TimestampOffset(timestamp_ms, place.end_offset - 1)
    return youngest
