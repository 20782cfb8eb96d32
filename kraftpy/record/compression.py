"""The five ways in which the records of a batch are compressed, and a limit on what they may become again.

A few kilobytes can stand for gigabytes, so `decompress` never holds more than its caller allows: gzip is inflated
piece by piece, snappy says its length beforehand, and lz4 and zstd write into a buffer that grows step by step up to
the limit. Libraries are loaded when a batch first needs them.

Formats as Kafka's clients write them: gzip members (RFC 1952); snappy in the framing of the Java library snappy-java
(also read without it); lz4 frames of independent blocks, since Java refuses dependent ones; zstd frames.
"""

import functools
import zlib
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Literal, NamedTuple, assert_never

from kraftpy.errors import InvalidRecordError, RecordTooLargeError
from kraftpy.record.header import Compression
from kraftpy.runtime.ports import Buffer

DECOMPRESSED_BYTES_MAX = 128 * 1024 * 1024
"""What one batch may become unless the caller says otherwise: 128 times the default max.message.bytes."""

_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_GZIP_STEP_BYTES = 1024 * 1024
_GZIP_LEVEL = 6
_GZIP_MEMBERS_MAX = 128
_ZSTD_LEVEL = 3
_LZ4_LEVEL = 1
_SNAPPY_MAGIC = b"\x82SNAPPY\x00"
_SNAPPY_HEADER = _SNAPPY_MAGIC + Struct(">ii").pack(1, 1)
_SNAPPY_BLOCK_BYTES = 32 * 1024
_BLOCK_LENGTH = Struct(">i")
_GROWTH_START_BYTES = 64 * 1024
_GROWTH_FACTOR = 4


class Codec(NamedTuple):
    """How to compress, and with how much effort."""

    compression: Compression
    level: int | None = None
    """Of gzip -1 to 9, lz4 1 to 17, zstd -131072 to 22; none and snappy have no levels. None: this module's own."""


def compress(compression: Compression, data: Buffer, level: int | None = None) -> Buffer:
    """`data` compressed; itself for `Compression.NONE`. `level`: see `Codec`."""
    match compression:
        case Compression.NONE:
            return data
        case Compression.GZIP:
            return _compress_gzip(data, _GZIP_LEVEL if level is None else level)
        case Compression.SNAPPY:
            return _compress_snappy(data)
        case Compression.LZ4:
            return _compress_lz4(data, _LZ4_LEVEL if level is None else level)
        case Compression.ZSTD:
            return _compress_zstd(data, _ZSTD_LEVEL if level is None else level)
        case _:
            assert_never(compression)


def decompress(compression: Compression, data: Buffer, bytes_max: int = DECOMPRESSED_BYTES_MAX) -> bytes:
    """What `compress` was given.

    Raises `RecordTooLargeError` where it would be more than `bytes_max`, and `InvalidRecordError` for damaged data.
    """
    match compression:
        case Compression.NONE:
            return _limited(bytes(data), bytes_max)
        case Compression.GZIP:
            return _decompress_gzip(data, bytes_max)
        case Compression.SNAPPY:
            return b"".join(_snappy_blocks(bytes(data), bytes_max))
        case Compression.LZ4:
            return _decompress_lz4(data, bytes_max)
        case Compression.ZSTD:
            return _decompress_zstd(data, bytes_max)
        case _:
            assert_never(compression)


def _limited(data: bytes, bytes_max: int) -> bytes:
    if len(data) > bytes_max:
        raise _too_large(bytes_max)
    return data


def _too_large(bytes_max: int) -> RecordTooLargeError:
    return RecordTooLargeError(f"the batch decompresses to more than {bytes_max} bytes")


def _damaged(format_name: str) -> InvalidRecordError:
    return InvalidRecordError(f"the batch's {format_name} data is damaged")


# --- gzip ------------------------------------------------------------------------------------------------------------


def _compress_gzip(data: Buffer, level: int) -> bytes:
    compressor = zlib.compressobj(level, zlib.DEFLATED, _GZIP_WINDOW)
    return compressor.compress(data) + compressor.flush()


def _decompress_gzip(data: Buffer, bytes_max: int) -> bytes:
    """Members one after the other, as `cat a.gz b.gz` gives them, are one text; but not endlessly many.

    Each member copies what follows it, so a megabyte of empty members would take minutes.
    """
    pieces: list[bytes] = []
    room = bytes_max
    rest: Buffer = data
    for _ in range(_GZIP_MEMBERS_MAX):
        member = zlib.decompressobj(_GZIP_WINDOW)
        try:
            while not member.eof:
                piece = member.decompress(rest, min(_GZIP_STEP_BYTES, room + 1))
                rest = member.unconsumed_tail
                if not piece and not rest and not member.eof:
                    raise _damaged("gzip")
                room -= len(piece)
                if room < 0:
                    raise _too_large(bytes_max)
                pieces.append(piece)
        except zlib.error as error:
            raise _damaged("gzip") from error
        rest = member.unused_data
        if not rest:
            return b"".join(pieces)
    raise InvalidRecordError(f"the batch has more than {_GZIP_MEMBERS_MAX} gzip members")


# --- snappy ----------------------------------------------------------------------------------------------------------


def _compress_snappy(data: Buffer) -> bytes:
    from cramjam import snappy

    pieces: list[Buffer] = [_SNAPPY_HEADER]
    with memoryview(data) as view:
        for start in range(0, len(view), _SNAPPY_BLOCK_BYTES):
            block = snappy.compress_raw(view[start : start + _SNAPPY_BLOCK_BYTES])
            pieces += (_BLOCK_LENGTH.pack(len(block)), memoryview(block))
        return b"".join(pieces)


def _snappy_blocks(data: bytes, bytes_max: int) -> Iterator[Buffer]:
    if not data.startswith(_SNAPPY_MAGIC):
        yield _decompress_snappy_block(data, bytes_max)
        return
    position, room = len(_SNAPPY_HEADER), bytes_max
    while position < len(data):
        # A stream that was appended to another brings its header along.
        if data.startswith(_SNAPPY_MAGIC, position):
            position += len(_SNAPPY_HEADER)
            continue
        if len(data) - position < _BLOCK_LENGTH.size:
            raise _damaged("snappy")
        (length,) = _BLOCK_LENGTH.unpack_from(data, position)
        position += _BLOCK_LENGTH.size
        if not 0 < length <= len(data) - position:
            raise _damaged("snappy")
        block = _decompress_snappy_block(data[position : position + length], room)
        room -= len(block)
        position += length
        yield block


def _decompress_snappy_block(block: bytes, bytes_max: int) -> Buffer:
    from cramjam import DecompressionError, snappy

    try:
        if snappy.decompress_raw_len(block) > bytes_max:
            raise _too_large(bytes_max)
        return memoryview(snappy.decompress_raw(block))
    except DecompressionError as error:
        raise _damaged("snappy") from error


# --- lz4 and zstd ----------------------------------------------------------------------------------------------------


def _compress_lz4(data: Buffer, level: int) -> Buffer:
    from cramjam import lz4

    compressor = lz4.Compressor(level=level, content_checksum=False, block_linked=False)
    compressor.compress(bytes(data))
    return memoryview(compressor.finish())


def _decompress_lz4(data: Buffer, bytes_max: int) -> bytes:
    from cramjam import lz4

    return _decompress_growing("lz4", lz4.decompress_into, data, bytes_max)


def _compress_zstd(data: Buffer, level: int) -> Buffer:
    from cramjam import zstd

    return memoryview(zstd.compress(data, level=level))


def _decompress_zstd(data: Buffer, bytes_max: int) -> bytes:
    from cramjam import zstd

    return _decompress_growing("zstd", zstd.decompress_into, data, bytes_max)


def _decompress_growing(
    name: Literal["lz4", "zstd"], decompress_into: Callable[[Buffer, bytearray], int], data: Buffer, bytes_max: int
) -> bytes:
    """Try with more and more room, fourfold each time, until it is enough, too much, or the data proves damaged."""
    from cramjam import DecompressionError

    capacity = max(_GROWTH_START_BYTES, _GROWTH_FACTOR * len(data))
    while True:
        # One byte more than is allowed tells data that just fits from data that is too large.
        room = bytearray(min(capacity, bytes_max + 1))
        try:
            size = decompress_into(data, room)
        except DecompressionError as error:
            if str(error) != _full_buffer_message(name):
                raise _damaged(name) from error
            if capacity > bytes_max:
                raise _too_large(bytes_max) from error
            capacity *= _GROWTH_FACTOR
            continue
        if size > bytes_max:
            raise _too_large(bytes_max)
        with memoryview(room) as view:
            return bytes(view[:size])


@functools.cache
def _full_buffer_message(name: Literal["lz4", "zstd"]) -> str:
    """How the library says that the buffer is too small; its error has no other mark, so it is asked once."""
    import cramjam

    codec = cramjam.lz4 if name == "lz4" else cramjam.zstd
    try:
        codec.decompress_into(codec.compress(bytes(1000)), bytearray(10))
    except cramjam.DecompressionError as error:
        return str(error)
    raise AssertionError(f"{name} wrote 1000 bytes into 10")
