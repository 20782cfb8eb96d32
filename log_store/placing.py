"""Giving batches their place in the log, just before they are written there; works on the bytes, no I/O."""

from collections.abc import Iterator, Sequence

from kraftpy.record import patch, patch_log_append_time
from log_store.batch_places import LENGTH_OVERHEAD
from log_store.segment import AppendedBatch
from log_store.validation import PlacedBatch


def place_produced(
    records: bytearray | memoryview,
    batches: Sequence[PlacedBatch],
    base_offset: int,
    leader_epoch: int,
    stamped_ms: int,
) -> list[AppendedBatch]:
    """Set offsets from `base_offset` on, and the epoch, in `records`; with `stamped_ms` >= 0 the timestamps too."""
    appended = []
    end_offset = base_offset
    for position, header in batches:
        first_offset = end_offset
        end_offset += header.last_offset_delta + 1
        patch(records, position, first_offset, leader_epoch)
        if stamped_ms >= 0:
            patch_log_append_time(records, position, stamped_ms)
        timestamp_ms = stamped_ms if stamped_ms >= 0 else header.max_timestamp
        appended.append(AppendedBatch(first_offset, end_offset, header.batch_length + LENGTH_OVERHEAD, timestamp_ms))
    return appended


def place_replicated(batches: Sequence[PlacedBatch]) -> list[AppendedBatch]:
    """Their places as the leader gave them."""
    return [
        AppendedBatch(
            header.base_offset, header.end_offset, header.batch_length + LENGTH_OVERHEAD, header.max_timestamp
        )
        for _, header in batches
    ]


def runs_that_fit(
    batches: Sequence[PlacedBatch], room_bytes: int, segment_bytes: int
) -> Iterator[Sequence[PlacedBatch]]:
    """Cut batches that follow each other into pieces of `room_bytes`, then of `segment_bytes`; at least one each."""
    first = 0
    for number, (_, header) in enumerate(batches):
        size_bytes = header.batch_length + LENGTH_OVERHEAD
        if number > first and size_bytes > room_bytes:
            yield batches[first:number]
            first, room_bytes = number, segment_bytes
        room_bytes -= size_bytes
    if batches:
        yield batches[first:]
