"""Records as bytes: to look at keys, leave records out, and write the rest again without opening them.

A record's bytes hold its offset and its time as distances from those of its batch. Both stay what they are, so what is
kept is copied byte for byte, except where the batch gets a delete horizon as its base timestamp.
"""

from collections.abc import Iterator
from typing import NamedTuple

from kraftpy.errors import InvalidRecordError
from kraftpy.record import HEADER_BYTES, BatchHeader, Compression
from kraftpy.record.compression import compress, decompress
from kraftpy.record.header import (
    COMPRESSION_MASK,
    CONTROL_BIT,
    DELETE_HORIZON_BIT,
    HEADER,
    LENGTH_OVERHEAD_BYTES,
    LOG_APPEND_TIME_BIT,
    MAGIC,
    TRANSACTIONAL_BIT,
    seal,
)
from kraftpy.record.varint import continue_varint, decode_varint, encode_varint

KNOWN_BITS = COMPRESSION_MASK | LOG_APPEND_TIME_BIT | TRANSACTIONAL_BIT | CONTROL_BIT | DELETE_HORIZON_BIT
NO_TIMESTAMP = -1


class RawRecord(NamedTuple):
    """Where a record stands in its batch's records, `[start, end)`, and what compaction asks of it."""

    start: int
    end: int
    timestamp_delta: int
    offset_delta: int
    key: bytes | None
    has_value: bool


def records_of(header: BatchHeader, batch: memoryview) -> bytes:
    """The records of an intact batch, decompressed. Raises `InvalidRecordError`, `RecordTooLargeError`."""
    return decompress(header.compression, batch[HEADER_BYTES : header.size_bytes])


def raw_records(data: bytes, count: int) -> Iterator[RawRecord]:
    """The `count` records in `data`. Raises `InvalidRecordError` where there are not so many.

    The one-byte case of each number is written out, as in `kraftpy.record.reader`: it halves the time of a round.
    """
    position, size_bytes = 0, len(data)
    make = tuple.__new__
    try:
        for _ in range(count):
            start = position
            number = data[position]
            position += 1
            if number >= 0x80:
                number, position = continue_varint(data, position, number)
            end = position + (number >> 1)
            odd = number & 1  # negative

            position += 1  # attributes
            number = data[position]
            position += 1
            if number >= 0x80:
                number, position = continue_varint(data, position, number)
            timestamp_delta = (number >> 1) ^ -(number & 1)

            number = data[position]
            position += 1
            if number >= 0x80:
                number, position = continue_varint(data, position, number)
            offset_delta = (number >> 1) ^ -(number & 1)

            number = data[position]
            position += 1
            if number >= 0x80:
                number, position = continue_varint(data, position, number)
            key: bytes | None = None
            if not number & 1:
                key = data[position : position + (number >> 1)]
                position += number >> 1

            number = data[position]  # of the value's length the sign is enough; it is -1, or not negative
            if odd or position >= end or end > size_bytes:
                raise InvalidRecordError("a record reaches beyond its batch")
            position = end
            yield make(RawRecord, (start, end, timestamp_delta, offset_delta, key, not number & 1))
    except IndexError as error:
        raise InvalidRecordError("the batch ends inside a record") from error


def rebuilt(header: BatchHeader, data: bytes, kept: list[RawRecord], horizon_ms: int | None) -> bytearray:
    """The batch of `header` with only the records `kept` of its `data`, at least one.

    `horizon_ms`: a new delete horizon; None leaves what the batch has. Everything else stays: offsets, epoch, producer
    and sequence, times, the compression (unless it makes the records larger).
    """
    base_timestamp = header.base_timestamp if horizon_ms is None else horizon_ms
    if base_timestamp == header.base_timestamp:
        records = b"".join(data[start:end] for start, end in _stretches(kept))
    else:
        shift = header.base_timestamp - base_timestamp
        records = b"".join(_shifted(data, record, shift) for record in kept)
    attributes = header.attributes & KNOWN_BITS & ~COMPRESSION_MASK
    if horizon_ms is not None:
        attributes |= DELETE_HORIZON_BIT
    payload: bytes | bytearray | memoryview = records
    if header.compression is not Compression.NONE:
        compressed = compress(header.compression, records)
        if len(compressed) < len(records):
            payload = compressed
            attributes |= header.compression
    max_timestamp = header.max_timestamp
    if not header.attributes & LOG_APPEND_TIME_BIT:
        max_timestamp = header.base_timestamp + max(record.timestamp_delta for record in kept)
    return _batch(
        header._replace(
            attributes=attributes, base_timestamp=base_timestamp, max_timestamp=max_timestamp, record_count=len(kept)
        ),
        payload,
    )


def emptied(header: BatchHeader) -> bytearray:
    """The batch without its records, for the sake of its producer's sequence; its time says when that last wrote."""
    attributes = header.attributes & (LOG_APPEND_TIME_BIT | TRANSACTIONAL_BIT | CONTROL_BIT)
    return _batch(header._replace(attributes=attributes, base_timestamp=NO_TIMESTAMP, record_count=0), b"")


def placeholder(base_offset: int, end_offset: int, leader_epoch: int) -> bytearray:
    """A batch of nothing and nobody that says how far its segment reaches."""
    last_delta = end_offset - 1 - base_offset
    no_time = NO_TIMESTAMP
    header = BatchHeader(base_offset, 0, leader_epoch, MAGIC, 0, 0, last_delta, no_time, no_time, -1, -1, -1, 0)
    return _batch(header, b"")


def _stretches(kept: list[RawRecord]) -> Iterator[tuple[int, int]]:
    """Neighbours joined: fewer, longer pieces to copy."""
    start, end = kept[0].start, kept[0].end
    for record in kept[1:]:
        if record.start != end:
            yield start, end
            start = record.start
        end = record.end
    yield start, end


def _shifted(data: bytes, record: RawRecord, shift: int) -> bytes:
    _, position = decode_varint(data, record.start)
    _, after_timestamp = decode_varint(data, position + 1)
    timestamp = encode_varint(record.timestamp_delta + shift)
    rest = data[after_timestamp : record.end]
    return b"".join((encode_varint(1 + len(timestamp) + len(rest)), data[position : position + 1], timestamp, rest))


def _batch(header: BatchHeader, payload: bytes | bytearray | memoryview) -> bytearray:
    batch = bytearray(HEADER_BYTES)
    batch += payload
    HEADER.pack_into(batch, 0, *header._replace(batch_length=len(batch) - LENGTH_OVERHEAD_BYTES, crc=0))
    seal(batch, 0, len(batch))
    return batch
