"""Batches to put into logs, small and readable."""

from collections.abc import Sequence

from kraftpy.record import Compression, Record, encode_batch

WALL_MS = 1_700_000_000_000


def batch(
    values: Sequence[bytes] = (b"value",),
    *,
    timestamp_ms: int = WALL_MS,
    base_offset: int = 0,
    leader_epoch: int = -1,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    transactional: bool = False,
    compression: Compression = Compression.NONE,
) -> bytearray:
    """One batch, its records all of one time. Of a producer where `producer_id` is given."""
    return encode_batch(
        [Record(number, timestamp_ms, b"key", value, ()) for number, value in enumerate(values)],
        compression,
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        producer_id=producer_id,
        producer_epoch=0 if producer_id >= 0 and producer_epoch < 0 else producer_epoch,
        base_sequence=base_sequence,
        transactional=transactional,
    )
