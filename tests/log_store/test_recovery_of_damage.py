"""Opening a log whose files rotted, or lost what was durable: damage is named, and never taken for a torn tail."""

import contextlib
from dataclasses import replace
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftpy.errors import CorruptRecordError, KafkaStorageError
from kraftpy.record import HEADER_BYTES, encode_marker, iterate_headers
from log_store import file_names
from log_store.config import LogConfig
from log_store.fence import Fence
from log_store.log import Log
from simulation.device import CrashMode, Device, DiskFault
from simulation.disk import SimulatedDisk
from tests.log_store.batches import WALL_MS, batch
from tests.log_store.recovering import CONFIG, DIRECTORY, contents, filled, last_path, new_disk, reopened


@pytest.fixture
def disk() -> SimulatedDisk:
    return new_disk()


@given(byte=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_cuts_the_log_before_its_batch(byte: int, bit: int) -> None:
    """NATS 2.12.1: found by checksum and never led with. Base offset and epoch have none; they must go on."""
    disk = SimulatedDisk(Device(Random(1)))
    log = filled(disk, 12, LogConfig())
    original = contents(log)
    headers = list(iterate_headers(original))
    byte %= len(original)
    file = disk.open(last_path(log))
    file.write([bytes([original[byte] ^ 1 << bit])], byte)
    again = reopened(disk, config=LogConfig())
    position, header = next((p, h) for p, h in headers if p <= byte < p + h.size_bytes)
    if 12 <= byte - position < 16 and again.end_offset > header.base_offset:
        # An epoch that does not go back cannot be told from a right one here; a replica's leader tells (KIP-101).
        assert again.epochs.epoch_at(header.base_offset) != header.leader_epoch
    else:
        assert contents(again) == original[:position]
        assert again.end_offset == header.base_offset
        assert again.recovery.cut_bytes > 0


def test_a_damaged_epoch_file_is_made_again_from_the_batches(disk: SimulatedDisk) -> None:
    log = filled(disk)
    entries = log.epochs.entries
    assert len(entries) == 4
    for clean in (True, False):
        log.close(clean=clean)
        disk.write_atomically(f"{DIRECTORY}/{file_names.LEADER_EPOCHS}", b"0\n9\nnonsense\n")
        log = reopened(disk, clean=clean)
        assert log.epochs.entries == entries


@pytest.mark.parametrize("clean", [False, True])
def test_a_damaged_snapshot_proves_nothing(disk: SimulatedDisk, clean: bool) -> None:
    log = filled(disk)
    sent = batch([b"idempotent"], producer_id=9, base_sequence=0)
    log.append(bytearray(sent), 5, WALL_MS)
    log.roll(WALL_MS)
    log.sync()
    log.sync()
    log.close(clean=clean)
    newest = f"{DIRECTORY}/{file_names.of_offset(41, '.snapshot')}"
    disk.device.flip_bit(newest)
    again = reopened(disk, clean=clean)
    assert again.recovery.scanned_bytes > 0
    assert again.append(bytearray(sent), 5, WALL_MS).duplicate


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("field", ["offset", "length", "magic", "crc", "last offset delta", "record"])
def test_damage_of_an_older_segment_is_no_hole_that_retention_left(
    disk: SimulatedDisk, field: str, compacted: bool
) -> None:
    """Seed 1300280 of a campaign: the log began behind the segment with the flipped bit, its broker was elected, and
    the others deleted what it lacked. The offset of a batch is not under its checksum."""
    config = replace(CONFIG, cleanup_policy="compact") if compacted else CONFIG
    log = filled(disk, config=config)
    first = log.segments[0]
    log.close(clean=False)
    *_, (at, header) = iterate_headers(disk.read_bytes(first.files.log))
    begin, end = {
        "offset": (at, at + 8),
        "length": (at + 8, at + 12),
        "magic": (at + 16, at + 17),
        "crc": (at + 17, at + 21),
        "last offset delta": (at + 23, at + 27),
        "record": (at + HEADER_BYTES, at + header.size_bytes),
    }[field]
    file = disk.open(first.files.log)
    for position, bit in product(range(begin, end), range(8)):
        whole = bytes(file.read(1, position))
        file.write([bytes([whole[0] ^ 1 << bit])], position)
        again = reopened(disk, config=config)
        assert (again.start_offset, again.end_offset) == (0, 40)
        again.close(clean=False)
        file.write([whole], position)


@pytest.mark.parametrize("clean", [False, True])
def test_a_log_begins_where_it_did_whatever_bit_of_its_epochs_flips(disk: SimulatedDisk, clean: bool) -> None:
    log = filled(disk)
    epochs = log.epochs.entries
    log.close(clean=clean)
    path = f"{DIRECTORY}/{file_names.LEADER_EPOCHS}"
    whole = disk.read_bytes(path)
    for position, bit in product(range(len(whole)), range(8)):
        disk.write_atomically(path, whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :])
        again = reopened(disk, clean=clean)
        assert (again.start_offset, again.end_offset, again.epochs.entries) == (0, 40, epochs)
        again.close(clean=clean)


@pytest.mark.parametrize("clean", [False, True])
def test_a_closed_segment_that_lost_everything_is_no_gap(disk: SimulatedDisk, clean: bool) -> None:
    """What follows is still proven: only who reads there finds out."""
    log = filled(disk)
    lost = log.segments[1]
    log.close(clean=clean)
    disk.open(lost.files.log).truncate(0)
    again = reopened(disk, clean=clean, committed_offset=40)
    assert (again.start_offset, again.end_offset) == (0, 40)
    assert again.read(0, 10**6, 40).next_offset == lost.base_offset
    for offset in (lost.base_offset, lost.end_offset - 1):
        with pytest.raises(CorruptRecordError, match=f"reaches offset {offset}"):
            again.read(offset, 10**6, 40)
    assert again.read(lost.end_offset, 10**6, 40).size_bytes


@pytest.mark.parametrize("is_unreadable", [False, True])
def test_deleted_records_of_a_compacted_log_do_not_come_back_where_its_first_batch_is_damaged(
    disk: SimulatedDisk, is_unreadable: bool
) -> None:
    """Without a checkpoint only the batches tell a deletion from what compaction has removed."""
    config = replace(CONFIG, cleanup_policy="compact,delete")
    log = filled(disk, config=config)
    first = log.segments[0].files.log
    log.delete_records(25)
    log.close()
    if is_unreadable:
        disk.device.spoil(first, 0)
    else:
        disk.open(first).write([bytes(4)], 8)  # its length
    assert reopened(disk, clean=True, config=config).start_offset == 25


@pytest.mark.parametrize("opens_in_between", [0, 1, 2])
def test_a_log_of_which_everything_was_deleted_begins_there_after_any_number_of_crashes(opens_in_between: int) -> None:
    """The directory's checkpoint, written once a minute, may not tell yet."""
    config = replace(CONFIG, cleanup_policy="compact", max_compaction_lag_ms=1_000)
    disk = new_disk()
    log = filled(disk, 10, config)
    log.delete_records(10)
    log.sync()
    log.sync()
    assert log.flushed_start_offset == 10
    for _ in range(opens_in_between):
        disk.device.crash(CrashMode.KEPT)
        disk = SimulatedDisk(disk.device)
        log = reopened(disk, config=config)
        log.compacting.plan(10, WALL_MS + 5_000)  # rolls what has waited for so long
        log.sync()
    again = reopened(disk, config=config)
    assert (again.start_offset, again.end_offset, again.flushed_start_offset) == (10, 10, 10)
    again.append(batch(), 7, WALL_MS)
    assert again.epochs.entries[-1] == (7, 10)


@pytest.mark.parametrize("distance", [0, 3, 7, 9, 25])
def test_a_last_batch_that_is_damaged_is_found_also_after_a_clean_stop(disk: SimulatedDisk, distance: int) -> None:
    """Else the next append would leave a gap, or overwrite what others have."""
    log = filled(disk)
    path = last_path(log)
    log.close(clean=True)
    *_, (at, _) = iterate_headers(disk.read_bytes(path))
    disk.device.flip_bit(path, at + distance)
    with pytest.raises(CorruptRecordError, match="can be read up to offset 39"):
        reopened(disk, clean=True)


def test_a_segment_that_cannot_be_read_is_an_error_and_nothing_is_cut(disk: SimulatedDisk) -> None:
    log = filled(disk)
    size = disk.size(last_path(log))
    disk.device.arm(DiskFault.READ_ERROR, last_path(log))
    with pytest.raises(OSError):
        reopened(disk)
    assert disk.size(last_path(log)) == size
    assert reopened(disk).end_offset == 40


@pytest.mark.parametrize("at", [0, -1], ids=["a closed segment", "the last segment"])
@pytest.mark.parametrize("index", ["offset_index", "time_index"])
@pytest.mark.parametrize("clean", [True, False], ids=["clean", "killed"])
def test_an_index_that_cannot_be_read_ends_nothing(disk: SimulatedDisk, at: int, index: str, clean: bool) -> None:
    """Through a mapping it would be SIGBUS, at each start again."""
    log = filled(disk, 38)
    before = contents(log)
    path = getattr(log.segments[at].files, index)
    log.close(clean=clean)
    disk.device.spoil(path, 0)
    fence = Fence(DIRECTORY)
    again = reopened(disk, clean=clean, fence=fence)
    if clean or (at == 0 and index == "time_index"):  # nobody has looked: who needs it is told, and a scrub finds it
        with contextlib.suppress(KafkaStorageError):
            again.enforce_retention(WALL_MS, again.end_offset)
        with contextlib.suppress(KafkaStorageError):
            again.offset_for_time(WALL_MS + again.segments[at].base_offset, 38)
        with contextlib.suppress(KafkaStorageError):
            contents(again)
        assert fence.failure is None
        assert again.read_bytes(again.segments[1].base_offset, 1000, 38)
    else:
        assert again.enforce_retention(WALL_MS, again.end_offset) == 0
        assert contents(again) == before
        for offset in range(38):
            found = again.offset_for_time(WALL_MS + offset, 38)
            assert found is not None and found.offset == offset


@pytest.mark.parametrize("suffix", [file_names.LEADER_EPOCHS, file_names.PRODUCER_SNAPSHOT, ".txnindex"])
@pytest.mark.parametrize("at", [0, -1], ids=["the first", "the last"])
@pytest.mark.parametrize("clean", [True, False], ids=["clean", "killed"])
def test_a_small_file_that_cannot_be_read_is_a_damaged_one(
    disk: SimulatedDisk, suffix: str, at: int, clean: bool
) -> None:
    """Also that of a segment of which a proof covers a part, and which recovery scans from there on."""
    log = filled(disk, 38)
    marker = encode_marker(commit=False, coordinator_epoch=1, timestamp_ms=WALL_MS, producer_id=9, producer_epoch=0)
    for number in range(4):
        sent = batch([b"t"], producer_id=9, base_sequence=number, transactional=True)
        log.append(sent, 5, WALL_MS, verified=True)
        log.append(bytearray(marker), 5, WALL_MS, markers=True)
        if number == 1:
            log.delete_records(40)  # has a flush prove what is there
            log.sync()
    log.sync()
    before = contents(log), log.epochs.entries, log.aborted_in(40, 46)
    log.close(clean=clean)
    disk.device.spoil(sorted(path for path, _ in disk.device.files() if path.endswith(suffix))[at], 0)
    again = reopened(disk, clean=clean, start_offset=40)
    assert (contents(again), again.epochs.entries, again.aborted_in(40, 46)) == before
    assert again.append(bytearray(sent), 5, WALL_MS).duplicate
    again.close(clean=clean)
    assert reopened(disk, clean=clean, start_offset=40).aborted_in(40, 46) == before[2]


def test_damage_in_a_proven_segment_without_index_is_named(disk: SimulatedDisk) -> None:
    log = filled(disk)
    first = log.segments[0]
    log.close()
    disk.remove(first.files.time_index)
    disk.open(first.files.log).write([b"\0\0\0\0"], 8)
    for clean in (True, False):
        with pytest.raises(CorruptRecordError):
            reopened(disk, clean=clean)
    assert disk.exists(last_path(log))


def recovered(disk: SimulatedDisk, committed_offset: int, *, clean: bool = False) -> Log:
    disk = SimulatedDisk(disk.device)
    return Log.open(disk, DIRECTORY, LogConfig(), clean=clean, wall_ms=WALL_MS, committed_offset=committed_offset)


def test_damage_in_what_was_committed_is_no_torn_tail(disk: SimulatedDisk) -> None:
    log = filled(disk, 12, LogConfig())
    path, position = last_path(log), log.segments[-1].position_of(8)
    file = disk.open(path)
    file.write([b"\xff"], position + 40)
    before = file.read(file.size(), 0)
    with pytest.raises(CorruptRecordError, match="read up to offset 8, and everything below 9 was durable"):
        recovered(disk, 9)
    assert SimulatedDisk(disk.device).open(path).read(10**6, 0) == before, "nothing is cut"
    again = recovered(disk, 8)
    assert (again.end_offset, again.recovery.short_of) == (8, 0), "what nobody was promised is a torn tail"


def test_a_log_that_just_ends_too_early_says_so(disk: SimulatedDisk) -> None:
    log = filled(disk, 12, LogConfig())
    disk.open(last_path(log)).truncate(log.segments[-1].position_of(8))
    again = recovered(disk, 12)
    assert (again.end_offset, again.recovery.short_of) == (8, 12)


def test_damage_below_a_proof_is_never_cut(disk: SimulatedDisk) -> None:
    log = filled(disk, 12, LogConfig())
    path, position = last_path(log), log.segments[-1].position_of(8)
    log.close()
    disk.open(path).write([b"\x07"], position + 16)
    with pytest.raises(CorruptRecordError, match="was durable"):
        recovered(disk, 0)
    disk.open(path).truncate(position)
    with pytest.raises(CorruptRecordError, match="was durable"):
        recovered(disk, 0, clean=True)
