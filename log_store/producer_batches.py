"""Batches and the state of their producers: judged before they are written, noted once they are in the log."""

from typing import NamedTuple

from kraftpy.record import BatchHeader, ControlType, decode_control_batch, marker_epoch
from log_store.batch_scan import batch_headers
from log_store.producer_state import ProducerBatch, ProducerState
from log_store.segment import Segment
from log_store.transaction_index import Aborted


class Marker(NamedTuple):
    """What a batch that ends a transaction says."""

    coordinator_epoch: int
    is_abort: bool


def judge_producer(producers: ProducerState, header: BatchHeader, marker: Marker | None) -> ProducerBatch | None:
    """What is remembered of the batch where it is a retry; None where it may be written.

    Raises what `ProducerState.check` and `check_marker` raise.
    """
    producer_id, epoch = header.producer_id, header.producer_epoch
    if marker is not None:
        producers.check_marker(producer_id, epoch, marker.coordinator_epoch)
        return None
    if header.base_sequence < 0:
        producers.check_epoch(producer_id, epoch)
        return None
    return producers.check(
        producer_id, epoch, header.base_sequence, header.last_sequence, transactional=header.is_transactional
    )


def replay_producers(producers: ProducerState, segment: Segment, from_offset: int, end_offset: int) -> None:
    """Bring `producers` up to date with the batches of `segment` in these offsets, whose ends are boundaries.

    Raises `OSError`, `CorruptRecordError`, `InvalidRecordError`, `UnsupportedForMessageFormatError`.
    """
    file = segment.file()
    for batch in batch_headers(file, segment.position_of(from_offset), segment.size_bytes):
        header, data = batch.header, batch.data
        if header.base_offset >= end_offset:
            break
        if header.producer_id >= 0:
            if header.is_control and len(data) < header.size_bytes:
                data = memoryview(file.read(header.size_bytes, batch.position))
            note_producer(producers, header, marker_of(header, data))


def note_producer(producers: ProducerState, header: BatchHeader, marker: Marker | None) -> Aborted | None:
    """Note the batch of a producer, or the marker, that is in the log.

    Gives the transaction that it aborts, for the transaction index; None: none that has records here.
    """
    producer_id, epoch = header.producer_id, header.producer_epoch
    if marker is not None:
        offset = header.base_offset
        first_offset = producers.end_transaction(
            producer_id, epoch, marker.coordinator_epoch, offset, header.max_timestamp
        )
        if marker.is_abort and first_offset is not None:
            ongoing = producers.transactions.first_ongoing_offset
            return Aborted(producer_id, first_offset, offset, offset + 1 if ongoing is None else ongoing)
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
    return None


def marker_of(header: BatchHeader, data: memoryview) -> Marker | None:
    """The marker that ends a transaction; None for every other batch. Raises `InvalidRecordError`."""
    if not header.is_control or header.producer_id < 0:
        return None
    for record in decode_control_batch(data):
        if record.type in (ControlType.ABORT, ControlType.COMMIT):
            return Marker(marker_epoch(record), record.type is ControlType.ABORT)
    return None
