"""One segment: reservations, places of batches, descriptors."""

from itertools import pairwise
from random import Random

import pytest

from log_store.config import LogConfig
from log_store.cutting import plan_cut
from log_store.inspection import digest_job
from log_store.log import Log
from log_store.open_segments import OpenSegments
from log_store.segment import (
    NEWEST_BATCHES,
    AppendedBatch,
    Segment,
)
from log_store.segment_room import RESERVE_FIRST_BYTES, RESERVE_MOST_BYTES
from simulation.device import Device, DiskFault
from simulation.disk import SimulatedDisk
from tests.log_store.batches import WALL_MS, batch

CONFIG = LogConfig(index_interval_bytes=200)


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk(Device(Random(1)))


def new_segment(disk: SimulatedDisk, base_offset: int = 0, config: LogConfig = CONFIG) -> Segment:
    return Segment.create(disk, OpenSegments(10), config, "", base_offset, created_ms=WALL_MS)


def fill(segment: Segment, count: int, *, value: bytes = b"value", step_ms: int = 1) -> list[bytes]:
    written = []
    for number in range(count):
        base = segment.end_offset
        data = bytes(batch([value, value], base_offset=base, timestamp_ms=WALL_MS + number * step_ms))
        segment.append(data, [AppendedBatch(base, base + 2, len(data), WALL_MS + number * step_ms)])
        written.append(data)
    return written


def test_a_new_one_reserves_nothing(disk: SimulatedDisk) -> None:
    segment = new_segment(disk)
    assert disk.list("/") == ["00000000000000000000.log"]
    assert disk.size(segment.files.log) == 0


def test_room_is_reserved_in_growing_chunks(disk: SimulatedDisk) -> None:
    segment = new_segment(disk)
    sizes = [0]
    for _ in range(600):
        fill(segment, 1, value=bytes(50_000))
        sizes.append(disk.size(segment.files.log))
    steps = [later - earlier for earlier, later in pairwise(sizes) if later != earlier]
    assert RESERVE_FIRST_BYTES <= steps[0] < 3 * RESERVE_FIRST_BYTES
    assert steps == sorted(steps)
    assert steps[-1] == RESERVE_MOST_BYTES
    assert len(steps) < 15
    assert sizes[-1] - segment.size_bytes <= RESERVE_MOST_BYTES


def test_a_small_one_holds_little(disk: SimulatedDisk) -> None:
    segment = new_segment(disk)
    fill(segment, 1)
    assert disk.size(segment.files.log) == RESERVE_FIRST_BYTES


def test_the_room_ends_with_the_segment(disk: SimulatedDisk) -> None:
    segment = new_segment(disk, config=LogConfig(segment_bytes=100_000))
    fill(segment, 1, value=bytes(40_000))
    assert disk.size(segment.files.log) == 100_000


def test_sealing_gives_the_rest_back(disk: SimulatedDisk) -> None:
    segment = new_segment(disk)
    written = fill(segment, 20)
    assert not segment.is_sealed
    segment.seal()
    assert segment.is_sealed
    assert disk.read_bytes(segment.files.log) == b"".join(written)
    assert disk.size(segment.files.offset_index) == segment.index.entries.count * 8 > 0
    assert disk.size(segment.files.time_index) == segment.time_index.entries.count * 12 > 0
    assert segment.time_index.last() == (WALL_MS + 19, 39)


def test_every_offset_is_found_in_memory_and_by_the_index(disk: SimulatedDisk) -> None:
    segment = new_segment(disk, 1000)
    written = fill(segment, 50)
    for sealed in (False, True):
        if sealed:
            segment.seal()  # forgets the newest places
        for offset in range(1000, 1100):
            place = segment.find(offset)
            assert place is not None
            number = (offset - 1000) // 2
            assert (place.base_offset, place.end_offset) == (1000 + 2 * number, 1002 + 2 * number)
            assert (place.position, place.size_bytes) == (sum(map(len, written[:number])), len(written[number]))
        assert segment.find(1100) is None


def test_boundaries_by_memory_and_by_index_agree(disk: SimulatedDisk) -> None:
    segment = new_segment(disk)
    fill(segment, 30)
    first = segment.find(0)
    assert first is not None
    positions = range(0, segment.size_bytes + 50, 17)
    by_memory = [segment.boundary(position, first) for position in positions]
    segment.seal()
    assert [segment.boundary(position, first) for position in positions] == by_memory
    for position, (boundary, end_offset) in zip(positions, by_memory, strict=True):
        assert boundary <= max(position, first.size_bytes)
        assert segment.position_of(end_offset) == boundary


def test_only_the_newest_places_are_kept(disk: SimulatedDisk) -> None:
    segment = new_segment(disk)
    fill(segment, 3 * NEWEST_BATCHES, value=b"")
    assert NEWEST_BATCHES <= len(segment._newest_offsets) <= 2 * NEWEST_BATCHES
    place = segment.find(1)
    assert place is not None and place.base_offset == 0


def test_an_append_that_fails_changes_nothing(disk: SimulatedDisk) -> None:
    segment = new_segment(disk)
    fill(segment, 5)
    before = (segment.size_bytes, segment.end_offset, segment.index.entries.count, segment.max_timestamp_ms)
    disk.device.arm(DiskFault.WRITE_ERROR)
    with pytest.raises(OSError):
        fill(segment, 1)
    disk.device.arm(DiskFault.FULL)
    with pytest.raises(OSError):
        fill(segment, 1, value=bytes(100_000))
    assert (segment.size_bytes, segment.end_offset, segment.index.entries.count, segment.max_timestamp_ms) == before
    fill(segment, 1)
    assert segment.end_offset == 12


@pytest.mark.parametrize("keep", [0, 1, 2, 7, 19, 20])
def test_a_cut_leaves_what_was_there_before(disk: SimulatedDisk, keep: int) -> None:
    segment = new_segment(disk)
    written = fill(segment, 20)
    segment.cut(plan_cut(segment, keep * 2))
    assert (segment.end_offset, segment.size_bytes) == (keep * 2, sum(map(len, written[:keep])))
    assert disk.size(segment.files.log) == segment.size_bytes
    assert segment.youngest_ms() == (WALL_MS + keep - 1 if keep else -1)
    twin = new_segment(SimulatedDisk(Device(Random(2))))
    fill(twin, keep)
    fill(twin, 10, value=b"other")
    fill(segment, 10, value=b"other")
    for index in ("index", "time_index"):
        ours, theirs = getattr(segment, index).entries, getattr(twin, index).entries
        assert [ours.get(n) for n in range(ours.count)] == [theirs.get(n) for n in range(theirs.count)]


def test_a_cut_inside_a_batch_takes_all_of_it(disk: SimulatedDisk) -> None:
    segment = new_segment(disk)
    fill(segment, 3)
    segment.cut(plan_cut(segment, 3))
    assert segment.end_offset == 2


def test_when_it_is_full(disk: SimulatedDisk) -> None:
    config = LogConfig(segment_bytes=1000, segment_ms=50, segment_index_bytes=36, index_interval_bytes=0)
    segment = new_segment(disk, config=config)
    assert not segment.is_full_for(5000, 1, 10, WALL_MS, WALL_MS)  # an empty one takes anything
    fill(segment, 1)
    room = 1000 - segment.size_bytes
    assert not segment.is_full_for(room, 1, 10, WALL_MS, WALL_MS)
    assert segment.is_full_for(room + 1, 1, 10, WALL_MS, WALL_MS)
    assert segment.is_full_for(1, 1, 2**31, WALL_MS, WALL_MS)  # an index could not reach that far
    assert not segment.is_full_for(1, 1, 10, WALL_MS + 50, WALL_MS)
    assert segment.is_full_for(1, 1, 10, WALL_MS + 51, WALL_MS)  # by the records' clock
    assert segment.is_full_for(1, 1, 10, -1, WALL_MS + 51)  # by the wall's, where they have none
    fill(segment, 1)
    assert segment.is_full_for(1, 2, 10, WALL_MS, WALL_MS)  # three entries are all that 36 bytes hold


def test_the_least_recently_used_give_their_descriptors_back(disk: SimulatedDisk) -> None:
    shared = OpenSegments(2)
    segments = [Segment.create(disk, shared, CONFIG, "", n * 100, created_ms=WALL_MS) for n in range(3)]
    for segment in segments:
        fill(segment, 10)
    assert len(shared) == 2
    assert [segment._file is not None for segment in segments] == [False, True, True]
    first = segments[0].file()
    assert [segment._file is not None for segment in segments] == [True, False, True]
    segments[1].file()
    segments[2].file()
    assert segments[0]._file is None
    assert first.read(8, 0) == bytes(8)  # who holds it still reads
    place = segments[0].find(3)
    assert place is not None and place.base_offset == 2
    for segment in segments:
        segment.close()
    assert len(shared) == 0


def test_digests_keep_no_more_indexes_mapped_than_may_be_open(disk: SimulatedDisk) -> None:
    config = LogConfig(segment_bytes=1000, index_interval_bytes=150)
    log = Log.create(disk, "/data/topic-0", config, wall_ms=WALL_MS, open_segments=OpenSegments(4))
    while len(log.segments) < 50:
        log.append(batch(), 1, WALL_MS)
    log.sync()
    for start_offset in range(0, log.end_offset, 7):
        job = digest_job(log, start_offset, log.end_offset, step=10, bytes_max=10**6, records=False)
        first = job.stretches[0]
        assert first.base_offset <= start_offset < first.end_offset
        assert all(stretch.position == 0 for stretch in job.stretches[1:])
        assert sum(segment.index.entries._map is not None for segment in log.segments) <= 4
