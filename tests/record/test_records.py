"""Records into a batch and back, with kafka-python as the second opinion."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftpy.errors import InvalidRecordError, InvalidTimestampError, KraftpyError
from kraftpy.record import (
    HEADER_BYTES,
    BatchBuilder,
    Compression,
    Header,
    Record,
    check_batch,
    check_keys,
    decode_batch,
    decode_batches,
    encode_batch,
    encode_marker,
    latest_timestamp,
    patch,
    read_header,
    record_bytes_max,
)
from kraftpy.record.compression import compress
from kraftpy.record.header import seal
from kraftpy.record.reader import HEADERS_MAX
from kraftpy.record.varint import decode_varint, encode_varint, varint_size
from tests.record.kafka_python import DefaultRecordBatch, DefaultRecordBatchBuilder

values = st.none() | st.binary(max_size=40) | st.integers(60, 20_000).map(lambda size: b"v" * size)
headers = st.lists(st.builds(Header, st.text(max_size=70), st.none() | st.binary(max_size=70)), max_size=4).map(tuple)
records = st.builds(
    Record,
    st.just(0),
    st.integers(-1, 2**40) | st.integers(1_700_000_000_000, 1_700_000_300_000),
    values,
    values,
    headers,
)
long_batches = st.integers(60, 300).map(lambda count: [Record(0, 5, b"k", b"v")] * count)
batches = st.lists(records, min_size=1, max_size=8) | long_batches


def by_kafka_python(batch: list[Record], codec: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, False, 77, 3, 11, 2**30)
    for index, record in enumerate(batch):
        pairs = [(header.key, header.value) for header in record.headers]
        builder.append(index, record.timestamp_ms, record.key, record.value, pairs)
    built = bytearray(builder.build())
    patch(built, 0, 1000, 4)
    return bytes(built)


def by_us(batch: list[Record], compression: Compression) -> bytes:
    return bytes(
        encode_batch(
            batch, compression, base_offset=1000, leader_epoch=4, producer_id=77, producer_epoch=3, base_sequence=11
        )
    )


def standing_at(batch: list[Record], base_offset: int) -> list[Record]:
    return [record._replace(offset=base_offset + index) for index, record in enumerate(batch)]


@settings(max_examples=150, deadline=None)
@given(batches)
def test_uncompressed_batches_are_kafka_pythons_byte_for_byte(batch: list[Record]) -> None:
    ours = by_us(batch, Compression.NONE)
    assert ours == by_kafka_python(batch, 0)
    assert decode_batch(ours) == standing_at(batch, 1000)


@settings(max_examples=40, deadline=None)
@given(batches, st.sampled_from(list(Compression)))
def test_kafka_python_reads_what_we_compress_and_we_what_it_does(batch: list[Record], compression: Compression) -> None:
    expected = standing_at(batch, 1000)
    ours, theirs = by_us(batch, compression), by_kafka_python(batch, int(compression))
    read = [
        Record(item.offset, item.timestamp, item.key, item.value, tuple(Header(*pair) for pair in item.headers))
        for item in DefaultRecordBatch(ours)
    ]
    assert read == expected
    assert decode_batch(theirs) == decode_batch(ours) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(batches, min_size=1, max_size=3), st.sampled_from(list(Compression)), st.binary(max_size=60))
def test_batches_are_read_one_after_the_other_without_control_batches_and_a_torn_tail(
    given_batches: list[list[Record]], compression: Compression, tail: bytes
) -> None:
    data, expected, offset = bytearray(), [], 0
    for batch in given_batches:
        data += encode_batch(batch, compression, base_offset=offset)
        data += encode_marker(
            commit=True, coordinator_epoch=1, timestamp_ms=1, producer_id=1, producer_epoch=0, base_offset=offset
        )
        expected += standing_at(batch, offset)
        offset += len(batch)
    assert list(decode_batches(data + tail)) == expected


@given(st.integers(-(2**63), 2**63 - 1))
def test_varints_come_back_and_say_their_size(value: int) -> None:
    encoded = encode_varint(value)
    assert decode_varint(encoded, 0) == (value, len(encoded))
    assert varint_size(value) == len(encoded)


def test_varints_at_the_edges_of_their_sizes() -> None:
    assert [encode_varint(value) for value in (0, -1, 1, -64, 63, 64)] == [
        b"\0",
        b"\1",
        b"\2",
        b"\x7f",
        b"~",
        b"\x80\1",
    ]
    with pytest.raises(InvalidRecordError):
        decode_varint(b"\xff" * 10, 0)
    with pytest.raises(InvalidRecordError):
        decode_varint(b"\xff" * 9 + b"\x02", 0)


@settings(max_examples=100, deadline=None)
@given(batches)
def test_sizes_are_known_before_a_batch_is_closed(batch: list[Record]) -> None:
    builder = BatchBuilder()
    for record in batch:
        before = builder.size_bytes
        builder.append(record.timestamp_ms, record.key, record.value, record.headers)
        assert builder.size_bytes - before <= record_bytes_max(record.key, record.value, record.headers)
    assert builder.size_bytes == len(builder.build())
    for compression in Compression:
        builder.compression = compression
        assert len(builder.build()) <= builder.size_bytes


def test_building_twice_changes_only_what_is_asked() -> None:
    builder = BatchBuilder(Compression.LZ4)
    for _ in range(100):
        builder.append(5, b"k", b"v" * 100)
    first = builder.build(producer_id=1, producer_epoch=0, base_sequence=0)
    second = builder.build(producer_id=1, producer_epoch=1, base_sequence=0)
    assert first[HEADER_BYTES:] == second[HEADER_BYTES:]
    assert check_batch(second).producer_epoch == 1 and check_batch(second).compression is Compression.LZ4


def test_compression_that_does_not_pay_is_left_out_and_said_so() -> None:
    batch = encode_batch([Record(0, 5, None, b"?")], Compression.GZIP)
    assert check_batch(batch).compression is Compression.NONE


@pytest.mark.parametrize("timestamp", [-2, 2**63])
def test_a_refused_record_leaves_the_builder_as_it_was(timestamp: int) -> None:
    builder = BatchBuilder()
    builder.append(7, b"a", b"b")
    before = builder.build()
    with pytest.raises(InvalidTimestampError):
        builder.append(timestamp, b"a", b"b")
    with pytest.raises(TypeError):
        builder.append(8, "text", b"b")  # type: ignore[arg-type]
    assert builder.build() == before
    builder.append(9, b"c", b"d")
    assert [record.timestamp_ms for record in decode_batch(builder.build())] == [7, 9]


def with_payload(payload: bytes, record_count: int = 1, compression: Compression = Compression.NONE) -> bytearray:
    """An intact batch around records that need not be any."""
    batch = encode_batch([Record(0, 0, b"", b"")] * record_count)[:HEADER_BYTES] + payload
    batch[8:12] = (len(batch) - 12).to_bytes(4, "big")
    batch[22] = compression
    seal(batch, 0, len(batch))
    return batch


GOOD = bytes(encode_batch([Record(0, 0, b"key", b"value", (Header("h", b"1"),))])[HEADER_BYTES:])


def test_the_payload_under_attack_is_good_before_the_attack() -> None:
    assert len(decode_batch(with_payload(GOOD))) == 1


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        GOOD + b"\0",
        GOOD + GOOD,
        b"\x7f" + GOOD[1:],
        encode_varint(2**31) + GOOD[1:],
        b"\x0c\0\0\0\x03\x01\0",  # a key of length -2
        b"\x0c\0\0\0\x01\x03\0",  # a value of length -2
        b"\x0c\0\0\0\x01\x01\x01",  # -1 headers
        b"\x0e\0\0\0\x01\x01\x02\x01",  # a header without a name
        b"\x10\0\0\0\x01\x01\x02\x00\x03",  # a header value of length -2
        b"\x12\0\0\0\x01\x01\x02\x02\xff\x01",  # a name that is not UTF-8
        b"\x10\0\0\0\x01\x01\x02\x7e\x00",  # a name longer than the batch
        b"\x0c\0\0\x02\x01\x01\0",  # offset delta 1 in a batch that ends with delta 0
        b"\x0c\0\0\x01\x01\x01\0",  # offset delta -1
        b"\x0c\0" + b"\xff" * 11,  # a timestamp that never ends
        b"\x0c\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\0",  # a key as long as the address space
    ],
)
def test_records_that_are_no_records_are_refused(payload: bytes) -> None:
    batch = with_payload(payload)
    with pytest.raises(InvalidRecordError):
        decode_batch(batch)
    with pytest.raises(InvalidRecordError):
        check_keys(read_header(batch), batch)


@pytest.mark.parametrize("size", range(len(GOOD)))
def test_a_record_that_is_cut_off_is_refused(size: int) -> None:
    with pytest.raises(InvalidRecordError):
        decode_batch(with_payload(GOOD[:size]))


def test_a_count_beyond_all_bytes_costs_nothing() -> None:
    batch = with_payload(GOOD)
    for position in (23, 57):
        batch[position : position + 4] = (2**31 - 2 + (position == 57)).to_bytes(4, "big")
    seal(batch, 0, len(batch))
    assert check_batch(batch).record_count == 2**31 - 1
    with pytest.raises(InvalidRecordError, match="too few"):
        decode_batch(batch)


def record_with_headers(number: int, count: int) -> bytes:
    body = b"\0\0" + encode_varint(number) + b"\x01\x01" + encode_varint(count) + b"\0\x01" * count
    return encode_varint(len(body)) + body


@pytest.mark.parametrize("records", [1, 4])
def test_more_headers_than_a_batch_may_have_are_refused_before_they_are_made(records: int) -> None:
    share = HEADERS_MAX // records
    for count, is_allowed in ((share, True), (share + 1, False)):
        payload = b"".join(record_with_headers(number, count) for number in range(records))
        batch = with_payload(bytes(compress(Compression.ZSTD, payload)), records, Compression.ZSTD)
        assert len(batch) < 1_000
        if is_allowed:
            assert sum(len(record.headers) for record in decode_batch(batch)) == HEADERS_MAX
        else:
            with pytest.raises(InvalidRecordError, match="more than 500000 headers"):
                decode_batch(batch)


def same_verdict(batch: bytearray, count: int) -> None:
    """Records or an error, whoever reads it; and whoever reads keys only says the same."""
    try:
        found = decode_batch(batch)
    except KraftpyError as error:
        with pytest.raises(type(error)):
            check_keys(check_batch(batch), batch)
    else:
        assert len(found) == count
        assert check_keys(read_header(batch), batch) is all(record.key is not None for record in found)
        assert latest_timestamp(read_header(batch), batch) == max(record.timestamp_ms for record in found)


@settings(max_examples=100, deadline=None)
@given(batches, st.sampled_from(list(Compression)))
def test_reading_keys_only_says_the_same(batch: list[Record], compression: Compression) -> None:
    same_verdict(encode_batch(batch, compression), len(batch))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64), st.integers(1, 4), st.sampled_from(list(Compression)))
def test_random_payloads_are_records_or_errors(payload: bytes, count: int, compression: Compression) -> None:
    same_verdict(with_payload(payload, count, compression), count)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=3))
def test_damaged_records_under_a_valid_checksum_are_records_or_errors(position: int, damage: bytes) -> None:
    same_verdict(with_payload(GOOD[:position] + damage + GOOD[position + len(damage) :]), 1)


def test_headers_of_a_batch_in_the_middle_of_a_buffer() -> None:
    batch = encode_batch([Record(0, 1, None, None)], Compression.NONE, base_offset=3)
    view = memoryview(b"xx" + batch + b"yy")
    assert read_header(view, 2).base_offset == 3
    assert decode_batch(view, 2) == [Record(3, 1, None, None)]
