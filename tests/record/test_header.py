"""What a broker does with a batch: look at its header, check it, stamp it."""

from struct import pack_into

import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftpy.errors import CorruptRecordError, InvalidRecordError, KraftpyError, UnsupportedForMessageFormatError
from kraftpy.record import (
    HEADER_BYTES,
    BatchBuilder,
    Compression,
    Record,
    TimestampType,
    check_batch,
    decode_batch,
    encode_batch,
    iterate_headers,
    patch,
    patch_log_append_time,
    read_header,
)
from kraftpy.record.header import seal

RECORDS = [Record(index, 1_700_000_000_000 + index, b"key", b"value %d" % index) for index in range(5)]
BATCH = bytes(
    encode_batch(RECORDS, base_offset=100, leader_epoch=7, producer_id=9, producer_epoch=2, base_sequence=2**31 - 3)
)


def resealed(position: int, form: str, value: int) -> bytearray:
    """The batch with one field changed and a CRC that agrees with it."""
    batch = bytearray(BATCH)
    pack_into(form, batch, position, value)
    seal(batch, 0, len(batch))
    return batch


def test_a_header_says_what_the_builder_was_told() -> None:
    header = check_batch(BATCH)
    assert (header.base_offset, header.last_offset, header.end_offset) == (100, 104, 105)
    assert (header.leader_epoch, header.producer_id, header.producer_epoch) == (7, 9, 2)
    assert header.size_bytes == len(BATCH) == header.batch_length + 12
    assert header.record_count == 5
    assert header.max_timestamp - header.base_timestamp == 4
    assert header.compression is Compression.NONE and header.timestamp_type is TimestampType.CREATE_TIME
    assert not header.is_control and not header.is_transactional
    assert header == read_header(BATCH) == check_batch(memoryview(BATCH))


def test_sequences_go_on_with_zero_after_the_largest() -> None:
    header = read_header(BATCH)
    assert (header.base_sequence, header.last_sequence) == (2**31 - 3, 1)
    assert header._replace(base_sequence=-1).last_sequence == -1


def test_patching_leaves_the_checksum_valid() -> None:
    batch = bytearray(b"before") + bytearray(BATCH)
    patch(memoryview(batch), 6, 2**40, 12)
    header = check_batch(batch, 6)
    assert (header.base_offset, header.leader_epoch, header.end_offset) == (2**40, 12, 2**40 + 5)
    assert [record.offset for record in decode_batch(batch, 6)] == list(range(2**40, 2**40 + 5))


def test_log_append_time_is_every_records_time() -> None:
    batch = bytearray(BATCH)
    patch_log_append_time(batch, 0, 1_800_000_000_000)
    header = check_batch(batch)
    assert header.timestamp_type is TimestampType.LOG_APPEND_TIME
    assert {record.timestamp_ms for record in decode_batch(batch)} == {header.max_timestamp} == {1_800_000_000_000}


def test_the_checksum_covers_everything_after_itself() -> None:
    assert crc32c(BATCH[21:]) == read_header(BATCH).crc
    for position in range(21, len(BATCH)):
        broken = bytearray(BATCH)
        broken[position] ^= 0x40
        with pytest.raises(CorruptRecordError):
            check_batch(broken)


@pytest.mark.parametrize("size", range(len(BATCH)))
def test_a_batch_that_is_cut_off_is_corrupt(size: int) -> None:
    with pytest.raises(CorruptRecordError):
        check_batch(BATCH[:size])
    assert list(iterate_headers(BATCH + BATCH[:size])) == [(0, read_header(BATCH))]


def test_zeros_as_in_a_reserved_tail_are_corrupt() -> None:
    with pytest.raises(CorruptRecordError):
        read_header(bytes(4096))


@pytest.mark.parametrize(
    ("batch", "error"),
    [
        (resealed(8, ">i", 48), CorruptRecordError),
        (resealed(8, ">i", -1), CorruptRecordError),
        (resealed(8, ">i", 2**31 - 1), CorruptRecordError),
        (resealed(16, ">b", 0), UnsupportedForMessageFormatError),
        (resealed(16, ">b", 1), UnsupportedForMessageFormatError),
        (resealed(16, ">b", 3), CorruptRecordError),
        (resealed(16, ">b", -2), CorruptRecordError),
        (resealed(57, ">i", 4), InvalidRecordError),
        (resealed(57, ">i", 6), InvalidRecordError),
        (resealed(57, ">i", -1), InvalidRecordError),
        (resealed(23, ">i", -1), InvalidRecordError),
        (resealed(21, ">h", 5), InvalidRecordError),
        (resealed(21, ">h", 7), InvalidRecordError),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(batch: bytearray, error: type[KraftpyError]) -> None:
    with pytest.raises(error):
        check_batch(batch)


def test_compaction_may_leave_gaps_but_never_extra_records() -> None:
    gap = resealed(23, ">i", 9)
    with pytest.raises(InvalidRecordError):
        check_batch(gap)
    assert check_batch(gap, compacted=True).end_offset == 110
    assert len(decode_batch(gap)) == 5
    with pytest.raises(InvalidRecordError):
        check_batch(resealed(57, ">i", 6), compacted=True)


def test_headers_are_iterated_with_their_positions() -> None:
    first, second = BATCH, bytes(encode_batch(RECORDS[:2], Compression.ZSTD, base_offset=105))
    found = list(iterate_headers(memoryview(first + second)))
    assert found == [(0, read_header(first)), (len(first), read_header(second))]


def test_a_view_is_released_after_checking() -> None:
    batch = bytearray(BATCH)
    check_batch(batch)
    decode_batch(batch)
    batch += b"room for more"  # would raise BufferError while a view is held


@settings(max_examples=200)
@given(st.binary(max_size=200), st.integers(0, 10))
def test_garbage_is_never_more_than_an_error(data: bytes, position: int) -> None:
    for check in (read_header, check_batch, decode_batch):
        with pytest.raises(KraftpyError):
            check(data, position)


def test_an_empty_batch_cannot_be_built() -> None:
    with pytest.raises(AssertionError):
        BatchBuilder().build()
    assert BatchBuilder().size_bytes == HEADER_BYTES
