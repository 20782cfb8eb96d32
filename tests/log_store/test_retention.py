"""Which segments may go."""

import pytest

from log_store.config import LogConfig
from log_store.retention import SegmentFacts, deletable

NOW_MS = 100_000
# Four segments of 1,000 bytes and 10 records, 40, 30, 20 and 10 seconds old.
SEGMENTS = [SegmentFacts(n * 10, n * 10 + 10, 1000, NOW_MS - 40_000 + n * 10_000) for n in range(4)]


def plan(
    config: LogConfig, *, start_offset: int = 0, high_watermark: int = 40, segments: list[SegmentFacts] = SEGMENTS
) -> int:
    return deletable(segments, config, wall_ms=NOW_MS, start_offset=start_offset, high_watermark=high_watermark)


def keep(**fields: int | str) -> LogConfig:
    return LogConfig(**({"retention_ms": -1} | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("retention_ms", "count"), [(-1, 0), (40_000, 0), (39_999, 1), (25_000, 2), (10_000, 3), (9_999, 4), (0, 4)]
)
def test_by_time(retention_ms: int, count: int) -> None:
    assert plan(keep(retention_ms=retention_ms)) == count


@pytest.mark.parametrize(
    ("retention_bytes", "count"), [(-1, 0), (4000, 0), (3001, 0), (3000, 1), (1500, 2), (1000, 3), (1, 3), (0, 4)]
)
def test_by_size_the_log_stays_at_least_that_large(retention_bytes: int, count: int) -> None:
    assert plan(keep(retention_bytes=retention_bytes)) == count


@pytest.mark.parametrize(("start_offset", "count"), [(0, 0), (9, 0), (10, 1), (25, 2), (40, 3), (99, 3)])
def test_below_the_start_offset(start_offset: int, count: int) -> None:
    assert plan(keep(), start_offset=start_offset) == count


@pytest.mark.parametrize(("high_watermark", "count"), [(0, 0), (9, 0), (10, 1), (39, 3), (40, 4)])
def test_nothing_at_or_above_the_high_watermark(high_watermark: int, count: int) -> None:
    assert plan(keep(retention_ms=0), high_watermark=high_watermark) == count


def test_an_old_segment_behind_a_young_one_stays() -> None:
    segments = [SEGMENTS[3]._replace(base_offset=0, end_offset=10), SEGMENTS[0]._replace(base_offset=10, end_offset=20)]
    assert plan(keep(retention_ms=20_000), segments=segments) == 0


def test_an_empty_last_segment_stays() -> None:
    segments = [*SEGMENTS, SegmentFacts(40, 40, 0, 0)]
    assert plan(keep(retention_ms=0), segments=segments) == 4


def test_a_compacted_log_deletes_only_below_its_start() -> None:
    config = keep(retention_ms=0, retention_bytes=0, cleanup_policy="compact")
    assert plan(config) == 0
    assert plan(config, start_offset=20) == 2
    assert plan(keep(retention_ms=0, cleanup_policy="compact, delete")) == 4
