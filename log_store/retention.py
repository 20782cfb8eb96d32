"""Which segments may go: pure plans.

Only a prefix of the log is ever deleted, oldest first, and nothing at or above the high watermark: an uncommitted
record may still be wanted by a replica.
"""

from collections.abc import Sequence
from typing import NamedTuple

from log_store.config import LogConfig


class SegmentFacts(NamedTuple):
    """What a plan needs to know of one segment."""

    base_offset: int
    end_offset: int
    size_bytes: int
    max_timestamp_ms: int  # of its records; where it has none with a timestamp: when the segment was last written


def deletable(
    segments: Sequence[SegmentFacts], config: LogConfig, *, wall_ms: int, start_offset: int, high_watermark: int
) -> int:
    """How many segments may be deleted from the front. The last one counts only where it has records."""
    committed = 0
    for segment in segments:
        if segment.end_offset > high_watermark or segment.size_bytes == 0:
            break
        committed += 1
    candidates = segments[:committed]
    return max(
        _before_start(segments, start_offset),
        _expired(candidates, config, wall_ms) if config.deletes else 0,
        _oversized(candidates, config, sum(segment.size_bytes for segment in segments)) if config.deletes else 0,
    )


def _before_start(segments: Sequence[SegmentFacts], start_offset: int) -> int:
    """Segments wholly below the start offset (DeleteRecords); never the last."""
    count = 0
    while count < len(segments) - 1 and segments[count].end_offset <= start_offset:
        count += 1
    return count


def _expired(segments: Sequence[SegmentFacts], config: LogConfig, wall_ms: int) -> int:
    if config.retention_ms < 0:
        return 0
    count = 0
    while count < len(segments) and wall_ms - segments[count].max_timestamp_ms > config.retention_ms:
        count += 1
    return count


def _oversized(segments: Sequence[SegmentFacts], config: LogConfig, size_bytes: int) -> int:
    if config.retention_bytes < 0:
        return 0
    excess = size_bytes - config.retention_bytes
    count = 0
    while count < len(segments) and excess - segments[count].size_bytes >= 0:
        excess -= segments[count].size_bytes
        count += 1
    return count
