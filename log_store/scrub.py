"""Checking one segment of a log, off the loop: what a job says of it, and what came of reading it again.

Every closed segment is read once an interval: a *pass* goes through a log from its start, segment by segment, and the
next one begins an interval after it began. What was closed meanwhile waits for that.

A job is a picture of the segment at one moment. Whoever gave it compares that with the log when the result comes: a
segment that was cut, compacted or deleted meanwhile says nothing.
"""

from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from kraftpy.runtime.limits import INT64_MAX
from kraftpy.runtime.ports import Disk
from log_store import offset_index, time_index
from log_store.integrity import (
    Check,
    Damage,
    Extent,
    Spend,
    index_damage,
    time_index_damage,
)
from log_store.leader_epochs import EpochStart
from log_store.segment_files import SegmentFiles, where_it_lies


@dataclass(frozen=True, slots=True)
class ScrubJob:
    """One segment, as its log knows it. Sizes are bytes; `epochs` are those of the whole log."""

    directory: str
    base_offset: int
    end_offset: int
    size_bytes: int
    index_bytes: int
    time_index_bytes: int
    epochs: tuple[EpochStart, ...]
    gaps: bool


class ScrubPass(NamedTuple):
    """How far a log was read again. `began_ms`: of the wall's clock, 0: never; `next_offset`: `PASS_IS_OVER`, or where
    it goes on."""

    began_ms: int
    next_offset: int


PASS_IS_OVER = INT64_MAX
NEVER_SCRUBBED = ScrubPass(0, PASS_IS_OVER)


def due_pass(scrubbed: ScrubPass, first_offset: int, now_ms: int, interval_ms: int) -> ScrubPass | None:
    """The pass that is under way, or a new one from `first_offset` on; None: not yet. Pure.

    A clock that was set back by more than an interval does not put it off.
    """
    if scrubbed.next_offset != PASS_IS_OVER:
        return scrubbed
    return ScrubPass(now_ms, first_offset) if abs(now_ms - scrubbed.began_ms) >= interval_ms else None


class Scrubbed(NamedTuple):
    """The result of a job."""

    bytes_read: int
    damages: tuple[Damage, ...]


def scrub(disk: Disk, job: ScrubJob, spend: Spend | None = None) -> Scrubbed:
    """Read the segment and its indexes. Blocks. Raises `OSError` where the failure is not one of reading."""
    files = SegmentFiles.of(job.directory, job.base_offset)
    damages: list[Damage] = []
    index = _entries(disk, files.offset_index, job.index_bytes, offset_index.ENTRY)
    times = _entries(disk, files.time_index, job.time_index_bytes, time_index.ENTRY)
    places = [] if isinstance(index, str) else [position for _, position in index]
    extent = Extent(0, job.size_bytes, job.base_offset, job.end_offset)
    try:
        file = where_it_lies(files.log, disk.open)
    except FileNotFoundError:
        return Scrubbed(0, (Damage(job.base_offset, job.end_offset, 0, job.size_bytes, "its file is gone"),))
    try:
        checked = Check(file, extent, job.epochs, gaps=job.gaps, places=places, spend=spend).run()
    finally:
        file.close()
    damages += checked.damages
    for name, why in (
        (files.offset_index, index if isinstance(index, str) else index_damage(index, job.base_offset, checked)),
        (
            files.time_index,
            times if isinstance(times, str) else time_index_damage(times, job.base_offset, job.end_offset),
        ),
    ):
        if why is not None and not damages:
            told = f"{name.rpartition('/')[2]}: {why}"
            damages.append(Damage(job.base_offset, job.end_offset, 0, job.size_bytes, told))
    return Scrubbed(job.size_bytes + job.index_bytes + job.time_index_bytes, tuple(damages))


def _entries(disk: Disk, path: str, size_bytes: int, entry: Struct) -> list[tuple[int, int]] | str:
    """The entries of an index, or why they cannot be read."""
    if not size_bytes:
        return []
    try:
        data = where_it_lies(path, disk.read_bytes)
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    if len(data) < size_bytes:
        return f"it has {len(data)} of its {size_bytes} bytes"
    return [(first, second) for first, second in entry.iter_unpack(data[:size_bytes])]
