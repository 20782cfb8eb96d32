"""Another codec, the same batch."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftpy.errors import InvalidRecordError, RecordTooLargeError
from kraftpy.record import (
    Compression,
    Record,
    check_batch,
    decode_batch,
    encode_batch,
    patch_log_append_time,
    recompress,
)
from kraftpy.record.compression import Codec
from kraftpy.record.header import seal
from tests.record.test_records import batches

LEVELS = {
    Compression.NONE: st.none(),
    Compression.GZIP: st.none() | st.integers(-1, 9),
    Compression.SNAPPY: st.none(),
    Compression.LZ4: st.none() | st.integers(1, 17),
    Compression.ZSTD: st.none() | st.sampled_from([-131072, -1, 1, 3, 22]),
}
codecs = st.sampled_from(Compression).flatmap(lambda each: st.builds(Codec, st.just(each), LEVELS[each]))


@settings(max_examples=200, deadline=None)
@given(batches, st.sampled_from(Compression), codecs, st.booleans(), st.booleans(), st.integers(0, 90))
def test_only_the_codec_changes(
    records: list[Record], sent_as: Compression, codec: Codec, transactional: bool, stamped: bool, position: int
) -> None:
    sent = encode_batch(records, sent_as, 1000, 4, 77, 3, 2**31 - 2, transactional=transactional)
    if stamped:
        patch_log_append_time(sent, 0, 1_700_000_000_000)
    before = check_batch(sent)
    kept = recompress(before, bytes(position) + sent + b"more", position, codec)
    after = check_batch(kept)
    assert after.size_bytes == len(kept)
    assert after.compression is codec.compression
    assert decode_batch(kept) == decode_batch(sent)
    unlike = {"batch_length": 0, "crc": 0, "attributes": 0}
    assert after._replace(**unlike) == before._replace(**unlike)
    assert after.attributes & ~7 == before.attributes & ~7
    back = recompress(after, kept, 0, Codec(before.compression))
    assert check_batch(back)._replace(**unlike) == before._replace(**unlike) and decode_batch(back) == decode_batch(
        sent
    )


@pytest.mark.parametrize("codec", [Codec(Compression.GZIP, 9), Codec(Compression.LZ4, 9), Codec(Compression.ZSTD, 19)])
def test_effort_makes_it_smaller(codec: Codec) -> None:
    records = [Record(0, 5, None, b"%d and %d" % (number, number * number)) for number in range(5_000)]
    sent = encode_batch(records)
    small, large = (recompress(check_batch(sent), sent, 0, each) for each in (codec, codec._replace(level=1)))
    assert len(small) < len(large) < len(sent)


def test_what_is_too_large_or_damaged() -> None:
    sent = encode_batch([Record(0, 5, None, bytes(10_000))], Compression.LZ4)
    with pytest.raises(RecordTooLargeError):
        recompress(check_batch(sent), sent, 0, Codec(Compression.ZSTD), decompressed_bytes_max=10_000)
    sent[70:] = bytes(len(sent) - 70)
    seal(sent, 0, len(sent))
    with pytest.raises(InvalidRecordError):
        recompress(check_batch(sent), sent, 0, Codec(Compression.NONE))
