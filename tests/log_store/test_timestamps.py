"""The largest timestamps of batches whose producers have them wrong."""

from collections.abc import Sequence
from random import Random

import pytest

from kraftpy.errors import InvalidRecordError, InvalidTimestampError
from kraftpy.record import Compression, Record, encode_batch, patch_max_timestamp, read_header
from kraftpy.record.reader import ITEMS_MAX
from log_store.config import LogConfig
from log_store.log import Log
from log_store.timestamps import DOUBT_MS, corrected
from simulation.device import Device
from simulation.disk import SimulatedDisk
from tests.log_store.batches import WALL_MS

OLD_MS = WALL_MS - 600_000
SAID_BY_SARAMA = -1
"""Before its version 1.45.2 (IBM/sarama 3108)."""


def lying(stamps: Sequence[int], said_ms: int, compression: Compression = Compression.NONE) -> bytearray:
    """Records of these times, of which the header says `said_ms` at most."""
    records = [Record(number, each, None, b"v", ()) for number, each in enumerate(stamps)]
    batch = encode_batch(records, compression)
    patch_max_timestamp(batch, 0, said_ms)
    return batch


@pytest.fixture
def log() -> Log:
    return new_log()


def new_log() -> Log:
    disk = SimulatedDisk(Device(Random(1)))
    return Log.create(disk, "/data/t-0", LogConfig(retention_ms=60_000), wall_ms=WALL_MS)


@pytest.mark.parametrize("compression", list(Compression))
@pytest.mark.parametrize(
    ("stamps", "said_ms"),
    [
        ((OLD_MS, WALL_MS), OLD_MS),  # KafkaJS, where only the first record was given a time
        ((WALL_MS, OLD_MS), OLD_MS),
        ((WALL_MS - 5,), SAID_BY_SARAMA),
        ((OLD_MS, WALL_MS - 1, OLD_MS), SAID_BY_SARAMA),
    ],
)
def test_what_the_records_say_counts(log: Log, stamps: tuple[int, ...], said_ms: int, compression: Compression) -> None:
    batch = lying(stamps, said_ms, compression)
    log.append(batch, 1, WALL_MS)
    assert read_header(batch).max_timestamp == max(stamps)
    found = log.offset_for_time(WALL_MS - DOUBT_MS, log.end_offset)
    assert found is not None
    assert (found.offset, found.timestamp_ms) == (stamps.index(max(stamps)), max(stamps))
    log.sync()
    assert log.enforce_retention(WALL_MS + 1_000, log.end_offset) == 0, "a record of now is in it"


def test_what_was_replicated_says_the_same(log: Log) -> None:
    batch = lying((OLD_MS, WALL_MS), OLD_MS)
    log.append(batch, 1, WALL_MS)
    copy = new_log()
    copy.append_replicated(batch, leader_epoch=1, wall_ms=WALL_MS)
    assert copy.youngest_record(2) == log.youngest_record(2) == (1, WALL_MS, 1)


def test_who_says_the_truth_is_left_alone() -> None:
    for stamps in ((OLD_MS, OLD_MS + 3), (OLD_MS,), (WALL_MS, WALL_MS - DOUBT_MS)):
        batch = lying(stamps, max(stamps))
        before, batches = bytes(batch), [(0, read_header(batch))]
        assert corrected(batch, batches, LogConfig(), WALL_MS) == batches
        assert batch == before


def test_nobody_looks_into_a_batch_of_very_many() -> None:
    batch = lying((OLD_MS,) * (ITEMS_MAX + 1), OLD_MS)
    ((_, header),) = corrected(batch, [(0, read_header(batch))], LogConfig(), WALL_MS)
    assert header.max_timestamp == read_header(batch).max_timestamp == WALL_MS


def test_limits_hold_for_what_was_hidden(log: Log) -> None:
    with pytest.raises(InvalidTimestampError):
        log.append(lying((OLD_MS, WALL_MS + 2 * 3_600_000), OLD_MS), 1, WALL_MS)
    assert log.end_offset == 0


def test_what_holds_no_records_is_refused_where_it_is_opened(log: Log) -> None:
    batch = lying((OLD_MS, OLD_MS), OLD_MS)
    batch[61] = 0x02  # the first record is shorter than its parts
    patch_max_timestamp(batch, 0, OLD_MS)
    with pytest.raises(InvalidRecordError):
        log.append(batch, 1, WALL_MS)
    assert log.end_offset == 0


def test_in_a_topic_with_the_logs_time_nothing_is_opened() -> None:
    batch = lying((OLD_MS, WALL_MS), OLD_MS)
    batches = [(0, read_header(batch))]
    assert corrected(batch, batches, LogConfig(timestamp_type="LogAppendTime"), WALL_MS) is batches
