"""The 61 bytes in front of every record batch, format version 2 (KIP-98), and the checks that need no more than them.

    base offset i64 | length i32 | leader epoch i32 | magic i8 | CRC u32 | attributes i16 | last offset delta i32
    base timestamp i64 | max timestamp i64 | producer id i64 | producer epoch i16 | base sequence i32 | records i32

`length` counts what follows it. The CRC (CRC-32C) covers everything from the attributes to the end of the batch, so a
broker sets base offset and leader epoch (`patch`) without touching it.

Invariants: a `BatchHeader` from `check_batch` describes an intact batch; one from `read_header` or `iterate_headers`
has a possible length and the right magic, and nothing else is known. Nothing here copies a batch or opens its records.
"""

from collections.abc import Iterator
from enum import Enum, IntEnum
from struct import Struct
from typing import NamedTuple

from kraftpy.errors import CorruptRecordError, InvalidRecordError, UnsupportedForMessageFormatError
from kraftpy.record.checksum import crc32c
from kraftpy.runtime.ports import Buffer

HEADER_BYTES = 61
MAGIC = 2
MAGIC_POSITION = 16
"""In every format that there was."""
LENGTH_OVERHEAD_BYTES = 12
"""Base offset and length, which the length field does not count."""
CRC_START = 21
"""Where the bytes that the CRC covers begin."""
SEQUENCE_MAX = 2**31 - 1

DAMAGED = (CorruptRecordError, InvalidRecordError, UnsupportedForMessageFormatError)
"""What a damaged batch is refused with; a flipped bit may look like another format."""

HEADER = Struct(">qiibIhiqqqhii")
CRC = Struct(">I")
CRC_POSITION = 17
_OFFSET = Struct(">q")
_EPOCH = Struct(">i")
_EPOCH_POSITION = 12
_ATTRIBUTES = Struct(">h")
_MAX_TIMESTAMP = Struct(">q")
_MAX_TIMESTAMP_POSITION = 35
_LENGTH_MIN = HEADER_BYTES - LENGTH_OVERHEAD_BYTES

COMPRESSION_MASK = 0x07
LOG_APPEND_TIME_BIT = 0x08
TRANSACTIONAL_BIT = 0x10
CONTROL_BIT = 0x20
DELETE_HORIZON_BIT = 0x40
"""Set by compaction (KIP-534): the base timestamp is then the time from which on tombstones and markers may go."""


class Compression(IntEnum):
    """How the records of a batch are compressed; the number is the batch's attribute."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


class TimestampType(Enum):
    """Who set the timestamps, in the words of the setting message.timestamp.type."""

    CREATE_TIME = "CreateTime"
    LOG_APPEND_TIME = "LogAppendTime"


_COMPRESSIONS = tuple(Compression)


class BatchHeader(NamedTuple):
    """The fields of one batch's header, in the order of the bytes. Timestamps are milliseconds; -1 means none."""

    base_offset: int
    batch_length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size_bytes(self) -> int:
        """The whole batch, its header included."""
        return self.batch_length + LENGTH_OVERHEAD_BYTES

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def end_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def last_sequence(self) -> int:
        """The last record's sequence, -1 without a producer; after 2³¹-1 sequences go on with 0."""
        if self.base_sequence < 0:
            return -1
        return (self.base_sequence + self.last_offset_delta) & SEQUENCE_MAX

    @property
    def compression(self) -> Compression:
        """Raises `InvalidRecordError` for a number that is not defined."""
        return _compression_of(self.attributes)

    @property
    def timestamp_type(self) -> TimestampType:
        log_append_time = self.attributes & LOG_APPEND_TIME_BIT
        return TimestampType.LOG_APPEND_TIME if log_append_time else TimestampType.CREATE_TIME

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & TRANSACTIONAL_BIT)

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & CONTROL_BIT)

    @property
    def delete_horizon_ms(self) -> int | None:
        """From when on compaction may drop the batch's tombstones or marker; None: it has not met them yet."""
        return self.base_timestamp if self.attributes & DELETE_HORIZON_BIT else None


def _compression_of(attributes: int) -> Compression:
    number = attributes & COMPRESSION_MASK
    if number >= len(_COMPRESSIONS):
        raise InvalidRecordError(f"the batch names compression {number}, which is not defined")
    return _COMPRESSIONS[number]


def read_header(view: Buffer, position: int = 0) -> BatchHeader:
    """The header at `position`, without looking at the CRC or at what follows.

    Raises `CorruptRecordError` where fewer than 61 bytes are left or the length cannot be, and
    `UnsupportedForMessageFormatError` for the formats before version 2.
    """
    if position < 0 or len(view) - position < HEADER_BYTES:
        raise CorruptRecordError(f"{max(0, len(view) - position)} bytes are too few for a batch header")
    header = _make(BatchHeader, HEADER.unpack_from(view, position))
    if header.magic != MAGIC or header.batch_length < _LENGTH_MIN:
        raise _refusal(header.batch_length, header.magic)
    return header


_make = tuple.__new__
"""A named tuple of as many fields as it has, which nobody counts again: headers are read by the hundred thousand."""


def _refusal(length: int, magic: int) -> CorruptRecordError | UnsupportedForMessageFormatError:
    if magic in (0, 1) and length > 0:
        return UnsupportedForMessageFormatError(f"message format {magic} is not supported; send format {MAGIC}")
    if magic != MAGIC:
        return CorruptRecordError(f"{magic} is no message format")
    return CorruptRecordError(f"a batch cannot have length {length}")


def check_batch(view: Buffer, position: int = 0, *, compacted: bool = False) -> BatchHeader:
    """The header of the batch at `position`, after everything has been checked that needs no decompression.

    `compacted`: offsets may be missing, as compaction leaves them; without it the batch must be dense, as a producer
    sends it. Raises `CorruptRecordError` for a batch that is cut off or fails its CRC, `InvalidRecordError` for one
    that is intact but contradicts itself, and `UnsupportedForMessageFormatError` for the formats before version 2.
    """
    header = read_header(view, position)
    end = position + header.batch_length + LENGTH_OVERHEAD_BYTES
    if end > len(view):
        raise CorruptRecordError(f"the batch has {len(view) - position} of its {header.size_bytes} bytes")
    crc = crc32c(memoryview(view)[position + CRC_START : end])
    if crc != header.crc:
        raise CorruptRecordError(f"the batch has checksum {crc:#010x}, its header says {header.crc:#010x}")
    count, delta = header.record_count, header.last_offset_delta
    if count < 0 or delta < 0 or (count > delta + 1 if compacted else count != delta + 1):
        raise InvalidRecordError(f"the batch has {count} records, but its last offset delta is {delta}")
    if header.attributes & COMPRESSION_MASK >= len(_COMPRESSIONS):
        _compression_of(header.attributes)
    return header


def iterate_headers(view: Buffer) -> Iterator[tuple[int, BatchHeader]]:
    """Position and header of every complete batch, one after the other; a last one that is cut off is left out.

    No CRC is checked. Raises as `read_header` does for a header that cannot be.
    """
    position, end = 0, len(view)
    while end - position >= HEADER_BYTES:
        header = read_header(view, position)
        next_position = position + header.batch_length + LENGTH_OVERHEAD_BYTES
        if next_position > end:
            return
        yield position, header
        position = next_position


def patch(buffer: bytearray | memoryview, position: int, base_offset: int, leader_epoch: int) -> None:
    """Set what a leader sets, in place. Both fields are outside the CRC."""
    _OFFSET.pack_into(buffer, position, base_offset)
    _EPOCH.pack_into(buffer, position + _EPOCH_POSITION, leader_epoch)


def patch_log_append_time(buffer: bytearray | memoryview, position: int, timestamp_ms: int) -> None:
    """Give an intact batch the log's time, in place: message.timestamp.type=LogAppendTime. The CRC is made anew."""
    header = read_header(buffer, position)
    _ATTRIBUTES.pack_into(buffer, position + CRC_START, header.attributes | LOG_APPEND_TIME_BIT)
    patch_max_timestamp(buffer, position, timestamp_ms)


def patch_max_timestamp(buffer: bytearray | memoryview, position: int, timestamp_ms: int) -> None:
    """Say anew, in place, what the largest timestamp of an intact batch is. The CRC is made anew."""
    _MAX_TIMESTAMP.pack_into(buffer, position + _MAX_TIMESTAMP_POSITION, timestamp_ms)
    seal(buffer, position, read_header(buffer, position).size_bytes)


def seal(buffer: bytearray | memoryview, position: int, size_bytes: int) -> None:
    """Compute the CRC of the batch at `position` and put it into its header."""
    with memoryview(buffer) as whole, whole[position + CRC_START : position + size_bytes] as covered:
        crc = crc32c(covered)
    CRC.pack_into(buffer, position + CRC_POSITION, crc)
