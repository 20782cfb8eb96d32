"""compression.type: what is kept of what producers send."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftpy.errors import InvalidConfigError, OutOfOrderSequenceError, RecordListTooLargeError, RecordTooLargeError
from kraftpy.record import BatchHeader, Compression, TimestampType, check_batch, encode_marker, iterate_headers
from log_store.config import LogConfig
from log_store.log import Log
from simulation.device import Device
from simulation.disk import SimulatedDisk
from tests.log_store.batches import WALL_MS, batch
from tests.log_store.test_log import values_of

TYPES = {
    "uncompressed": Compression.NONE,
    "gzip": Compression.GZIP,
    "snappy": Compression.SNAPPY,
    "lz4": Compression.LZ4,
    "zstd": Compression.ZSTD,
}
NOISE = Random(5).randbytes(3_000)


def new_log(**config: Any) -> Log:
    disk = SimulatedDisk(Device(Random(1)))
    return Log.create(disk, "/data/topic-0", LogConfig(**config), wall_ms=WALL_MS)


def headers_of(log: Log) -> list[BatchHeader]:
    data = log.read_bytes(0, 10**7, log.end_offset)
    return [check_batch(data, position) for position, _ in iterate_headers(data)]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(TYPES)), st.lists(st.sampled_from(Compression), min_size=1, max_size=4))
def test_what_is_kept_and_a_retry_of_it(kept_as: str, sent_as: list[Compression]) -> None:
    log = new_log(compression_type=kept_as)
    sent = [
        batch([b"%d" % n, bytes(500)], producer_id=9, base_sequence=2 * n, compression=compression)
        for n, compression in enumerate(sent_as)
    ]
    first = [log.append(bytearray(records), 1, WALL_MS) for records in sent]
    assert [header.compression for header in headers_of(log)] == [TYPES[kept_as]] * len(sent)
    assert values_of(log) == [value for n in range(len(sent)) for value in (b"%d" % n, bytes(500))]
    again = [log.append(bytearray(records), 1, WALL_MS) for records in sent]
    assert again == [each._replace(duplicate=True) for each in first]
    with pytest.raises(OutOfOrderSequenceError):
        log.append(batch(producer_id=9, base_sequence=2 * len(sent) + 1), 1, WALL_MS)


def test_what_is_so_already_stays_as_it_is() -> None:
    log = new_log(compression_type="zstd", compression_zstd_level=19)
    sent = batch([bytes(500)], compression=Compression.ZSTD)
    log.append(sent, 1, WALL_MS)
    assert log.read_bytes(0, 1, 1) == sent


def test_several_batches_and_the_logs_own_time() -> None:
    log = new_log(compression_type="gzip", timestamp_type="LogAppendTime")
    sent = batch([b"a", b"b"]) + batch([bytes(500)], compression=Compression.GZIP) + batch([b"c"])
    assert log.append(sent, 3, WALL_MS) == (0, 4, WALL_MS, False)
    told = [(each.base_offset, each.leader_epoch, each.compression, each.max_timestamp) for each in headers_of(log)]
    assert told == [(offset, 3, Compression.GZIP, WALL_MS) for offset in (0, 2, 3)]
    assert {each.timestamp_type for each in headers_of(log)} == {TimestampType.LOG_APPEND_TIME}
    assert values_of(log) == [b"a", b"b", bytes(500), b"c"]


def test_coordinators_and_followers_write_what_they_have() -> None:
    log = new_log(compression_type="zstd")
    log.append(batch(producer_id=9, base_sequence=0, transactional=True), 1, WALL_MS, verified=True)
    marker = encode_marker(commit=True, coordinator_epoch=1, timestamp_ms=WALL_MS, producer_id=9, producer_epoch=0)
    log.append(marker, 1, WALL_MS, markers=True, sequenced=False)
    log.append(batch([b"of a group"]), 1, WALL_MS, sequenced=False)
    expected = [Compression.ZSTD, Compression.NONE, Compression.NONE]
    assert [header.compression for header in headers_of(log)] == expected
    follower = new_log(compression_type="gzip")
    copied = log.read_bytes(0, 10**7, log.end_offset)
    follower.append_replicated(copied)
    assert follower.read_bytes(0, 10**7, 3) == copied


def test_a_change_counts_from_the_next_batch_on() -> None:
    log = new_log()
    for compression_type in ("producer", "lz4", "uncompressed", "producer"):
        log.reconfigure(replace(log.config, compression_type=compression_type))
        log.append(batch([bytes(500)], compression=Compression.SNAPPY), 1, WALL_MS)
    expected = [Compression.SNAPPY, Compression.LZ4, Compression.NONE, Compression.SNAPPY]
    assert [header.compression for header in headers_of(log)] == expected


def test_levels_are_those_of_the_codec() -> None:
    sizes = []
    for level in (1, 19):
        log = new_log(compression_type="zstd", compression_zstd_level=level)
        log.append(batch([b"%d and %d" % (number, number**3) for number in range(3_000)]), 1, WALL_MS)
        sizes.append(headers_of(log)[0].size_bytes)
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize(
    ("sent", "config", "error"),
    [
        (batch([bytes(5_000)]), {"compression_type": "zstd", "max_message_bytes": 1_000}, RecordTooLargeError),
        (
            batch([bytes(5_000)], compression=Compression.ZSTD),
            {"compression_type": "uncompressed", "max_message_bytes": 1_000},
            RecordTooLargeError,
        ),
        (batch([NOISE]), {"compression_type": "gzip", "max_message_bytes": len(batch([NOISE]))}, RecordTooLargeError),
        (
            batch([bytes(5_000)], compression=Compression.ZSTD),
            {"compression_type": "uncompressed", "segment_bytes": 1_000},
            RecordListTooLargeError,
        ),
    ],
    ids=["as it was sent", "decompressed", "larger compressed", "no segment"],
)
def test_the_limits_hold_before_and_after(sent: bytearray, config: dict[str, Any], error: type[Exception]) -> None:
    log = new_log(**config)
    with pytest.raises(error):
        log.append(sent, 1, WALL_MS)
    assert log.end_offset == 0


@pytest.mark.parametrize("compression", [Compression.ZSTD, Compression.NONE])
def test_what_would_take_long_stays_as_it_was_sent(compression: Compression) -> None:
    """Some kilobytes may become a hundred megabytes."""
    log = new_log(compression_type="gzip", max_message_bytes=20 << 20)
    sent = batch([bytes(1 << 20)] * 9, compression=compression)
    log.append(sent, 1, WALL_MS)
    log.append(batch([bytes(1 << 20)] * 7, compression=compression), 1, WALL_MS)
    assert [header.compression for header in headers_of(log)] == [compression, Compression.GZIP]


def test_a_codec_that_nobody_knows() -> None:
    with pytest.raises(InvalidConfigError, match="producer, uncompressed"):
        LogConfig(compression_type="brotli")
