"""What a cut leaves of the segment that it falls into: found by reading alone, before anything is changed."""

from typing import NamedTuple, Protocol

from kraftpy.runtime.ports import File
from log_store.batch_places import BatchPlace, BatchPlaces, youngest_between
from log_store.offset_index import OffsetIndex
from log_store.time_index import TimeIndex


class Cut(NamedTuple):
    """Where a cut falls in a segment, and what is true of it afterwards."""

    position: int
    end_offset: int
    max_timestamp_ms: int
    max_timestamp_offset: int


class Cuttable(Protocol):
    """A segment, as far as planning goes."""

    @property
    def base_offset(self) -> int: ...

    @property
    def index(self) -> OffsetIndex: ...

    @property
    def time_index(self) -> TimeIndex: ...

    def file(self) -> File: ...

    def position_of(self, end_offset: int) -> int: ...


def plan_cut(segment: Cuttable, end_offset: int) -> Cut:
    """What removing the batches that reach to `end_offset` or beyond comes to.

    Raises `OSError`, `CorruptRecordError`.
    """
    position = segment.position_of(end_offset)
    last = _last_before(segment, position)
    kept = segment.base_offset if last is None else last.end_offset
    youngest = segment.time_index.last_below(kept)
    start = segment.index.position_before(youngest.offset) if youngest.timestamp_ms >= 0 else 0
    return Cut(position, kept, *youngest_between(segment.file(), start, position, youngest))


def _last_before(segment: Cuttable, position: int) -> BatchPlace | None:
    """The batch that ends at `position`."""
    if not position:
        return None
    *_, last = BatchPlaces(segment.file(), segment.index.boundary_before(position - 1), position)
    return last
