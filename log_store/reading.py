"""What a read gives, and the search by time: over segments, without a log's state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kraftpy.errors import InvalidRecordError
from kraftpy.record import BatchHeader, check_keys, decode_batch
from kraftpy.runtime.ports import File, FileSlice
from log_store.batch_scan import batch_headers
from log_store.integrity import Check, Damage, Extent
from log_store.leader_epochs import EpochStart
from log_store.segment import Segment


@dataclass(frozen=True, slots=True)
class Prefetch:
    """Blocking work for a disk thread, when it is called: brings what a read will want into the page cache, and gives
    what is wrong with it, for `Log.note_found`."""

    segment: Segment
    cuts: int  # of its log so far
    work: Callable[[], Sequence[Damage]]

    def __call__(self) -> Sequence[Damage]:
        return self.work()


class LogRead(NamedTuple):
    """Whole batches as they stand in a file. Empty where nothing may be read yet: then `next_offset` is what was asked.

    The first batch may start before the offset that was asked for; its reader skips what comes before.
    """

    base_offset: int
    slices: list[FileSlice]
    size_bytes: int
    next_offset: int


class FoundTime(NamedTuple):
    """A record found by its time."""

    offset: int
    timestamp_ms: int
    leader_epoch: int


def read_segment(
    segment: Segment, offset: int, bytes_max: int, end_offset: int, *, minimum_one: bool
) -> LogRead | None:
    """Batches of `segment` from the one that holds `offset`; None where all of them end before.

    Raises `OSError`, `CorruptRecordError`.
    """
    first = segment.find(offset)
    if first is None:
        return None
    if first.end_offset > end_offset or (first.size_bytes > bytes_max and not minimum_one):
        return LogRead(offset, [], 0, offset)
    position = first.position
    bound = segment.size_bytes if end_offset >= segment.end_offset else segment.position_of(end_offset)
    end, next_offset = segment.boundary(min(bound, position + bytes_max), first)
    length = end - position
    return LogRead(first.base_offset, [FileSlice(segment.file(), position, length)], length, next_offset)


def read_ahead(
    file: File, length: int, position: int, segment: Segment, epochs: Sequence[EpochStart], cuts: int, *, gaps: bool
) -> Prefetch:
    """Read a range, which begins with a batch, and drop it: the page cache has it afterwards, and it was checked.

    What comes from the device is what may have changed there; sendfile, which follows, would not look at it.
    """
    extent = Extent(position, segment.size_bytes, None, segment.end_offset)

    def work() -> Sequence[Damage]:
        return Check(file, extent, epochs, gaps=gaps).run(until=position + length).damages

    return Prefetch(segment, cuts, work)


def find_time(segments: Sequence[Segment], timestamp_ms: int, start_offset: int, end_offset: int) -> FoundTime | None:
    """The first record in `[start_offset, end_offset)` that is not older than `timestamp_ms`.

    Opens the records of one batch, unless they are more than a broker opens at once. Raises `OSError`,
    `CorruptRecordError`.
    """
    for segment in segments:
        if segment.base_offset >= end_offset:
            break
        if segment.end_offset > start_offset and segment.youngest_ms() >= timestamp_ms:
            found = _find_time_in(segment, timestamp_ms, start_offset)
            if found is not None:
                return found if found.offset < end_offset else None
    return None


def _find_time_in(segment: Segment, timestamp_ms: int, start_offset: int) -> FoundTime | None:
    # Up to this entry's offset everything is older, or as old; its own batch may hold the first that is as old.
    after = max(segment.time_index.before(timestamp_ms - 1).offset, start_offset)
    file = segment.file()
    for batch in batch_headers(file, segment.index.position_before(after), segment.size_bytes):
        header = batch.header
        if header.max_timestamp >= timestamp_ms and header.end_offset > start_offset:
            found = _find_time_among(header, file.read(header.size_bytes, batch.position), timestamp_ms, start_offset)
            if found is not None:
                return found
    return None


def _find_time_among(header: BatchHeader, data: bytes, timestamp_ms: int, start_offset: int) -> FoundTime | None:
    """In a batch that is too large to be opened, the beginning of it."""
    try:
        check_keys(header, data)
    except InvalidRecordError:
        return FoundTime(max(header.base_offset, start_offset), header.max_timestamp, header.leader_epoch)
    for record in decode_batch(data):
        if record.timestamp_ms >= timestamp_ms and record.offset >= start_offset:
            return FoundTime(record.offset, record.timestamp_ms, header.leader_epoch)
    return None
