"""The same batch, otherwise compressed.

Records are neither opened nor made anew: what they were before they were compressed is compressed again. So the batch
keeps all that its header says (offsets, timestamps, producer, sequence, transaction) but for the codec, and what
follows from that: its length and CRC.
"""

from kraftpy.record.compression import DECOMPRESSED_BYTES_MAX, Codec, compress, decompress
from kraftpy.record.header import (
    COMPRESSION_MASK,
    HEADER,
    HEADER_BYTES,
    LENGTH_OVERHEAD_BYTES,
    BatchHeader,
    seal,
)
from kraftpy.runtime.ports import Buffer


def recompress(
    header: BatchHeader,
    view: Buffer,
    position: int,
    codec: Codec,
    *,
    decompressed_bytes_max: int = DECOMPRESSED_BYTES_MAX,
) -> bytearray:
    """The batch at `position`, which `check_batch` has found intact just now, compressed by `codec`.

    Also where that makes it larger, as Kafka does: the codec is what the topic asks for. Raises `InvalidRecordError`
    for damaged data, and `RecordTooLargeError` where its records take more than `decompressed_bytes_max`.
    """
    batch = bytearray(HEADER_BYTES)
    with (
        memoryview(view) as whole,
        whole[position + HEADER_BYTES : position + header.size_bytes] as payload,
    ):
        records = decompress(header.compression, payload, decompressed_bytes_max)
    batch += compress(codec.compression, records, codec.level)
    changed = header._replace(
        batch_length=len(batch) - LENGTH_OVERHEAD_BYTES,
        attributes=(header.attributes & ~COMPRESSION_MASK) | codec.compression,
    )
    HEADER.pack_into(batch, 0, *changed)
    seal(batch, 0, len(batch))
    return batch
