"""A batch into records.

The layout of a record is drawn in `kraftpy.record.builder`. This is the way of every record to every consumer, hence
flat: the one-byte case of each varint is unrolled and nothing is called for it.

Invariants: whatever the bytes are, reading ends with records or with a `KraftpyError`, holds no more than the given
limit, and looks at no byte twice. A batch is given back whole or not at all.
"""

from collections.abc import Iterator

from kraftpy.errors import InvalidRecordError
from kraftpy.record.compression import DECOMPRESSED_BYTES_MAX, decompress
from kraftpy.record.header import HEADER_BYTES, BatchHeader, TimestampType, check_batch, iterate_headers
from kraftpy.record.record import Header, Record
from kraftpy.record.varint import continue_varint, decode_varint
from kraftpy.runtime.ports import Buffer

ITEMS_MAX = 100_000
"""Records and headers of one batch that a broker opens on its loop: 0.1 s or so."""

HEADERS_MAX = 500_000
"""Headers of one batch, for whoever reads it: a second or so, and 50 MB. They compress to a batch of some hundred
bytes; without a limit these would become as many headers as fit into `DECOMPRESSED_BYTES_MAX`, two bytes each."""

_RECORD_BYTES_MIN = 7
"""Length, attributes, two deltas, two null lengths, no headers: a byte each."""


def decode_batch(
    view: Buffer, position: int = 0, *, decompressed_bytes_max: int = DECOMPRESSED_BYTES_MAX
) -> list[Record]:
    """The records of the batch at `position`; of a control batch, too (`kraftpy.record.control` reads those).

    Raises as `check_batch` does (a compacted batch is welcome), `InvalidRecordError` for records that are no records
    or have more than `HEADERS_MAX` headers, and `RecordTooLargeError` where they would take more than
    `decompressed_bytes_max`.
    """
    header = check_batch(view, position, compacted=True)
    return decode_records(header, view, position, decompressed_bytes_max=decompressed_bytes_max)


def decode_batches(view: Buffer, *, decompressed_bytes_max: int = DECOMPRESSED_BYTES_MAX) -> Iterator[Record]:
    """The records of all complete batches but control batches, which hold nothing of a user's.

    Raises as `decode_batch`.
    """
    for position, header in iterate_headers(view):
        if not header.is_control:
            yield from decode_batch(view, position, decompressed_bytes_max=decompressed_bytes_max)


def decode_records(
    header: BatchHeader,
    view: Buffer,
    position: int = 0,
    *,
    decompressed_bytes_max: int = DECOMPRESSED_BYTES_MAX,
) -> list[Record]:
    """As `decode_batch`, of a batch that `check_batch` has found intact just now."""
    with (
        memoryview(view) as whole,
        whole[position + HEADER_BYTES : position + header.size_bytes] as payload,
    ):
        data = decompress(header.compression, payload, decompressed_bytes_max)
    if header.record_count * _RECORD_BYTES_MIN > len(data):
        raise InvalidRecordError(f"{len(data)} bytes are too few for {header.record_count} records")
    try:
        return _decode(header, data)
    except IndexError as error:
        raise InvalidRecordError("the batch ends inside a record") from error
    except UnicodeDecodeError as error:
        raise InvalidRecordError("a record header's name is not UTF-8") from error


def _decode(header: BatchHeader, data: bytes) -> list[Record]:
    records: list[Record] = []
    base_offset, base_timestamp = header.base_offset, header.base_timestamp
    log_append_time = header.max_timestamp if header.timestamp_type is TimestampType.LOG_APPEND_TIME else None
    last_delta, last_delta_max = -1, header.last_offset_delta
    position = 0
    headers_left = HEADERS_MAX
    make = tuple.__new__
    for _ in range(header.record_count):
        length = data[position]
        position += 1
        if length >= 0x80:
            length, position = continue_varint(data, position, length)
        end = position + ((length >> 1) ^ -(length & 1))

        position += 1  # attributes, of which none is defined
        timestamp = data[position]
        position += 1
        if timestamp >= 0x80:
            timestamp, position = continue_varint(data, position, timestamp)

        delta = data[position]
        position += 1
        if delta >= 0x80:
            delta, position = continue_varint(data, position, delta)
        delta = (delta >> 1) ^ -(delta & 1)
        if not last_delta < delta <= last_delta_max:
            raise InvalidRecordError(f"a record has offset delta {delta} after {last_delta}, of {last_delta_max}")
        last_delta = delta

        size = data[position]
        position += 1
        if size >= 0x80:
            size, position = continue_varint(data, position, size)
        key: bytes | None = None
        if size & 1 == 0:
            key = data[position : position + (size >> 1)]
            position += size >> 1
        elif size != 1:
            raise InvalidRecordError("a key has a negative length")

        size = data[position]
        position += 1
        if size >= 0x80:
            size, position = continue_varint(data, position, size)
        value: bytes | None = None
        if size & 1 == 0:
            value = data[position : position + (size >> 1)]
            position += size >> 1
        elif size != 1:
            raise InvalidRecordError("a value has a negative length")

        headers: tuple[Header, ...] = ()
        if data[position]:
            headers, position = _decode_headers(data, position, headers_left)
            headers_left -= len(headers)
        else:
            position += 1
        if position != end:
            raise InvalidRecordError("a record's length is not that of its parts")
        milliseconds = base_timestamp + ((timestamp >> 1) ^ -(timestamp & 1))
        if log_append_time is not None:
            milliseconds = log_append_time
        records.append(make(Record, (base_offset + delta, milliseconds, key, value, headers)))
    if position != len(data):
        raise InvalidRecordError(f"{len(data) - position} bytes follow the last record")
    return records


def check_keys(header: BatchHeader, view: Buffer, position: int = 0) -> bool:
    """Whether every record of a batch that `check_batch` has found intact just now has a key.

    For the leader of a compacted topic, which has to open what it would leave closed: takes less than half the time
    of `decode_records`, makes no record, and refuses the same. Raises as `decode_records`, and `InvalidRecordError` for
    more than `ITEMS_MAX` records and headers: a batch of some hundred bytes, compressed, could hold up a broker for
    minutes.
    """
    data = _opened(header, view, position)
    try:
        return _check_keys(data, header.record_count, header.last_offset_delta)
    except IndexError as error:
        raise InvalidRecordError("the batch ends inside a record") from error
    except UnicodeDecodeError as error:
        raise InvalidRecordError("a record header's name is not UTF-8") from error


def latest_timestamp(header: BatchHeader, view: Buffer, position: int = 0) -> int:
    """The largest timestamp among the records of a batch that `check_batch` has found intact just now, ms.

    For the leader of a log, where the header cannot be believed: looks at nothing else of the records. Raises as
    `check_keys`.
    """
    data = _opened(header, view, position)
    try:
        return header.base_timestamp + _latest_delta(data, header.record_count)
    except IndexError as error:
        raise InvalidRecordError("the batch ends inside a record") from error


def _latest_delta(data: bytes, count: int) -> int:
    latest: int | None = None
    position = 0
    for _ in range(count):
        length = data[position]
        position += 1
        if length >= 0x80:
            length, position = continue_varint(data, position, length)
        end = position + ((length >> 1) ^ -(length & 1))

        position += 1
        delta = data[position]
        position += 1
        if delta >= 0x80:
            delta, position = continue_varint(data, position, delta)
        delta = (delta >> 1) ^ -(delta & 1)
        if latest is None or delta > latest:
            latest = delta
        if end < position:
            raise InvalidRecordError("a record's length is not that of its parts")
        position = end
    if position != len(data) or latest is None:
        raise InvalidRecordError(f"{len(data) - position} bytes follow the last record")
    return latest


def _opened(header: BatchHeader, view: Buffer, position: int) -> bytes:
    """What a broker may look at on its loop."""
    if header.record_count > ITEMS_MAX:
        raise InvalidRecordError(_too_many(header.record_count))
    with (
        memoryview(view) as whole,
        whole[position + HEADER_BYTES : position + header.size_bytes] as payload,
    ):
        data = decompress(header.compression, payload, DECOMPRESSED_BYTES_MAX)
    if header.record_count * _RECORD_BYTES_MIN > len(data):
        raise InvalidRecordError(f"{len(data)} bytes are too few for {header.record_count} records")
    return data


def _check_keys(data: bytes, count: int, last_delta_max: int) -> bool:
    all_keyed = True
    items_left = ITEMS_MAX - count
    last_delta, position = -1, 0
    for _ in range(count):
        length = data[position]
        position += 1
        if length >= 0x80:
            length, position = continue_varint(data, position, length)
        end = position + ((length >> 1) ^ -(length & 1))

        position += 1
        timestamp = data[position]
        position += 1
        if timestamp >= 0x80:
            _, position = continue_varint(data, position, timestamp)

        delta = data[position]
        position += 1
        if delta >= 0x80:
            delta, position = continue_varint(data, position, delta)
        delta = (delta >> 1) ^ -(delta & 1)
        if not last_delta < delta <= last_delta_max:
            raise InvalidRecordError(f"a record has offset delta {delta} after {last_delta}, of {last_delta_max}")
        last_delta = delta

        size = data[position]
        position += 1
        if size >= 0x80:
            size, position = continue_varint(data, position, size)
        if size & 1 == 0:
            position += size >> 1
        elif size == 1:
            all_keyed = False
        else:
            raise InvalidRecordError("a key has a negative length")

        size = data[position]
        position += 1
        if size >= 0x80:
            size, position = continue_varint(data, position, size)
        if size & 1 == 0:
            position += size >> 1
        elif size != 1:
            raise InvalidRecordError("a value has a negative length")

        if data[position]:
            headers, _ = decode_varint(data, position)
            if headers > items_left:
                raise InvalidRecordError(_too_many(count + headers))
            items_left -= headers
            _, position = _decode_headers(data, position, headers)
        else:
            position += 1
        if position != end:
            raise InvalidRecordError("a record's length is not that of its parts")
    if position != len(data):
        raise InvalidRecordError(f"{len(data) - position} bytes follow the last record")
    return all_keyed


def _too_many(items: int) -> str:
    return f"{items} records and headers are more than a broker opens at once; send batches of at most {ITEMS_MAX}"


def _decode_headers(data: bytes, position: int, count_max: int) -> tuple[tuple[Header, ...], int]:
    count, position = decode_varint(data, position)
    if count > count_max:
        raise InvalidRecordError(f"the records of a batch have more than {HEADERS_MAX} headers")
    if not 0 <= count <= (len(data) - position) // 2:
        raise InvalidRecordError(f"a record cannot have {count} headers")
    headers = []
    for _ in range(count):
        key, position = _decode_bytes(data, position)
        if key is None:
            raise InvalidRecordError("a record header has no name")
        value, position = _decode_bytes(data, position)
        headers.append(Header(key.decode(), value))
    return tuple(headers), position


def _decode_bytes(data: bytes, position: int) -> tuple[bytes | None, int]:
    length, position = decode_varint(data, position)
    if length < 0:
        if length != -1:
            raise InvalidRecordError("a record header has a negative length")
        return None, position
    if length > len(data) - position:
        raise InvalidRecordError("a record header is longer than its batch")
    return data[position : position + length], position + length
