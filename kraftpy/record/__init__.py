"""Record batches, format version 2: the one format on disk, on the wire and in replication.

`header` is all that a broker needs: it checks and stamps batches, and opens them only where a topic asks for it.
`builder` and `reader` are the two ends (records into a batch and back), `compression` and `varint` are their tools,
`recompression` changes a batch's codec, `control` holds the batches that brokers write for themselves.
"""

from kraftpy.record.builder import BatchBuilder, encode_batch, record_bytes_max
from kraftpy.record.control import (
    ControlRecord,
    ControlType,
    decode_control_batch,
    encode_control_batch,
    encode_marker,
    marker_epoch,
)
from kraftpy.record.header import (
    DAMAGED,
    HEADER_BYTES,
    BatchHeader,
    Compression,
    TimestampType,
    check_batch,
    iterate_headers,
    patch,
    patch_log_append_time,
    patch_max_timestamp,
    read_header,
)
from kraftpy.record.reader import check_keys, decode_batch, decode_batches, decode_records, latest_timestamp
from kraftpy.record.recompression import recompress
from kraftpy.record.record import Header, Record

__all__ = [
    "DAMAGED",
    "HEADER_BYTES",
    "BatchBuilder",
    "BatchHeader",
    "Compression",
    "ControlRecord",
    "ControlType",
    "Header",
    "Record",
    "TimestampType",
    "check_batch",
    "check_keys",
    "decode_batch",
    "decode_batches",
    "decode_control_batch",
    "decode_records",
    "encode_batch",
    "encode_control_batch",
    "encode_marker",
    "iterate_headers",
    "latest_timestamp",
    "marker_epoch",
    "patch",
    "patch_log_append_time",
    "patch_max_timestamp",
    "read_header",
    "recompress",
    "record_bytes_max",
]
