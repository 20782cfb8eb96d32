"""Batches and the state of their producers: judged before they are written, noted once they are in the log."""

from kraftpy.record import BatchHeader, ControlType, decode_control_batch, marker_epoch
from log_store.batch_scan import batch_headers
from log_store.producer_state import ProducerBatch, ProducerState
from log_store.segment import Segment


def judge_producer(
    producers: ProducerState, header: BatchHeader, coordinator_epoch: int | None
) -> ProducerBatch | None:
    """What is remembered of the batch where it is a retry; None where it may be written.

    `coordinator_epoch`: of the marker, where it is one. Raises what `ProducerState.check` and `check_marker` raise.
    """
    producer_id, epoch = header.producer_id, header.producer_epoch
    if coordinator_epoch is not None:
        producers.check_marker(producer_id, epoch, coordinator_epoch)
        return None
    return producers.check(
        producer_id, epoch, header.base_sequence, header.last_sequence, transactional=header.is_transactional
    )


def replay_producers(producers: ProducerState, segment: Segment, from_offset: int) -> None:
    """Bring `producers` up to date with the batches of `segment` from `from_offset` on. Raises `OSError`."""
    file = segment.file()
    for batch in batch_headers(file, segment.position_of(from_offset), segment.size_bytes):
        header, data = batch.header, batch.data
        if header.producer_id >= 0:
            if header.is_control and len(data) < header.size_bytes:
                data = memoryview(file.read(header.size_bytes, batch.position))
            note_producer(producers, header, coordinator_epoch(header, data))


def note_producer(producers: ProducerState, header: BatchHeader, coordinator_epoch: int | None) -> None:
    """Note the batch of a producer (or, with an epoch of its coordinator, the marker) that is in the log."""
    producer_id, epoch = header.producer_id, header.producer_epoch
    if coordinator_epoch is not None:
        producers.end_transaction(producer_id, epoch, coordinator_epoch, header.max_timestamp)
    elif not header.is_control:
        producers.update(
            producer_id,
            epoch,
            header.base_sequence,
            header.base_offset,
            header.last_offset,
            header.max_timestamp,
            transactional=header.is_transactional,
        )


def coordinator_epoch(header: BatchHeader, data: memoryview) -> int | None:
    """That of the marker which ends a transaction; None for every other batch. Raises `InvalidRecordError`."""
    if not header.is_control or header.producer_id < 0:
        return None
    for record in decode_control_batch(data):
        if record.type in (ControlType.ABORT, ControlType.COMMIT):
            return marker_epoch(record)
    return None
