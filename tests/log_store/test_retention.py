"""Which segments may go."""

import asyncio
from dataclasses import replace
from random import Random
from uuid import UUID

import pytest

from log_store.config import LogConfig
from log_store.log import Log
from log_store.log_directory import LogDirectory
from log_store.retention import SegmentFacts, deletable
from simulation.device import Device
from simulation.disk import DiskConfig, SimulatedDisk
from tests.log_store.batches import WALL_MS, batch
from tests.log_store.recovering import CONFIG, DIRECTORY, filled, new_disk

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


def keeps_everything(log: Log, now_ms: int = WALL_MS + 1) -> bool:
    """What retention rolls goes at its second look."""
    start_offset = log.start_offset
    for _ in range(2):
        log.enforce_retention(now_ms, log.end_offset)
        log.sync()
    return log.start_offset == start_offset < log.end_offset


def test_records_without_a_time_outlive_a_move_between_directories() -> None:
    """They are as old as their segment, and nothing on the disk says how old that is."""

    async def story() -> None:
        home = LogDirectory(SimulatedDisk(Device(Random(1)), DiskConfig(run_us_min=1, run_us_max=10)), "/data")
        await home.open_logs(lambda name, topic_id: LogConfig(), WALL_MS)
        copy = await home.open_future("t-0", LogConfig(), topic_id=UUID(int=7), start_offset=0, wall_ms=WALL_MS)
        copy.append_replicated(batch(timestamp_ms=-1, leader_epoch=1), wall_ms=WALL_MS)
        await home.flusher.flush(copy)
        log = await home.arrive("t-0", copy, WALL_MS)
        home.adopt("t-0", log)
        assert keeps_everything(log)
        await home.close()

    asyncio.run(story())


def test_records_without_a_time_outlive_a_cut_of_all_before_them() -> None:
    log = Log.create(new_disk(), DIRECTORY, LogConfig(), wall_ms=WALL_MS)
    log.append(batch(timestamp_ms=-1), 1, WALL_MS)
    log.truncate(0)
    log.append(batch(timestamp_ms=-1), 2, WALL_MS)
    log.sync()
    assert keeps_everything(log)


def test_records_without_a_time_are_as_old_as_the_last_of_their_segment() -> None:
    """Which may have been begun long before, where nobody wrote."""
    log = Log.create(new_disk(), DIRECTORY, LogConfig(retention_ms=1_000, segment_bytes=100_000), wall_ms=WALL_MS)
    for after_ms in (0, 50_000, 50_800):
        log.append(batch(timestamp_ms=-1), 1, WALL_MS + after_ms)
        log.sync()
    assert keeps_everything(log, WALL_MS + 51_800)
    assert not keeps_everything(log, WALL_MS + 51_801)


def test_an_index_that_is_removed_late_is_not_that_of_a_new_segment() -> None:
    """The log is begun anew while the flush that removes it is under way."""
    disk = new_disk()
    log = filled(disk, 40, replace(CONFIG, retention_bytes=500, file_delete_delay_ms=1_000))
    assert log.enforce_retention(WALL_MS, 40)
    log.sync()
    log.enforce_retention(WALL_MS + 1_000, 40)
    flush = log.begin_flush()
    log.reset(0, wall_ms=WALL_MS)
    for number in range(10):
        log.append(batch([b"%d" % number]), 9, WALL_MS)
    flush.run()
    log.complete_flush(flush)
    log.sync()
    assert disk.exists(f"{DIRECTORY}/00000000000000000000.index")
    assert not any(name.endswith((".deleted", "00000000000000000013.index")) for name in disk.list(DIRECTORY))


def test_nothing_goes_before_the_name_of_what_proves_it_is_durable() -> None:
    """The flush that makes it so is under way: a power failure may keep the removal, and lose the proof's name."""
    log = Log.create(new_disk(), DIRECTORY, replace(CONFIG, retention_bytes=0), wall_ms=WALL_MS)
    for _ in range(3):
        log.append(batch([b"x" * 100]), 1, WALL_MS)
    log.roll(WALL_MS)
    log.append(batch(), 1, WALL_MS)
    placing = log.begin_flush()
    placing.run()
    log.complete_flush(placing)
    naming = log.begin_flush()
    assert log.enforce_retention(WALL_MS, 3) == 0
    naming.run()
    log.complete_flush(naming)
    assert log.enforce_retention(WALL_MS, 3) == 1
