"""Compressed data: other people's formats, and people who wish harm."""

import gzip
import subprocess
import sys
import zlib
from struct import pack

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftpy.errors import InvalidRecordError, KraftpyError, RecordTooLargeError
from kraftpy.record import Compression
from kraftpy.record.compression import compress, decompress
from tests.record.kafka_python import codec

TEXT = b"the quick brown fox " * 20_000
COMPRESSED = [item for item in Compression if item is not Compression.NONE]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=500).map(lambda piece: piece * 50), st.sampled_from(list(Compression)))
def test_everything_comes_back(data: bytes, compression: Compression) -> None:
    packed = compress(compression, memoryview(data))
    assert decompress(compression, packed) == decompress(compression, bytes(packed)) == data
    assert decompress(compression, packed, len(data)) == data


@pytest.mark.parametrize("compression", list(Compression))
def test_one_byte_above_the_limit_is_too_much(compression: Compression) -> None:
    packed = compress(compression, TEXT)
    assert decompress(compression, packed, len(TEXT)) == TEXT
    with pytest.raises(RecordTooLargeError):
        decompress(compression, packed, len(TEXT) - 1)


@pytest.mark.parametrize(
    "bomb",
    [
        (Compression.GZIP, zlib.compress(bytes(64 * 2**20), 9, 31)),
        (Compression.SNAPPY, bytes(cramjam.snappy.compress_raw(bytes(64 * 2**20)))),
        (Compression.LZ4, bytes(cramjam.lz4.compress(bytes(64 * 2**20)))),
        (Compression.ZSTD, bytes(cramjam.zstd.compress(bytes(64 * 2**20)))),
        (Compression.SNAPPY, b"\xff\xff\xff\xff\x0f" + b"\0" * 10),
    ],
    ids=lambda bomb: bomb[0].name,
)
def test_a_bomb_is_refused_before_it_fills_memory(bomb: tuple[Compression, bytes]) -> None:
    compression, data = bomb
    script = f"""
import resource, sys
import cramjam
from kraftpy.errors import KraftpyError
from kraftpy.record.compression import Compression, decompress

def peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

data = sys.stdin.buffer.read()
before = peak_kib()
try:
    decompress(Compression.{compression.name}, data, 2**20)
except KraftpyError:
    print(peak_kib() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], input=data, capture_output=True, check=True)
    grown_kib = int(done.stdout)
    assert grown_kib < 24 * 1024, f"{grown_kib} KiB for a limit of 1 MiB"


@pytest.mark.parametrize("compression", COMPRESSED)
@pytest.mark.parametrize("keep", [0, 1, 7, 20, 0.5, -1])
def test_truncated_data_is_refused(compression: Compression, keep: float) -> None:
    packed = bytes(compress(compression, TEXT))
    size = int(len(packed) * keep) if isinstance(keep, float) else keep
    cut = packed[:size]
    try:
        # A framed snappy stream that ends between two blocks cannot be told from a whole one: the record count can.
        assert len(decompress(compression, cut)) < len(TEXT)
        assert compression is Compression.SNAPPY
    except KraftpyError:
        pass


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(COMPRESSED), st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
def test_damaged_data_is_data_or_an_error(compression: Compression, position: int, damage: bytes) -> None:
    packed = bytearray(compress(compression, TEXT[:4000]))
    position %= len(packed)
    packed[position : position + len(damage)] = damage
    try:
        decompress(compression, packed, 2**20)
    except KraftpyError:
        pass


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(COMPRESSED), st.binary(max_size=100))
def test_garbage_is_data_or_an_error(compression: Compression, data: bytes) -> None:
    try:
        decompress(compression, data, 2**20)
    except KraftpyError:
        pass


def test_snappy_is_read_with_and_without_the_framing_of_the_java_library() -> None:
    framed = bytes(compress(Compression.SNAPPY, TEXT))
    assert framed.startswith(b"\x82SNAPPY\0\0\0\0\1\0\0\0\1")
    assert codec.snappy_decode(framed) == TEXT
    assert decompress(Compression.SNAPPY, codec.snappy_encode(TEXT)) == TEXT
    assert decompress(Compression.SNAPPY, codec.snappy_encode(TEXT, xerial_compatible=False)) == TEXT
    assert decompress(Compression.SNAPPY, framed + framed) == TEXT + TEXT


@pytest.mark.parametrize("length", [-1, 0, 2**31 - 1])
def test_a_snappy_block_of_an_impossible_length_is_refused(length: int) -> None:
    with pytest.raises(InvalidRecordError):
        decompress(Compression.SNAPPY, b"\x82SNAPPY\0" + pack(">iii", 1, 1, length) + b"abc")


def test_lz4_blocks_are_independent_because_java_refuses_others() -> None:
    packed = bytes(compress(Compression.LZ4, TEXT))
    independent = 0x20
    assert packed[:4] == b"\x04\x22\x4d\x18" and packed[4] & independent
    assert codec.lz4_decode(packed) == TEXT
    assert decompress(Compression.LZ4, codec.lz4_encode(TEXT)) == TEXT


def test_zstd_frames_without_a_content_size_are_read() -> None:
    compressor = cramjam.zstd.Compressor(3)
    compressor.compress(TEXT)
    assert decompress(Compression.ZSTD, bytes(compressor.finish())) == TEXT
    assert codec.zstd_decode(bytes(compress(Compression.ZSTD, TEXT))) == TEXT
    assert decompress(Compression.ZSTD, codec.zstd_encode(TEXT)) == TEXT


def test_gzip_members_one_after_the_other_are_read_but_not_endlessly_many() -> None:
    member = gzip.compress(b"abc")
    assert decompress(Compression.GZIP, member * 3) == b"abcabcabc"
    with pytest.raises(InvalidRecordError):
        decompress(Compression.GZIP, gzip.compress(b"") * 10_000)


def test_no_library_is_loaded_before_it_is_needed() -> None:
    script = "import sys; import kraftpy.record; print('cramjam' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
