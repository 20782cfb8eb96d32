"""compression.type: what a producer sent, as its topic keeps it. Works on the bytes, no I/O."""

from kraftpy.errors import RecordListTooLargeError, RecordTooLargeError
from kraftpy.record import Compression, read_header, recompress
from log_store.config import LogConfig
from log_store.validation import PlacedBatch

RECORDS_BYTES_MAX = 8 * 1024 * 1024
"""Of a batch without compression. A larger one stays as it was sent: some kilobytes may become a hundred megabytes, and
whoever compresses those anew serves nobody for seconds."""


def recompressed(
    records: bytearray | memoryview, batches: list[PlacedBatch], config: LogConfig
) -> tuple[bytearray | memoryview, list[PlacedBatch]]:
    """The batches of a producer, which `check_produced` has accepted, all of them compressed as `config` says.

    What is so already stays as it is, whatever its level; what coordinators write does not come here. Where nothing is
    to be compressed, what becomes too large is refused; else it stays as it was. As in Kafka the
    limits hold for what was sent and for what becomes of it (`UnifiedLog.append` judges sizes again after
    `LogValidator` has compressed anew). Raises `RecordTooLargeError`, `RecordListTooLargeError`, `InvalidRecordError`.
    """
    codec = config.recompression
    if codec is None or all(header.compression is codec.compression for _, header in batches):
        return records, batches
    must_be_open = codec.compression is Compression.NONE
    room = config.max_message_bytes if must_be_open else RECORDS_BYTES_MAX
    whole = bytearray()
    placed: list[PlacedBatch] = []
    for position, header in batches:
        start = len(whole)
        is_kept = not must_be_open and header.size_bytes > RECORDS_BYTES_MAX
        if is_kept or header.compression is codec.compression:
            whole += records[position : position + header.size_bytes]
        else:
            try:
                whole += recompress(header, records, position, codec, decompressed_bytes_max=room)
            except RecordTooLargeError:
                if must_be_open:
                    raise
                whole += records[position : position + header.size_bytes]
        kept = read_header(whole, start)
        if kept.size_bytes > config.max_message_bytes:
            raise RecordTooLargeError(
                f"a batch of {header.size_bytes} bytes has {kept.size_bytes} with the topic's "
                f"compression.type={config.compression_type}, more than max.message.bytes={config.max_message_bytes}"
            )
        placed.append((start, kept))
    if len(whole) > config.segment_bytes:
        raise RecordListTooLargeError(f"{len(whole)} bytes do not fit into a segment of {config.segment_bytes}")
    return whole, placed
