"""Searches by time find in memory what a disk thread has brought there."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from log_store.config import LogConfig
from log_store.log import Log
from simulation.device import Device
from simulation.disk import SimulatedDisk, SimulatedFile
from tests.log_store.batches import WALL_MS, batch
from tests.log_store.recovering import DIRECTORY, filled

CONFIG = LogConfig(segment_bytes=2_000, index_interval_bytes=150)


class Noting(SimulatedDisk):
    """Notes which files were opened."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self.opened: list[str] = []

    def open(self, path: str, *, create: bool = False) -> SimulatedFile:
        self.opened.append(path)
        return super().open(path, create=create)


def opened_again(times_ms: list[int]) -> tuple[Log, Noting]:
    disk = SimulatedDisk(Device(Random(1)))
    disk.make_directory("/data")
    log = Log.create(disk, DIRECTORY, CONFIG, wall_ms=WALL_MS)
    for at_ms in times_ms:
        log.append(batch([b"x" * 20], timestamp_ms=WALL_MS + at_ms), 1, WALL_MS)
    log.close()
    noting = Noting(disk.device)
    log = Log.open(noting, DIRECTORY, CONFIG, clean=True, wall_ms=WALL_MS)
    noting.opened.clear()
    return log, noting


@given(st.lists(st.integers(0, 500), min_size=1, max_size=150), st.integers(0, 520))
@settings(max_examples=60)
def test_the_search_opens_nothing_that_was_not_warmed(times_ms: list[int], wanted_ms: int) -> None:
    log, disk = opened_again(times_ms)
    warm = log.warm_for_time(disk, WALL_MS + wanted_ms)
    assert warm is not None
    warm()
    warmed = {*disk.opened}
    disk.opened.clear()
    found = log.offset_for_time(WALL_MS + wanted_ms, log.end_offset)
    expected = next((number for number, at_ms in enumerate(times_ms) if at_ms >= wanted_ms), None)
    assert (None if found is None else found.offset) == expected
    assert {*disk.opened} <= warmed


def test_the_youngest_wants_the_end_of_every_time_index() -> None:
    log, disk = opened_again(list(range(100)))
    warm = log.warm_for_time(disk, None)
    assert warm is not None
    warm()
    assert len(disk.opened) == len(log.segments) > 3
    assert all(path.endswith(".timeindex") for path in disk.opened)


def test_a_segment_that_goes_meanwhile_is_no_error() -> None:
    log, disk = opened_again(list(range(100)))
    warm = log.warm_for_time(disk, WALL_MS + 90)
    assert warm is not None
    for segment in log.segments[:-1]:
        disk.remove(segment.files.time_index)
    warm()


@pytest.mark.parametrize("count", [1, 5])
def test_what_was_just_written_needs_no_thread(count: int) -> None:
    disk = SimulatedDisk(Device(Random(1)))
    disk.make_directory("/data")
    log = filled(disk, count, LogConfig())
    assert log.warm_for_time(disk, WALL_MS) is None
