"""What is cleaned, and when."""

from collections.abc import Sequence
from typing import Any

import pytest

from kraftpy.runtime.limits import INT32_MAX
from log_store.compaction.plan import CompactionPlan, SegmentState, fits, in_order, survey
from log_store.config import LogConfig

NOW_MS = 100_000
# Five closed segments of 1,000 bytes and 10 records, begun 50, 40, 30, 20 and 10 seconds ago, each filled in 5.
SEGMENTS = [SegmentState(n * 10, n * 10 + 10, 1000, 55_000 + n * 10_000, 50_000 + n * 10_000) for n in range(5)]


def plan(
    first_dirty: int = 0,
    *,
    bound: int = 50,
    start_offset: int = 0,
    segments: Sequence[SegmentState] = SEGMENTS,
    **config: Any,
) -> CompactionPlan | None:
    """What is to be cleaned now; None where there is nothing, or not enough yet."""
    told = LogConfig(cleanup_policy="compact", **config)
    found = survey(
        segments, told, first_dirty_offset=first_dirty, start_offset=start_offset, bound=bound, wall_ms=NOW_MS
    )
    return found if found is not None and found.is_due(told) else None


def bases(found: CompactionPlan | None) -> list[int]:
    return [] if found is None else [source.base_offset for source in found.sources]


@pytest.mark.parametrize(
    ("first_dirty", "ratio", "due"),
    [(0, 0.5, True), (20, 0.5, True), (30, 0.5, False), (30, 0.39, True), (50, 0.0, False), (0, 1.0, False)],
)
def test_the_dirty_share_decides(first_dirty: int, ratio: float, due: bool) -> None:
    found = plan(first_dirty, min_cleanable_dirty_ratio=ratio)
    assert bases(found) == ([0, 10, 20, 30, 40] if due else [])
    if found is not None:
        assert found.first_dirty_offset == first_dirty
        assert found.dirty_bytes == 5000 - found.clean_bytes == 5000 - first_dirty * 100


@pytest.mark.parametrize(("bound", "sources"), [(50, 5), (49, 4), (10, 1), (9, 0), (0, 0)])
def test_nothing_that_is_not_stable_and_proven(bound: int, sources: int) -> None:
    assert len(bases(plan(bound=bound))) == sources


@pytest.mark.parametrize(("lag_ms", "sources"), [(0, 5), (4_999, 5), (5_001, 4), (25_001, 2), (99_999, 0)])
def test_young_records_are_left_alone(lag_ms: int, sources: int) -> None:
    assert len(bases(plan(min_compaction_lag_ms=lag_ms))) == sources


def test_what_is_clean_is_read_however_young() -> None:
    assert bases(plan(20, min_compaction_lag_ms=25_001, min_cleanable_dirty_ratio=0.0)) == []
    assert bases(plan(10, min_compaction_lag_ms=25_001, min_cleanable_dirty_ratio=0.0)) == [0, 10]


@pytest.mark.parametrize(("lag_ms", "due"), [(50_001, False), (50_000, False), (49_999, True)])
def test_what_waits_too_long_goes_whatever_its_share(lag_ms: int, due: bool) -> None:
    found = plan(min_cleanable_dirty_ratio=1.0, max_compaction_lag_ms=lag_ms)
    assert bases(found) == ([0, 10, 20, 30, 40] if due else [])
    assert found is None or found.is_overdue


def test_only_dirty_records_wait() -> None:
    assert plan(40, min_cleanable_dirty_ratio=0.5, max_compaction_lag_ms=20_000) is None


def test_a_checkpoint_of_another_life_is_worth_nothing() -> None:
    found = plan(70)
    assert found is not None
    assert found.first_dirty_offset == 0


def test_what_was_deleted_is_not_dirty() -> None:
    found = plan(5, start_offset=20, segments=SEGMENTS[2:])
    assert found is not None
    assert (found.first_dirty_offset, found.clean_bytes, bases(found)) == (20, 0, [20, 30, 40])


def test_no_segments() -> None:
    assert plan(segments=[]) is None
    assert plan(segments=[SegmentState(0, 10, 0, 0, 0)]) is None


def test_the_order_of_logs() -> None:
    late = CompactionPlan(tuple(SEGMENTS), 40, 4000, 1000, True)
    half = CompactionPlan(tuple(SEGMENTS), 0, 2500, 2500, False)
    dirty = CompactionPlan(tuple(SEGMENTS), 0, 0, 5000, False)
    assert in_order([half, dirty, late, dirty]) == [2, 1, 3, 0]


@pytest.mark.parametrize(
    ("written", "index", "end_offset", "source_bytes", "fit"),
    [
        (0, 0, INT32_MAX + 5, 5_000, True),  # of those before it nothing is left
        (0, 0, INT32_MAX + 6, 5_000, False),
        (600, 24, 100, 400, True),
        (601, 24, 100, 400, False),  # segment.bytes
        (100, 930, 100, 100, False),  # segment.index.bytes
        (100, 24, INT32_MAX + 5, 100, True),
        (100, 24, INT32_MAX + 6, 100, False),  # relative offsets of 32 bits
    ],
)
def test_what_goes_into_one_file(written: int, index: int, end_offset: int, source_bytes: int, fit: bool) -> None:
    limits = {"segment_bytes": 1000, "segment_index_bytes": 960, "index_interval_bytes": 100}
    assert fits(5, written, index, end_offset, source_bytes, **limits) is fit
