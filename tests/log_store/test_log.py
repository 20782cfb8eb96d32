"""One log: what appends answer, what reads give, what is counted when."""

import errno
from random import Random
from typing import Any

import pytest

from kraftpy.errors import (
    ClosedError,
    CorruptRecordError,
    FencedLeaderEpochError,
    InvalidProducerEpochError,
    InvalidRecordError,
    InvalidTxnStateError,
    KafkaStorageError,
    OffsetOutOfRangeError,
    OutOfOrderSequenceError,
)
from kraftpy.record import (
    BatchBuilder,
    Compression,
    Header,
    Record,
    TimestampType,
    check_batch,
    decode_batches,
    encode_batch,
    encode_marker,
    iterate_headers,
)
from kraftpy.record.reader import ITEMS_MAX
from log_store import file_names
from log_store.config import LogConfig
from log_store.fence import Fence
from log_store.log import Log
from log_store.snapshots import Snapshots
from simulation.device import Device, DiskFault
from simulation.disk import DiskConfig, SimulatedDisk
from tests.log_store.batches import WALL_MS, batch

DIRECTORY = "/data/topic-0"


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk(Device(Random(1)))


def new_log(disk: SimulatedDisk, **config: Any) -> Log:
    return Log.create(disk, DIRECTORY, LogConfig(**config), wall_ms=WALL_MS)


def values_of(log: Log, offset: int = 0) -> list[bytes | None]:
    values = []
    while offset < log.end_offset:
        read = log.read(offset, 10**6, log.end_offset)
        data = b"".join(piece.file.read(piece.length, piece.position) for piece in read.slices)
        values += [record.value for record in decode_batches(data) if record.offset >= offset]
        offset = read.next_offset
    return values


# --- appending --------------------------------------------------------------------------------------------------------


def test_offsets_and_epoch_are_set_in_place(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    log.append(batch([b"a", b"b"]), 4, WALL_MS)
    records = batch([b"c"])
    assert log.append(records, 4, WALL_MS) == (2, 3, -1, False)
    header = check_batch(records)
    assert (header.base_offset, header.leader_epoch) == (2, 4)
    assert log.epochs.entries == ((4, 0),)
    assert values_of(log) == [b"a", b"b", b"c"]


def test_several_batches_in_one_append(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    assert log.append(batch([b"a", b"b"]) + batch([b"c"]), 1, WALL_MS) == (0, 3, -1, False)
    data = log.read_bytes(0, 10**6, 3)
    assert [(header.base_offset, header.record_count) for _, header in iterate_headers(data)] == [(0, 2), (2, 1)]


def test_compressed_batches_stay_closed(disk: SimulatedDisk) -> None:
    builder = BatchBuilder(Compression.ZSTD)
    for number in range(100):
        builder.append(WALL_MS, b"key", b"%d" % number, ())
    records = builder.build()
    log = new_log(disk)
    log.append(records, 1, WALL_MS)
    assert log.read_bytes(50, 1, 100) == records
    assert values_of(log)[99] == b"99"


def test_log_append_time_is_the_leaders(disk: SimulatedDisk) -> None:
    log = new_log(disk, timestamp_type="LogAppendTime")
    assert log.append(batch(timestamp_ms=5), 1, WALL_MS).log_append_time_ms == WALL_MS
    header = check_batch(log.read_bytes(0, 1, 1))
    assert (header.timestamp_type, header.max_timestamp) == (TimestampType.LOG_APPEND_TIME, WALL_MS)
    retried = batch(producer_id=1, base_sequence=0)
    log.append(bytearray(retried), 1, WALL_MS + 5)
    assert log.append(retried, 1, WALL_MS + 9) == (1, 2, WALL_MS + 5, True)


def test_an_older_leader_is_fenced(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    log.append(batch(), 4, WALL_MS)
    with pytest.raises(FencedLeaderEpochError):
        log.append(batch(), 3, WALL_MS)
    assert log.end_offset == 1


def test_an_epoch_that_began_without_a_record_is_cut_with_what_follows(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    log.append(batch(), 1, WALL_MS)
    log.epochs.assign(3, log.end_offset)  # as a leader of Kafka's notes it
    assert list(log.epochs.entries) == [(1, 0), (3, 1)]
    log.truncate(1)  # of a follower: nothing to cut, but an epoch that its leader may not know
    assert list(log.epochs.entries) == [(1, 0)]


def test_bufstream_a_retry_is_answered_with_the_offsets_of_the_first_time(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    sent = [batch([b"%d" % n] * 3, producer_id=9, base_sequence=3 * n) for n in range(7)]
    first = [log.append(bytearray(records), 1, WALL_MS) for records in sent]
    for back in range(1, 6):
        again = log.append(bytearray(sent[-back]), 1, WALL_MS)
        assert again == first[-back]._replace(duplicate=True)
    with pytest.raises(OutOfOrderSequenceError):
        log.append(bytearray(sent[1]), 1, WALL_MS)
    with pytest.raises(OutOfOrderSequenceError):
        log.append(batch(producer_id=9, base_sequence=99), 1, WALL_MS)
    with pytest.raises(InvalidProducerEpochError):
        log.append(batch(producer_id=9, producer_epoch=2, base_sequence=0), 1, WALL_MS)
        log.append(batch(producer_id=9, producer_epoch=1, base_sequence=1), 1, WALL_MS)
    assert log.end_offset == 22


def test_a_retry_is_recognised_on_a_follower_that_has_become_leader_and_after_its_restart(disk: SimulatedDisk) -> None:
    leader = new_log(disk)
    sent = [batch(producer_id=9, base_sequence=n) for n in range(7)]
    for records in sent:
        leader.append(bytearray(records), 1, WALL_MS)
    follower = Log.create(disk, "/other/topic-0", LogConfig(), wall_ms=WALL_MS)
    follower.append_replicated(leader.read_bytes(0, 10**6, 7))
    assert follower.append(bytearray(sent[2]), 2, WALL_MS) == (2, 3, -1, True)
    for clean in (True, False):
        follower.close(clean=clean)
        follower = Log.open(disk, "/other/topic-0", LogConfig(), clean=clean, wall_ms=WALL_MS)
        assert follower.append(bytearray(sent[2]), 2, WALL_MS) == (2, 3, -1, True)


def test_silent_producers_are_forgotten(disk: SimulatedDisk) -> None:
    log = new_log(disk, producer_id_expiration_ms=1000)
    log.enforce_retention(WALL_MS, 0)
    log.append(batch(producer_id=9, base_sequence=0), 1, WALL_MS)
    log.enforce_retention(WALL_MS + 1001, 1)
    assert log.append(batch(producer_id=9, base_sequence=5), 1, WALL_MS).duplicate is False


def test_markers_end_transactions(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    log.append(batch(producer_id=9, base_sequence=0, transactional=True), 1, WALL_MS, verified=True)
    assert log.producers.first_unstable_offset == 0
    marker = encode_marker(commit=True, coordinator_epoch=3, timestamp_ms=WALL_MS, producer_id=9, producer_epoch=0)
    log.append(marker, 1, WALL_MS, markers=True)
    assert log.producers.first_unstable_offset is None
    follower = Log.create(disk, "/other/topic-0", LogConfig(), wall_ms=WALL_MS)
    follower.append_replicated(log.read_bytes(0, 10**6, 2))
    assert follower.producers.first_unstable_offset is None
    assert list(follower.producers.entries()) == list(log.producers.entries())


def test_a_transaction_that_no_coordinator_knows_is_refused(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    with pytest.raises(InvalidTxnStateError, match="producer 9 has begun no transaction with topic-0"):
        log.append(batch(producer_id=9, base_sequence=0, transactional=True), 1, WALL_MS)
    assert log.end_offset == 0 and log.producers.first_unstable_offset is None


def test_what_was_replicated_is_byte_for_byte_the_same(disk: SimulatedDisk) -> None:
    leader = new_log(disk, segment_bytes=1000)
    for number in range(30):
        leader.append(batch([b"%d" % number] * 3), 1 + number // 10, WALL_MS)
    follower = Log.create(disk, "/other/topic-0", LogConfig(segment_bytes=700), wall_ms=WALL_MS)
    while follower.end_offset < leader.end_offset:
        data = leader.read_bytes(follower.end_offset, 900, leader.end_offset)
        appended = follower.append_replicated(data)
        assert appended.end_offset == follower.end_offset
    assert values_of(follower) == values_of(leader)
    assert follower.epochs.entries == leader.epochs.entries == ((1, 0), (2, 30), (3, 60))
    assert all(segment.size_bytes <= 700 for segment in follower.segments)
    assert len(follower.segments) > len(leader.segments) == 3


@pytest.mark.parametrize("damage", ["flip", "cut", "gap", "back"])
def test_kafka_18723_nothing_of_a_damaged_answer_is_appended(disk: SimulatedDisk, damage: str) -> None:
    log = new_log(disk)
    log.append_replicated(batch(base_offset=0, leader_epoch=5))
    good = bytes(batch(base_offset=1, leader_epoch=5))
    bad = bytearray(batch(base_offset=3 if damage == "gap" else 2, leader_epoch=4 if damage == "back" else 5))
    if damage == "flip":
        bad[70] ^= 1
    records = bytes(bad)[:-2] if damage == "cut" else good + bytes(bad)
    with pytest.raises((CorruptRecordError, InvalidRecordError)):
        log.append_replicated(records)
    assert (log.end_offset, log.size_bytes) == (1, len(good))
    assert log.append_replicated(good).end_offset == 2


def test_kafka_18723_a_batch_of_a_higher_epoch_is_not_appended(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    records = bytes(batch(base_offset=0, leader_epoch=2)) + bytes(batch(base_offset=1, leader_epoch=3))
    assert log.append_replicated(records, leader_epoch=2) == (0, 1, -1, False)
    assert log.append_replicated(bytes(batch(base_offset=1, leader_epoch=3)), leader_epoch=2) == (1, 1, -1, False)
    assert log.epochs.latest_epoch == 2


# --- reading ----------------------------------------------------------------------------------------------------------


def test_reads_stay_inside_their_bounds(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    for _ in range(10):
        log.append(batch([b"x"] * 5), 1, WALL_MS)
    size = log.size_bytes // 10
    assert log.read(0, 10**6, 50)[2:] == (10 * size, 50)
    assert log.read(7, 10**6, 50)[0::2] == (5, 9 * size)  # the whole batch that holds offset 7
    assert log.read(0, 3 * size + 5, 50)[2:] == (3 * size, 15)
    assert log.read(0, 10**6, 20)[2:] == (4 * size, 20)
    assert log.read(0, 10**6, 22)[2:] == (4 * size, 20)  # a batch that reaches over the bound stays out
    assert log.read(0, 1, 50)[2:] == (size, 5)
    assert log.read(0, 1, 50, minimum_one=False) == (0, [], 0, 0)
    assert log.read(50, 10**6, 50) == (50, [], 0, 50)
    assert log.read(30, 10**6, 20) == (30, [], 0, 30)
    assert log.read(16, 1, 18) == (16, [], 0, 16)


def test_reads_outside_the_log_are_refused(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    for _ in range(10):
        log.append(batch(), 1, WALL_MS)
    log.delete_records(4)
    for offset in (-1, 3, 11):
        with pytest.raises(OffsetOutOfRangeError):
            log.read(offset, 100, 10)
    with pytest.raises(OffsetOutOfRangeError):
        log.delete_records(11)
    log.delete_records(2)
    assert log.start_offset == 4
    assert values_of(log, 4) == [b"value"] * 6


def test_a_gap_of_a_compacted_log_is_read_over(disk: SimulatedDisk) -> None:
    log = new_log(disk, cleanup_policy="compact")
    for base in (0, 10, 20):
        log.append_replicated(batch([b"%d" % base], base_offset=base, leader_epoch=1))
        log.roll(WALL_MS)
    assert log.read(1, 100, log.end_offset)[0::3] == (10, 11)
    assert log.read(5, 100, log.end_offset)[0::3] == (10, 11)
    assert values_of(log, 11) == [b"20"]


def test_cold_data_is_for_a_disk_thread(disk: SimulatedDisk) -> None:
    log = new_log(disk, segment_bytes=1000)
    for _ in range(40):
        log.append(batch(), 1, WALL_MS)
    assert log.prefetch(0, 1000) is None
    cold = SimulatedDisk(disk.device, DiskConfig(cold_rate=1.0))
    log.close()
    log = Log.open(cold, DIRECTORY, LogConfig(segment_bytes=1000), clean=True, wall_ms=WALL_MS)
    prefetch = log.prefetch(0, 1000)
    assert prefetch is not None
    prefetch()
    log.append(batch(), 1, WALL_MS)
    assert log.prefetch(40, 1000) is None  # just written
    assert log.prefetch(41, 1000) is None  # nothing there
    assert log.prefetch(99, 1000) is None


def test_times(disk: SimulatedDisk) -> None:
    log = new_log(disk, segment_bytes=500, index_interval_bytes=100)
    assert log.offset_for_time(0, 10**6) is None
    assert log.youngest_record(10**6) is None
    for number in (5, 3, 9, 9, 2, 12, 1):
        log.append(batch([b"a", b"b"], timestamp_ms=WALL_MS + number), 1, WALL_MS)
    for asked, expected in ((0, 0), (5, 0), (6, 4), (9, 4), (10, 10), (12, 10)):
        assert log.offset_for_time(WALL_MS + asked, 14) == (
            expected,
            WALL_MS + (5, 9, 12)[(0, 4, 10).index(expected)],
            1,
        )
    assert log.offset_for_time(WALL_MS + 13, 14) is None
    assert log.offset_for_time(WALL_MS + 10, 10) is None  # there is one, but it is not committed yet
    assert log.youngest_record(14) == (10, WALL_MS + 12, 1)
    log.delete_records(5)
    assert log.offset_for_time(0, 14) == (5, WALL_MS + 9, 1)


@pytest.mark.parametrize("many", ["records", "headers"])
def test_a_small_batch_that_becomes_huge_holds_up_nobody(disk: SimulatedDisk, many: str) -> None:
    """Some hundred bytes, compressed: opened on the loop they took minutes, for their keys or for a time."""
    headers = tuple(Header("", None) for _ in range(ITEMS_MAX + 1)) if many == "headers" else ()
    count = 1 if many == "headers" else ITEMS_MAX + 1
    huge = encode_batch(
        [Record(at, WALL_MS + at % 2, b"k", None, headers) for at in range(count)], compression=Compression.GZIP
    )
    assert len(huge) < 200_000
    compacted = new_log(disk, cleanup_policy="compact")
    with pytest.raises(InvalidRecordError, match="more than a broker opens at once"):
        compacted.append(bytearray(huge), 1, WALL_MS)
    assert compacted.end_offset == 0
    log = Log.create(disk, "/data/other-0", LogConfig(), wall_ms=WALL_MS)
    log.append(batch(), 1, WALL_MS - 1)
    log.append(bytearray(huge), 1, WALL_MS)
    found = log.offset_for_time(WALL_MS, log.end_offset)
    assert found is not None and found.offset in (0, 1)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_reader_without_a_descriptor_leaves_the_directory_alone(number: int) -> None:
    fence = Fence("/data")
    with pytest.raises(KafkaStorageError, match="no descriptor left while reading t-0"), fence.reading("reading t-0"):
        raise OSError(number, "Too many open files")
    assert fence.failure is None
    with pytest.raises(KafkaStorageError), fence.guard("appending to t-0"):
        raise OSError(number, "Too many open files")
    assert fence.failure is not None


def test_an_unreadable_sector_fails_the_read_and_leaves_the_directory_alone(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    log.append(batch(), 1, WALL_MS)
    disk.device.arm(DiskFault.READ_ERROR)
    with pytest.raises(KafkaStorageError, match="a sector could not be read while reading topic-0"):
        log.read_bytes(0, 100, 1)
    assert log.append(batch(), 1, WALL_MS).end_offset == 2
    assert len(log.read_bytes(0, 1000, 2)) == 2 * len(batch())


def test_a_damaged_head_is_named_and_fences_nothing(disk: SimulatedDisk) -> None:
    log = new_log(disk, segment_bytes=1000)
    for _ in range(40):
        log.append(batch(), 1, WALL_MS)
    file = disk.open(log.segments[0].files.log)
    file.write([b"\0\0\0\0"], len(batch()) + 8)  # the length of the second batch
    log.segments[0].release()
    with pytest.raises(CorruptRecordError, match="no batch at"):
        log.read(3, 100, 40)
    assert log.append(batch(), 1, WALL_MS).end_offset == 41


# --- what counts when -------------------------------------------------------------------------------------------------


def test_appended_is_not_flushed(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    log.append(batch(), 1, WALL_MS)
    assert (log.end_offset, log.flushed_offset, log.recovery_point) == (1, 0, 0)
    flush = log.begin_flush()
    log.append(batch(), 1, WALL_MS)
    flush.run()
    assert log.flushed_offset == 0
    log.complete_flush(flush)
    assert (log.end_offset, log.flushed_offset, log.recovery_point) == (2, 1, 1)
    log.sync()
    assert log.flushed_offset == 2
    assert not log.needs_flush


def test_where_flushing_is_relaxed_appended_counts(disk: SimulatedDisk) -> None:
    log = new_log(disk, flush_messages=3, flush_interval_ms=1000)
    log.sync()
    log.append(batch(), 1, WALL_MS)
    log.sync()
    log.append(batch([b"a", b"b"]), 1, WALL_MS)
    assert (log.flushed_offset, log.recovery_point) == (3, 1)
    assert not log.flush_is_due
    assert not log.flush_is_overdue(WALL_MS)
    assert not log.flush_is_overdue(WALL_MS + 999)
    assert log.flush_is_overdue(WALL_MS + 1000)
    log.append(batch(), 1, WALL_MS)
    assert log.flush_is_due
    log.sync()
    assert not log.flush_is_overdue(WALL_MS + 5000)


def test_what_follows_a_cut_at_a_segments_boundary_stays(disk: SimulatedDisk) -> None:
    """The segment was sealed, and is to become no longer than what it held: now it is appended to again."""
    log = new_log(disk, segment_bytes=100_000, index_interval_bytes=150)
    for _ in range(11):
        log.append(batch(), 1, WALL_MS)
    log.roll(WALL_MS)
    log.append(batch(), 1, WALL_MS)
    log.truncate(11, at_once=True)
    log.append(batch([b"new"]), 2, WALL_MS)
    flush = log.begin_flush()
    flush.run()
    log.complete_flush(flush)
    assert (log.flushed_offset, values_of(log, 11)) == (12, [b"new"])


def test_a_flush_that_began_before_a_truncation_proves_nothing(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    for _ in range(10):
        log.append(batch(), 1, WALL_MS)
    flush = log.begin_flush()
    log.truncate(4)
    for _ in range(10):
        log.append(batch([b"other"]), 2, WALL_MS)
    flush.run()
    log.complete_flush(flush)
    assert log.flushed_offset == 0
    log.sync()
    assert log.flushed_offset == 14


def test_a_flush_that_a_cut_made_void_leaves_the_next_proof_alone(disk: SimulatedDisk) -> None:
    """What it wrote is to be removed, under the name of what is written anew: the directory failed for that."""
    log = new_log(disk, segment_bytes=len(batch()) * 3)
    for _ in range(4):
        log.append(batch(), 1, WALL_MS)
    flush = log.begin_flush()
    flush.run()
    log.truncate(3)
    log.append(batch(), 1, WALL_MS)
    log.complete_flush(flush)
    log.sync()
    assert (log.flushed_offset, [segment.base_offset for segment in log.segments]) == (4, [0, 3])
    proof = file_names.of_offset(3, file_names.PRODUCER_SNAPSHOT)
    assert [name for name in disk.list(DIRECTORY) if name.startswith(proof)] == [proof]


def test_who_comes_second_to_remove_a_file_does_not_fail(disk: SimulatedDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush on its thread, and a cut on the loop: each looks first, and the other is faster."""
    log = new_log(disk)
    log.append(batch(), 1, WALL_MS)
    flush = log.begin_flush()
    snapshots = Snapshots(disk, DIRECTORY, (3, 5))
    (gone,) = snapshots.forget_superseded(())
    flush.work.removals.append(gone)
    disk.write_atomically(snapshots.path(5), b"")
    monkeypatch.setattr(disk, "exists", lambda path: True)
    flush.run()
    snapshots.drop_above(2)
    assert snapshots.newest == 0


@pytest.mark.parametrize("damage", ["a head", "a sector"])
@pytest.mark.parametrize("where", ["where it is cut", "where the producers are told"])
def test_a_cut_that_cannot_be_read_changes_nothing(disk: SimulatedDisk, where: str, damage: str) -> None:
    """Half of a cut would be a log that ends elsewhere than it says, or forgets whom it has heard."""
    config = LogConfig(segment_bytes=3000, index_interval_bytes=200)
    log = Log.create(disk, DIRECTORY, config, wall_ms=WALL_MS)
    for number in range(80):
        log.append(batch([b"%d" % number], producer_id=7, base_sequence=number), 1 + number // 20, WALL_MS)
    log.close()
    log = Log.open(disk, DIRECTORY, config, clean=True, wall_ms=WALL_MS)
    segment = log.segments[1]
    cut = segment.end_offset - 8  # more than is remembered of the producer
    path = segment.files.log
    position = segment.position_of(cut - 1 if where == "where it is cut" else segment.base_offset + 1)
    healthy = disk.read_bytes(path)
    if damage == "a sector":
        disk.device.spoil(path, position)
    else:
        disk.open(path).write([bytes(61)], position)
    before = state_of(log)
    with pytest.raises((KafkaStorageError, CorruptRecordError)):
        log.truncate(cut)
    assert state_of(log) == before
    disk.open(path).write([healthy], 0)
    log.truncate(cut)
    assert log.end_offset == cut
    assert [each.last_offset for each in log.producers.entries()] == list(range(cut - 5, cut))
    assert values_of(log) == [b"%d" % number for number in range(cut)]


def state_of(log: Log) -> object:
    ends = (log.end_offset, log.flushed_offset, log.recovery_point, log.is_closed)
    return ends, list(log.segments), list(log.epochs.entries), list(log.producers.entries())


def test_truncation_takes_flushed_offsets_back(disk: SimulatedDisk) -> None:
    log = new_log(disk, segment_bytes=300)
    for number in range(20):
        log.append(batch([b"%d" % number]), 1 + number // 5, WALL_MS)
    log.sync()
    log.truncate(7)
    assert (log.end_offset, log.flushed_offset, log.recovery_point) == (7, 7, 7)
    assert list(log.epochs.entries) == [(1, 0), (2, 5)]
    assert values_of(log) == [b"%d" % number for number in range(7)]
    log.truncate(0)
    assert (log.start_offset, log.end_offset, list(log.epochs.entries)) == (0, 0, [])
    log.append(batch([b"again"]), 9, WALL_MS)
    assert values_of(log) == [b"again"]


def test_reset_begins_anew_anywhere(disk: SimulatedDisk) -> None:
    log = new_log(disk, segment_bytes=300)
    for epoch, offset in ((1, 500), (2, 3)):
        for _ in range(20):
            log.append(batch(), epoch, WALL_MS)
        log.reset(offset)
        assert (log.start_offset, log.end_offset, log.flushed_offset, log.size_bytes) == (offset, offset, offset, 0)
        assert log.epochs.entries == ()
        assert log.append(batch(), epoch, WALL_MS).base_offset == offset
    log.sync()
    assert {name[:20] for name in disk.list(DIRECTORY)} == {"00000000000000000003", "leader-epoch-checkpo"}


# --- segments ---------------------------------------------------------------------------------------------------------


def test_rolling_by_size_and_by_time(disk: SimulatedDisk) -> None:
    log = new_log(disk, segment_bytes=len(batch()) * 3, segment_ms=1000)
    for _ in range(7):
        log.append(batch(), 1, WALL_MS)
    assert [segment.base_offset for segment in log.segments] == [0, 3, 6]
    log.append(batch(timestamp_ms=WALL_MS + 1001), 1, WALL_MS + 1001)
    assert [segment.base_offset for segment in log.segments] == [0, 3, 6, 7]
    log.roll(WALL_MS)
    log.roll(WALL_MS)
    assert [segment.base_offset for segment in log.segments] == [0, 3, 6, 7, 8]
    log.sync()
    snapshots = [name for name in disk.list(DIRECTORY) if name.endswith(".snapshot")]
    assert [int(name[:20]) for name in snapshots] == [3, 6, 7, 8]


def test_retention_deletes_after_what_replaces_it_is_durable(disk: SimulatedDisk) -> None:
    log = new_log(disk, segment_bytes=len(batch()) * 2, retention_ms=1000, file_delete_delay_ms=500)
    for _ in range(5):
        log.append(batch(), 1, WALL_MS)
    late_ms = WALL_MS + 1001
    assert log.enforce_retention(late_ms, 5) == 0  # nothing was flushed
    log.sync()
    log.sync()
    assert log.enforce_retention(late_ms, 3) == 1  # only [0, 2) is below the high watermark
    assert log.start_offset == 2
    log.sync()
    assert log.enforce_retention(late_ms, 5) == 1
    log.sync()
    assert log.enforce_retention(late_ms, 5) == 1  # the last one had been rolled
    assert (log.start_offset, log.end_offset, log.size_bytes) == (5, 5, 0)
    deleted = [name for name in disk.list(DIRECTORY) if name.endswith(".log.deleted")]
    assert len(deleted) == 3
    log.enforce_retention(late_ms + 500, 5)
    log.sync()
    assert not [name for name in disk.list(DIRECTORY) if name.endswith(".deleted")]
    log.close()
    log = Log.open(disk, DIRECTORY, log.config, clean=True, wall_ms=WALL_MS)
    assert (log.start_offset, log.end_offset) == (5, 5)


def test_settings_may_change_under_way(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    log.append(batch(), 1, WALL_MS)
    log.reconfigure(LogConfig(segment_bytes=len(batch()) * 2))
    for _ in range(4):
        log.append(batch(), 1, WALL_MS)
    assert [segment.base_offset for segment in log.segments] == [0, 2, 4]


def test_a_reader_finishes_what_was_deleted_meanwhile(disk: SimulatedDisk) -> None:
    log = new_log(disk, retention_ms=1000, file_delete_delay_ms=0)
    log.append(batch([b"kept by its reader"]), 1, WALL_MS)
    log.roll(WALL_MS)
    log.sync()
    log.sync()
    (piece,) = log.read(0, 100, 1).slices
    assert log.enforce_retention(WALL_MS + 2000, 1) == 1
    log.enforce_retention(WALL_MS + 2000, 1)
    log.sync()
    assert not disk.exists(f"{DIRECTORY}/00000000000000000000.log")
    log.enforce_retention(WALL_MS + 2000, 1)  # its indexes keep their names until that of the batches is durable
    log.sync()
    assert disk.list(DIRECTORY)[0].startswith("00000000000000000001")
    assert b"kept by its reader" in piece.file.read(piece.length, piece.position)


def test_a_closed_log_says_so(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    log.close()
    log.close()
    with pytest.raises(ClosedError):
        log.append(batch(), 1, WALL_MS)


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [DiskFault.WRITE_ERROR, DiskFault.FULL])
def test_kafka_10778_after_a_failed_append_nothing_more_is_accepted(disk: SimulatedDisk, fault: DiskFault) -> None:
    log = new_log(disk)
    log.append(batch(), 1, WALL_MS)
    log.sync()
    disk.device.arm(fault)
    with pytest.raises(KafkaStorageError, match="failed while appending topic-0"):
        log.append(batch([bytes(100_000)]), 2, WALL_MS)
    assert (log.end_offset, log.flushed_offset, log.epochs.latest_epoch) == (1, 1, 1)
    disk.device.disarm()
    for work in (
        lambda: log.append(batch(), 2, WALL_MS),
        lambda: log.append_replicated(batch(base_offset=1, leader_epoch=2)),
        lambda: log.begin_flush(),
        lambda: log.truncate(0),
        lambda: log.roll(WALL_MS),
        lambda: log.enforce_retention(WALL_MS, 1),
        lambda: log.reset(9),
        lambda: log.close(),
    ):
        with pytest.raises(KafkaStorageError, match="offline since"):
            work()
    log = Log.open(disk, DIRECTORY, LogConfig(), clean=False, wall_ms=WALL_MS)
    assert values_of(log) == [b"value"]


def test_a_failed_sync_counts_nothing(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    log.append(batch(), 1, WALL_MS)
    disk.device.arm(DiskFault.SYNC_FAILURE)
    with pytest.raises(KafkaStorageError, match="flushing"):
        log.sync()
    assert log.flushed_offset == 0
    with pytest.raises(KafkaStorageError, match="offline"):
        log.sync()  # the second fsync would succeed, and prove nothing
