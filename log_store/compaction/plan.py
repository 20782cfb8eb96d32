"""Which closed segments of a log are to be cleaned, whether it is time, and which of them fit into one file. Pure.

    [ clean | dirty          | too young, undecided or not yet durable | active ]
            first dirty      end

The clean part went through compaction before; it is read again, because its records may be older than dirty ones. The
share of dirty bytes decides when that is worth it, unless a record has waited too long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kraftpy.runtime.limits import INT32_MAX, INT64_MAX
from log_store.config import LogConfig


class SegmentState(NamedTuple):
    """What a plan needs to know of one segment. `end_offset` is where the next one begins."""

    base_offset: int
    end_offset: int
    size_bytes: int
    max_timestamp_ms: int  # where its records have none: when it was begun
    first_timestamp_ms: int  # of its first batch; where that has none: when it was begun


@dataclass(frozen=True, slots=True)
class CompactionPlan:
    """Clean `sources`, of which everything from `first_dirty_offset` on is dirty."""

    sources: tuple[SegmentState, ...]
    first_dirty_offset: int
    clean_bytes: int
    dirty_bytes: int
    is_overdue: bool  # by max.compaction.lag.ms

    @property
    def end_offset(self) -> int:
        return self.sources[-1].end_offset

    @property
    def dirty_ratio(self) -> float:
        return self.dirty_bytes / (self.clean_bytes + self.dirty_bytes)

    def is_due(self, config: LogConfig) -> bool:
        """Whether it is worth reading everything for."""
        return self.is_overdue or self.dirty_ratio > config.min_cleanable_dirty_ratio


def survey(
    segments: Sequence[SegmentState],
    config: LogConfig,
    *,
    first_dirty_offset: int,
    start_offset: int,
    bound: int,
    wall_ms: int,
) -> CompactionPlan | None:
    """What there is to clean of `segments`, which are closed, whether it is worth it or not; None: nothing.

    `bound`: nothing at or above it may be touched (high watermark, last stable offset, what is proven durable).
    """
    first_dirty = max(first_dirty_offset, start_offset)
    if first_dirty > bound:
        first_dirty = start_offset  # a checkpoint of another life of this log
    sources: list[SegmentState] = []
    for segment in segments:
        is_dirty = segment.end_offset > first_dirty
        too_young = segment.max_timestamp_ms > wall_ms - config.min_compaction_lag_ms
        if segment.end_offset > bound or (is_dirty and config.min_compaction_lag_ms and too_young):
            break
        sources.append(segment)
    dirty = [segment for segment in sources if segment.end_offset > first_dirty]
    dirty_bytes = sum(segment.size_bytes for segment in dirty)
    if not dirty_bytes:
        return None
    clean_bytes = sum(segment.size_bytes for segment in sources) - dirty_bytes
    overdue = waits_too_long(dirty[0], config, wall_ms)
    return CompactionPlan(tuple(sources), first_dirty, clean_bytes, dirty_bytes, overdue)


def waits_too_long(segment: SegmentState, config: LogConfig, wall_ms: int) -> bool:
    """Whether its first record has waited for compaction for `max.compaction.lag.ms`."""
    lag_ms = config.max_compaction_lag_ms
    return config.compacted and lag_ms < INT64_MAX and wall_ms - segment.first_timestamp_ms > lag_ms


def in_order(plans: Sequence[CompactionPlan]) -> list[int]:
    """Positions in `plans`, the one to carry out first at the front: what waits too long, then the dirtiest."""
    return sorted(range(len(plans)), key=lambda at: (not plans[at].is_overdue, -plans[at].dirty_ratio, at))


def fits(
    base_offset: int,
    written_bytes: int,
    index_bytes: int,
    source_end_offset: int,
    source_bytes: int,
    *,
    segment_bytes: int,
    segment_index_bytes: int,
    index_interval_bytes: int,
) -> bool:
    """Whether a further source may go into a cleaned file that has `written_bytes` and `index_bytes` by now.

    Counted as if nothing of the source went, so the file stays within segment.bytes, its indexes within theirs, and its
    offsets relative to `base_offset` within 32 bits.
    """
    if source_end_offset - base_offset > INT32_MAX:
        return False
    if written_bytes == 0:
        return True
    more_index_bytes = TIME_ENTRY_BYTES * (source_bytes // max(index_interval_bytes, 1) + 2)
    return written_bytes + source_bytes <= segment_bytes and index_bytes + more_index_bytes <= segment_index_bytes


TIME_ENTRY_BYTES = 12
"""The larger of the two kinds of index entries."""
