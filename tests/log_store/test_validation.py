"""What a log accepts."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftpy.errors import (
    CorruptRecordError,
    InvalidConfigError,
    InvalidRecordError,
    InvalidTimestampError,
    RecordListTooLargeError,
    RecordTooLargeError,
)
from kraftpy.record import Record, encode_batch, encode_marker, patch_log_append_time
from log_store.config import LogConfig
from log_store.validation import check_produced, check_replicated
from tests.log_store.batches import WALL_MS, batch

CONFIG = LogConfig()


def test_a_batch_is_found_with_its_header() -> None:
    ((position, header),) = check_produced(batch([b"a", b"b"]), CONFIG, WALL_MS)
    assert (position, header.record_count, header.max_timestamp) == (0, 2, WALL_MS)


def test_several_batches_without_a_producer() -> None:
    first = batch([b"a"])
    found = check_produced(first + batch([b"b", b"c"]), CONFIG, WALL_MS)
    assert [(position, header.record_count) for position, header in found] == [(0, 1), (len(first), 2)]


def test_an_idempotent_producer_sends_one() -> None:
    records = batch(producer_id=1, base_sequence=0) + batch(producer_id=1, base_sequence=1)
    with pytest.raises(InvalidRecordError, match="one batch"):
        check_produced(records, CONFIG, WALL_MS)


@pytest.mark.parametrize(
    ("records", "config", "error"),
    [
        (b"", CONFIG, InvalidRecordError),
        (bytes(batch())[:-1], CONFIG, CorruptRecordError),
        (bytes(batch()) + b"x", CONFIG, CorruptRecordError),
        (bytes(61), CONFIG, Exception),
        (b"\xff" * 100, CONFIG, Exception),
        (bytes(batch([bytes(100)])), LogConfig(max_message_bytes=100), RecordTooLargeError),
        (bytes(batch([bytes(100)])), LogConfig(segment_bytes=100), RecordListTooLargeError),
        (bytes(batch(producer_id=1, base_sequence=-1)), CONFIG, InvalidRecordError),
        (bytes(batch(timestamp_ms=WALL_MS + 3_600_001)), CONFIG, InvalidTimestampError),
        (bytes(batch(timestamp_ms=WALL_MS - 11)), LogConfig(timestamp_before_max_ms=10), InvalidTimestampError),
    ],
)
def test_refused(records: bytes, config: LogConfig, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_produced(records, config, WALL_MS)


def test_timestamps_at_the_limits_and_none_at_all() -> None:
    config = LogConfig(timestamp_before_max_ms=10, timestamp_after_max_ms=20)
    for timestamp_ms in (WALL_MS - 10, WALL_MS + 20):
        assert check_produced(batch(timestamp_ms=timestamp_ms), config, WALL_MS)
    early, timeless = (
        encode_batch([Record(number, each, b"key", b"value", ()) for number, each in enumerate((first_ms, WALL_MS))])
        for first_ms in (WALL_MS - 11, -1)
    )
    with pytest.raises(InvalidTimestampError):
        check_produced(early, config, WALL_MS)
    assert check_produced(timeless, config, WALL_MS)
    assert check_produced(batch(timestamp_ms=WALL_MS + 99), LogConfig(timestamp_type="LogAppendTime"), WALL_MS)


def test_the_logs_time_is_not_a_producers_to_set() -> None:
    stamped = batch()
    patch_log_append_time(stamped, 0, WALL_MS)
    with pytest.raises(InvalidTimestampError):
        check_produced(stamped, CONFIG, WALL_MS)


def test_control_batches_are_for_the_coordinator() -> None:
    marker = encode_marker(commit=True, coordinator_epoch=1, timestamp_ms=WALL_MS, producer_id=1, producer_epoch=0)
    with pytest.raises(InvalidRecordError, match="coordinator"):
        check_produced(marker, CONFIG, WALL_MS)
    assert check_produced(marker, CONFIG, WALL_MS, markers=True)
    with pytest.raises(InvalidRecordError):
        check_produced(batch(), CONFIG, WALL_MS, markers=True)


def test_a_compacted_log_wants_keys() -> None:
    config = LogConfig(cleanup_policy="compact")
    assert check_produced(batch(), config, WALL_MS)
    without = encode_batch([Record(0, WALL_MS, b"k", b"v", ()), Record(1, WALL_MS, None, b"v", ())])
    with pytest.raises(InvalidRecordError, match="without a key"):
        check_produced(without, config, WALL_MS)


@given(bit=st.integers(0, 8 * len(batch()) - 1))
@settings(max_examples=100)
def test_a_flipped_bit_is_never_accepted_as_it_is(bit: int) -> None:
    """Except in base offset and leader epoch, which the log sets itself."""
    records = batch()
    records[bit // 8] ^= 1 << bit % 8
    if bit // 8 < 8 or 12 <= bit // 8 < 16:
        assert check_produced(records, CONFIG, WALL_MS)
    else:
        with pytest.raises(Exception, match=r"."):
            check_produced(records, CONFIG, WALL_MS)


# --- replicated -------------------------------------------------------------------------------------------------------


def replicated(*batches: bytes, next_offset: int = 10, latest_epoch: int = 2, **more: object) -> list[tuple[int, int]]:
    arguments = {"leader_epoch": None, "compacted": False} | more
    found = check_replicated(b"".join(batches), next_offset=next_offset, latest_epoch=latest_epoch, **arguments)  # type: ignore[arg-type]
    return [(header.base_offset, header.leader_epoch) for _, header in found]


def sent(base_offset: int, epoch: int, records: int = 2) -> bytes:
    return bytes(batch([b"x"] * records, base_offset=base_offset, leader_epoch=epoch))


def test_batches_that_go_on() -> None:
    assert replicated(sent(10, 2), sent(12, 2), sent(14, 5)) == [(10, 2), (12, 2), (14, 5)]
    assert replicated() == []


def test_a_last_batch_that_was_cut_off_is_left_out() -> None:
    for length in (1, 11, 13, 60, len(sent(12, 2)) - 1):
        assert replicated(sent(10, 2), sent(12, 2)[:length]) == [(10, 2)]


def test_a_first_batch_that_was_cut_off_is_damage() -> None:
    for length in (1, 11, 13, 60, len(sent(10, 2)) - 1):
        with pytest.raises(CorruptRecordError):
            replicated(sent(10, 2)[:length])


@pytest.mark.parametrize("base_offset", [9, 11, 0])
def test_an_offset_that_does_not_go_on(base_offset: int) -> None:
    with pytest.raises(InvalidRecordError, match="expected 10"):
        replicated(sent(base_offset, 2))


def test_a_compacted_log_has_gaps_but_never_goes_back() -> None:
    assert replicated(sent(12, 2), compacted=True) == [(12, 2)]
    with pytest.raises(InvalidRecordError):
        replicated(sent(9, 2), compacted=True)


def test_an_epoch_that_goes_back() -> None:
    with pytest.raises(InvalidRecordError, match="behind"):
        replicated(sent(10, 1))
    with pytest.raises(InvalidRecordError, match="behind"):
        replicated(sent(10, 3), sent(12, 2))


def test_kafka_18723_batches_of_a_higher_epoch_are_left_out() -> None:
    assert replicated(sent(10, 3), sent(12, 4), sent(14, 4), leader_epoch=3) == [(10, 3)]
    assert replicated(sent(10, 4), leader_epoch=3) == []


def test_kafka_18723_one_damaged_batch_spoils_all_of_them() -> None:
    random = Random(7)
    for _ in range(50):
        data = bytearray(sent(10, 2) + sent(12, 2))
        at = random.randrange(len(sent(10, 2)) + 16, len(data))  # in the second one, where the CRC looks
        data[at] ^= 1 << random.randrange(8)
        with pytest.raises((CorruptRecordError, InvalidRecordError)):
            replicated(bytes(data))


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("segment_bytes", 13, "segment.bytes"),
        ("segment_ms", 0, "segment.ms"),
        ("retention_ms", -2, "retention.ms"),
        ("flush_messages", 0, "flush.messages"),
        ("max_message_bytes", -1, "max.message.bytes"),
        ("timestamp_type", "Whenever", "message.timestamp.type"),
        ("cleanup_policy", "shred", "cleanup.policy"),
        ("cleanup_policy", "", "cleanup.policy"),
    ],
)
def test_bad_settings_are_named(field: str, value: int | str, name: str) -> None:
    with pytest.raises(InvalidConfigError, match=name):
        LogConfig(**{field: value})  # type: ignore[arg-type]
