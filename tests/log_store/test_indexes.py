"""The two indexes: what they find, what they reserve, what is left on disk."""

import errno
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from log_store.mapped_entries import RESERVE_FIRST_BYTES
from log_store.offset_index import OffsetIndex
from log_store.time_index import TimeIndex
from simulation.device import Device, DiskFault
from simulation.disk import SimulatedDisk

PATH = "/00000000000000000100.index"


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk(Device(Random(1)))


def offset_index(disk: SimulatedDisk, entries: list[tuple[int, int]], *, bytes_max: int = 10_000) -> OffsetIndex:
    index = OffsetIndex(disk, PATH, 100, size_bytes=0, bytes_max=bytes_max)
    for offset, position in entries:
        index.entries.reserve(1)
        index.append(offset, position)
    return index


def test_an_empty_index_costs_nothing(disk: SimulatedDisk) -> None:
    index = offset_index(disk, [])
    assert not disk.exists(PATH)
    assert index.position_before(10**12) == 0
    assert index.boundary_before(10**12) == 0
    index.entries.trim()
    index.entries.release()
    assert not disk.exists(PATH)


def test_entries_are_kafkas(disk: SimulatedDisk) -> None:
    index = offset_index(disk, [(109, 4200), (120, 9000)])
    index.entries.trim()
    assert disk.read_bytes(PATH).hex() == "00000009" + "00001068" + "00000014" + "00002328"
    again = OffsetIndex(disk, PATH, 100, size_bytes=16, bytes_max=10_000)
    assert (again.position_before(119), again.last_position()) == (4200, 9000)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 5000)), max_size=60),
    st.integers(0, 3500),
    st.integers(0, 400_000),
)
@settings(max_examples=80, deadline=None)
def test_it_finds_what_a_plain_list_finds(steps: list[tuple[int, int]], offset: int, position: int) -> None:
    entries, last, at = [], 100, 0
    for more_offsets, more_bytes in steps:
        last, at = last + more_offsets, at + more_bytes
        entries.append((last, at))
    index = offset_index(SimulatedDisk(Device(Random(1))), entries)
    assert index.position_before(offset) == max((p for o, p in entries if o <= offset), default=0)
    assert index.boundary_before(position) == max((p for _, p in entries if p <= position), default=0)
    index.cut(offset)
    assert index.entries.count == sum(o < offset for o, _ in entries)


def test_room_grows_and_trimming_gives_it_back(disk: SimulatedDisk) -> None:
    index = offset_index(disk, [(101, 1)])
    assert disk.size(PATH) == RESERVE_FIRST_BYTES
    for number in range(2, 600):
        index.entries.reserve(1)
        index.append(100 + number, number)
    assert disk.size(PATH) == 2 * RESERVE_FIRST_BYTES
    index.entries.release()
    assert index.position_before(150) == 50
    index.entries.trim()
    assert disk.size(PATH) == 599 * 8
    assert index.position_before(10**6) == 599


def test_a_full_disk_is_an_error_before_anything_is_mapped(disk: SimulatedDisk) -> None:
    index = offset_index(disk, [(101, 1)])
    disk.device.arm(DiskFault.FULL)
    with pytest.raises(OSError) as raised:
        index.entries.reserve(10_000)
    assert raised.value.errno == errno.ENOSPC
    assert index.position_before(200) == 1


def test_a_cut_index_is_written_over(disk: SimulatedDisk) -> None:
    index = offset_index(disk, [(101, 1), (105, 20), (109, 30)])
    index.cut(105)
    index.append(107, 25)
    index.entries.trim()
    assert disk.size(PATH) == 16
    assert index.position_before(200) == 25


def test_a_file_that_was_not_changed_is_not_touched(disk: SimulatedDisk) -> None:
    """Its durability was proven; even trimming it to the same length would put that in doubt."""
    offset_index(disk, [(101, 1)]).entries.trim()
    again = OffsetIndex(disk, PATH, 100, size_bytes=8, bytes_max=10_000)
    before = disk.device.operations
    again.position_before(101)
    again.entries.release()
    again.entries.trim()
    assert disk.device.operations == before


def time_index(disk: SimulatedDisk, entries: list[tuple[int, int]]) -> TimeIndex:
    index = TimeIndex(disk, PATH, 100, size_bytes=0, bytes_max=10_000)
    for timestamp_ms, offset in entries:
        index.entries.reserve(1)
        index.append_if_younger(timestamp_ms, offset)
    return index


def test_times_that_do_not_rise_are_left_out(disk: SimulatedDisk) -> None:
    index = time_index(disk, [(1000, 101), (1000, 105), (900, 107), (1001, 110)])
    index.entries.trim()
    assert disk.read_bytes(PATH).hex() == "00000000000003e8" + "00000001" + "00000000000003e9" + "0000000a"
    assert index.last() == (1001, 110)


@pytest.mark.parametrize(
    ("timestamp_ms", "found"), [(999, (-1, 100)), (1000, (1000, 101)), (1499, (1000, 101)), (9999, (1500, 120))]
)
def test_the_entry_before_a_time(disk: SimulatedDisk, timestamp_ms: int, found: tuple[int, int]) -> None:
    assert time_index(disk, [(1000, 101), (1500, 120)]).before(timestamp_ms) == found


def test_cutting_times(disk: SimulatedDisk) -> None:
    index = time_index(disk, [(1000, 101), (1500, 120)])
    index.cut(120)
    assert index.last() == (1000, 101)
    index.cut(0)
    assert index.last() == (-1, 100)
