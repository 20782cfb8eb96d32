"""What a scrub finds in a segment, and what it says of the rest; the models show that it finds nothing else."""

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftpy.errors import CorruptRecordError, KafkaStorageError
from log_store.config import LogConfig
from log_store.damages import Damages
from log_store.inspection import scrub_job, take_verdict
from log_store.integrity import Damage
from log_store.log import Log
from log_store.scrub import scrub
from simulation.device import BLOCK_BYTES, Device, DiskFault
from simulation.disk import DiskConfig, SimulatedDisk
from tests.log_store.batches import WALL_MS, batch

DIRECTORY = "/data/topic-0"
CONFIG = LogConfig(segment_bytes=2000, index_interval_bytes=150)


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk(Device(Random(1)))


def filled(disk: SimulatedDisk, batches: int = 60, config: LogConfig = CONFIG) -> Log:
    """Two records a batch, an epoch every seven batches."""
    log = Log.create(disk, DIRECTORY, config, wall_ms=WALL_MS)
    for number in range(batches):
        log.append(batch([b"%03d" % number, b"x" * 20], timestamp_ms=WALL_MS + number), number // 7, WALL_MS)
    log.sync()
    return log


def damages_of(log: Log, disk: SimulatedDisk, number: int = 0) -> tuple[Damage, ...]:
    return scrub(disk, scrub_job(log, log.segments[number])).damages


def touched(disk: SimulatedDisk, path: str, position: int, mask: int) -> None:
    file = disk.open(path)
    (byte,) = file.read(1, position)
    file.write([bytes([byte ^ mask])], position)


def test_every_flipped_bit_of_a_segment_is_found_in_its_batch(disk: SimulatedDisk) -> None:
    log = filled(disk)
    segment = log.segments[0]
    batch_bytes = segment.size_bytes // (segment.end_offset // 2)
    for position in range(segment.size_bytes):
        mask = 1 << position % 8
        touched(disk, segment.files.log, position, mask)
        (damage,) = damages_of(log, disk)
        number = position // batch_bytes
        assert (damage.start_offset, damage.position) == (2 * number, number * batch_bytes), damage
        lost = (damage.end_offset - damage.start_offset) // 2
        assert damage.end_position == (number + lost) * batch_bytes
        is_length = 8 <= position % batch_bytes < 12  # then the index tells where to go on
        assert lost <= (CONFIG.index_interval_bytes // batch_bytes + 2 if is_length else 1)
        touched(disk, segment.files.log, position, mask)
    assert damages_of(log, disk) == ()


def test_every_flipped_bit_of_an_offset_index_is_found(disk: SimulatedDisk) -> None:
    log = filled(disk)
    segment = log.segments[0]
    assert segment.index.entries.count > 3
    log.segments[0].release()
    for position in range(segment.index.entries.size_bytes):
        for bit in range(8):
            touched(disk, segment.files.offset_index, position, 1 << bit)
            (damage,) = damages_of(log, disk)
            assert "index" in damage.why
            assert (damage.start_offset, damage.end_offset) == (0, segment.end_offset)
            touched(disk, segment.files.offset_index, position, 1 << bit)


def test_a_sector_that_cannot_be_read_is_damage_and_the_rest_is_told_apart(disk: SimulatedDisk) -> None:
    log = filled(disk, config=LogConfig(segment_bytes=100_000, index_interval_bytes=150))
    segment = log.segments[0]
    disk.device.spoil(segment.files.log, 700)
    (damage,) = damages_of(log, disk)
    assert damage.position <= 700 < damage.end_position
    assert "cannot be read" in damage.why
    assert damage.end_offset < segment.end_offset
    assert take_verdict(log, scrub_job(log, segment), segment, [damage])
    assert log.read_bytes(damage.end_offset, 10_000, log.end_offset)
    with pytest.raises(CorruptRecordError, match="damaged here"):
        log.read(damage.start_offset, 10_000, log.end_offset)
    assert log.read(0, 100_000, log.end_offset).next_offset == damage.start_offset


@pytest.mark.parametrize("fault", [DiskFault.STALE_BLOCK, DiskFault.MISDIRECTED_WRITE])
def test_stale_and_misdirected_blocks_are_found(fault: DiskFault) -> None:
    for seed in range(20):
        disk = SimulatedDisk(Device(Random(seed)))
        log = Log.create(disk, DIRECTORY, LogConfig(segment_bytes=10 * BLOCK_BYTES), wall_ms=WALL_MS)
        for number in range(120):
            if number == 80:
                log.sync()
                disk.device.arm(fault, ".log")
            log.append(batch([b"%d" % number, b"x" * 200]), 1, WALL_MS)
        log.sync()
        assert disk.device.injected == {fault: 1}
        assert damages_of(log, disk), f"seed {seed}"


def test_a_block_of_another_log_is_found_although_its_batches_are_intact(disk: SimulatedDisk) -> None:
    log = filled(disk)
    other = Log.create(disk, "/data/other-0", CONFIG, wall_ms=WALL_MS)
    for number in range(60):
        other.append(batch([b"%03d" % number, b"y" * 20], timestamp_ms=WALL_MS + number), 3, WALL_MS)
    other.sync()
    segment, size_bytes = log.segments[0], len(batch([b"005", b"x" * 20]))
    data = disk.open(other.segments[0].files.log).read(size_bytes, 5 * size_bytes)
    disk.open(segment.files.log).write([data], 5 * size_bytes)
    (damage,) = damages_of(log, disk)
    assert (damage.start_offset, damage.end_offset) == (10, 12)
    assert "epoch 3, not 0" in damage.why


def test_a_file_that_became_shorter_and_an_index_that_is_gone_are_found(disk: SimulatedDisk) -> None:
    log = filled(disk)
    first, second = log.segments[:2]
    disk.open(first.files.log).truncate(first.size_bytes - 1)
    (damage,) = damages_of(log, disk)
    assert damage.end_offset == first.end_offset
    second.release()
    disk.remove(second.files.offset_index)
    (damage,) = damages_of(log, disk, 1)
    assert "missing" in damage.why


def test_a_verdict_on_what_was_cut_or_deleted_meanwhile_says_nothing(disk: SimulatedDisk) -> None:
    log = filled(disk)
    segment = log.segments[1]
    job = scrub_job(log, segment)
    found = [Damage(segment.base_offset, segment.end_offset, 0, 10, "planted")]
    log.truncate(segment.end_offset - 2)
    assert take_verdict(log, job, segment, found) is None
    log.truncate(segment.base_offset)
    assert take_verdict(log, job, segment, found) is None
    assert not log.damages
    first = log.segments[0]
    job = scrub_job(log, first)
    assert take_verdict(log, job, first, [Damage(0, 2, 0, 10, "planted")]) is True
    assert take_verdict(log, job, first, [Damage(0, 2, 0, 10, "planted")]) is False
    assert take_verdict(log, job, first, []) is False
    assert not log.damages


def test_what_goes_takes_its_damage_along(disk: SimulatedDisk) -> None:
    log = filled(disk)
    bases = [segment.base_offset for segment in log.segments]
    assert log.note_damage([Damage(1, 2, 0, 1, "a"), Damage(bases[2], bases[2] + 2, 0, 1, "b")])
    log.truncate(bases[2])
    assert [each.why for each in log.damages.all] == ["a"]
    log.reset(500)
    assert not log.damages


def test_what_comes_from_the_device_is_checked_before_it_is_read() -> None:
    disk = SimulatedDisk(Device(Random(1)), DiskConfig(cold_rate=1.0))
    log = filled(disk)
    segment = log.segments[0]
    touched(disk, segment.files.log, segment.size_bytes // 2, 4)
    prefetch = log.prefetch(0, 10_000)
    assert prefetch is not None
    assert log.note_damage(prefetch())
    assert not log.note_damage(prefetch())
    damage = log.damages.all[0]
    assert log.read(0, 10_000, log.end_offset).next_offset == damage.start_offset
    with pytest.raises(CorruptRecordError):
        log.read(damage.start_offset, 10_000, log.end_offset)
    assert log.read(damage.end_offset, 10_000, log.end_offset).base_offset == damage.end_offset
    disk.device.arm(DiskFault.READ_ERROR)
    with pytest.raises(KafkaStorageError):
        log.read_bytes(damage.end_offset, 10_000, log.end_offset)


def test_what_was_read_ahead_of_a_segment_that_is_gone_says_nothing_of_the_log(disk: SimulatedDisk) -> None:
    log = filled(disk)
    damages = [Damage(0, 1, 0, 1, "planted")]
    before, behind = log.prefetch(0, 1_000, cached_too=True), log.prefetch(0, 1_000, cached_too=True)
    assert before is not None and behind is not None
    assert log.note_found(before, damages)
    log.truncate(log.segments[1].base_offset)
    assert not log.note_found(behind, [Damage(1, 2, 1, 2, "planted")])
    after = log.prefetch(0, 1_000, cached_too=True, newest_too=True)
    assert after is not None and log.note_found(after, [Damage(1, 2, 1, 2, "planted")])
    log.close()
    assert not log.note_found(after, [Damage(2, 3, 2, 3, "planted")])


def test_what_is_in_memory_is_checked_where_that_is_asked_for(disk: SimulatedDisk) -> None:
    log = filled(disk)
    assert log.prefetch(0, 1000) is None
    assert log.prefetch(0, 1000, cached_too=True) is not None
    assert log.prefetch(log.end_offset - 1, 1000, cached_too=True) is None
    newest = log.prefetch(log.end_offset - 1, 1000, cached_too=True, newest_too=True)
    assert newest is not None
    assert newest() == ()


def ranges() -> st.SearchStrategy[list[Damage]]:
    pair = st.tuples(st.integers(0, 30), st.integers(1, 6))
    return st.lists(pair.map(lambda it: Damage(it[0], it[0] + it[1], 0, 1, "")), max_size=4)


@given(ranges(), ranges(), st.integers(0, 36))
def test_readers_get_all_but_the_damage(first: list[Damage], second: list[Damage], offset: int) -> None:
    damages = Damages()
    damages.note(first[:1])
    damages.replace(10, 20, [each for each in second if each.start_offset >= 10 and each.end_offset <= 20][:1])
    bad = {offset for each in damages.all for offset in range(each.start_offset, each.end_offset)}
    try:
        end = damages.readable_end(offset, 40)
    except CorruptRecordError:
        assert offset in bad
    else:
        assert offset not in bad
        assert not bad & {*range(offset, end)}
        assert end == 40 or end in bad


@pytest.fixture(autouse=True)
def _no_fault_is_left(disk: SimulatedDisk) -> Iterator[None]:
    yield
    disk.device.disarm()
