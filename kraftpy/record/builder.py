"""Records into a batch.

    record: length varint | attributes i8 | timestamp delta varint | offset delta varint
            | key length varint, key | value length varint, value | header count varint, headers

Lengths are -1 for None. Records are encoded as they come, so that the size of the batch is known before it is closed;
compression, producer, sequence and CRC follow in `build`, which may be called again with other numbers.

Invariants: offsets in a batch are dense; the base timestamp is the first record's (deltas may be negative), the max
timestamp the largest. A record that is refused leaves the builder as it was.
"""

from collections.abc import Iterable, Sequence

from kraftpy.errors import InvalidTimestampError, RecordTooLargeError
from kraftpy.record.compression import compress
from kraftpy.record.header import (
    CONTROL_BIT,
    HEADER,
    HEADER_BYTES,
    LENGTH_OVERHEAD_BYTES,
    MAGIC,
    TRANSACTIONAL_BIT,
    Compression,
    seal,
)
from kraftpy.record.record import Record
from kraftpy.record.varint import encode_varint, varint_size
from kraftpy.runtime.ports import Buffer

BATCH_BYTES_MAX = 2**31 - 1 - LENGTH_OVERHEAD_BYTES
_TIMESTAMP_MAX = 2**63 - 1
_NULL = encode_varint(-1)
_NO_HEADERS = encode_varint(0)
_RECORD_OVERHEAD_BYTES_MAX = 5 + 1 + 10 + 5
"""Length, attributes, timestamp delta and offset delta at their longest."""


class BatchBuilder:
    """Collects records and turns them into one batch."""

    __slots__ = ("_base_timestamp", "_buffer", "_max_timestamp", "compression", "record_count")

    def __init__(self, compression: Compression = Compression.NONE) -> None:
        self.compression = compression
        self.record_count = 0
        self._base_timestamp = -1
        self._max_timestamp = -1
        self._buffer = bytearray(HEADER_BYTES)

    @property
    def size_bytes(self) -> int:
        """What the batch has as long as it is not compressed; compression never makes it larger."""
        return len(self._buffer)

    @property
    def max_timestamp_ms(self) -> int:
        return self._max_timestamp

    def append(
        self,
        timestamp_ms: int,
        key: Buffer | None,
        value: Buffer | None,
        headers: Sequence[tuple[str, Buffer | None]] = (),
    ) -> None:
        """Add one record. `timestamp_ms` is -1 or milliseconds since 1970.

        Raises `InvalidTimestampError`, and `RecordTooLargeError` where the batch would exceed 2 GiB.
        """
        count = self.record_count
        base_timestamp = self._base_timestamp if count else timestamp_ms
        if not -1 <= timestamp_ms <= _TIMESTAMP_MAX:
            raise InvalidTimestampError(f"{timestamp_ms} is not a timestamp in milliseconds")
        body = b"".join(
            (
                b"\x00",
                encode_varint(timestamp_ms - base_timestamp),
                encode_varint(count),
                _NULL if key is None else encode_varint(len(key)),
                key or b"",
                _NULL if value is None else encode_varint(len(value)),
                value or b"",
                _encode_headers(headers) if headers else _NO_HEADERS,
            )
        )
        buffer = self._buffer
        if len(buffer) + len(body) > BATCH_BYTES_MAX:
            raise RecordTooLargeError(f"a batch cannot hold {len(buffer) + len(body)} bytes")
        buffer += encode_varint(len(body))
        buffer += body
        self.record_count = count + 1
        self._base_timestamp = base_timestamp
        if not count or timestamp_ms > self._max_timestamp:
            self._max_timestamp = timestamp_ms

    def build(
        self,
        base_offset: int = 0,
        leader_epoch: int = -1,
        producer_id: int = -1,
        producer_epoch: int = -1,
        base_sequence: int = -1,
        *,
        transactional: bool = False,
        control: bool = False,
    ) -> bytearray:
        """The batch of all records so far, which must be at least one. The builder is left as it is.

        Records that compression would not make smaller are left uncompressed, and the batch says so.
        """
        assert self.record_count, "a batch has at least one record"
        compression, batch = self._compressed()
        attributes = int(compression)
        attributes |= (TRANSACTIONAL_BIT if transactional else 0) | (CONTROL_BIT if control else 0)
        HEADER.pack_into(
            batch,
            0,
            base_offset,
            len(batch) - LENGTH_OVERHEAD_BYTES,
            leader_epoch,
            MAGIC,
            0,
            attributes,
            self.record_count - 1,
            self._base_timestamp,
            self._max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            self.record_count,
        )
        seal(batch, 0, len(batch))
        return batch

    def _compressed(self) -> tuple[Compression, bytearray]:
        """The batch with room for its header, and how its records are compressed in the end."""
        if self.compression is not Compression.NONE:
            with memoryview(self._buffer) as view, view[HEADER_BYTES:] as records:
                compressed = compress(self.compression, records)
                if len(compressed) < len(records):
                    batch = bytearray(HEADER_BYTES)
                    batch += compressed
                    return self.compression, batch
        return Compression.NONE, self._buffer.copy()


def _encode_headers(headers: Sequence[tuple[str, Buffer | None]]) -> bytes:
    pieces: list[Buffer] = [encode_varint(len(headers))]
    for key, value in headers:
        name = key.encode()
        pieces += (encode_varint(len(name)), name)
        pieces += (_NULL,) if value is None else (encode_varint(len(value)), value)
    return b"".join(pieces)


def record_bytes_max(
    key: Buffer | None, value: Buffer | None, headers: Sequence[tuple[str, Buffer | None]] = ()
) -> int:
    """An upper bound on what the record adds to an uncompressed batch."""
    size = _RECORD_OVERHEAD_BYTES_MAX + _bytes_size(key) + _bytes_size(value)
    return size + (len(_encode_headers(headers)) if headers else 1)


def _bytes_size(data: Buffer | None) -> int:
    return 1 if data is None else varint_size(len(data)) + len(data)


def encode_batch(
    records: Iterable[Record],
    compression: Compression = Compression.NONE,
    base_offset: int = 0,
    leader_epoch: int = -1,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    *,
    transactional: bool = False,
    control: bool = False,
) -> bytearray:
    """One batch of `records`, at least one; they stand one after the other from `base_offset`, whatever they say."""
    builder = BatchBuilder(compression)
    for record in records:
        builder.append(record.timestamp_ms, record.key, record.value, record.headers)
    return builder.build(
        base_offset,
        leader_epoch,
        producer_id,
        producer_epoch,
        base_sequence,
        transactional=transactional,
        control=control,
    )
