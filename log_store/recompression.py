"""compression.type: what a producer sent, as its topic keeps it. Works on the bytes, no I/O."""

from kraftpy.errors import RecordListTooLargeError, RecordTooLargeError
from kraftpy.record import Compression, read_header, recompress
from kraftpy.record.compression import DECOMPRESSED_BYTES_MAX
from log_store.config import LogConfig
from log_store.validation import PlacedBatch


def recompressed(
    records: bytearray | memoryview, batches: list[PlacedBatch], config: LogConfig
) -> tuple[bytearray | memoryview, list[PlacedBatch]]:
    """The batches of a producer, which `check_produced` has accepted, all of them compressed as `config` says.

    What is so already stays as it is, whatever its level; what coordinators write does not come here. As in Kafka the
    limits hold for what was sent and for what becomes of it (`UnifiedLog.append` judges sizes again after
    `LogValidator` has compressed anew). Raises `RecordTooLargeError`, `RecordListTooLargeError`, `InvalidRecordError`.
    """
    codec = config.recompression
    if codec is None or all(header.compression is codec.compression for _, header in batches):
        return records, batches
    room = config.max_message_bytes if codec.compression is Compression.NONE else DECOMPRESSED_BYTES_MAX
    whole = bytearray()
    placed: list[PlacedBatch] = []
    for position, header in batches:
        start = len(whole)
        if header.compression is codec.compression:
            whole += records[position : position + header.size_bytes]
        else:
            whole += recompress(header, records, position, codec, decompressed_bytes_max=room)
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
