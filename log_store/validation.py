"""What a log accepts: pure checks of batches before anything is written.

Everything is judged by headers and checksums; records stay closed, except that a compacted log looks for keys (and
see `timestamps`).
"""

from kraftpy.errors import (
    CorruptRecordError,
    InvalidRecordError,
    InvalidTimestampError,
    RecordListTooLargeError,
    RecordTooLargeError,
)
from kraftpy.record import BatchHeader, check_batch, check_keys
from kraftpy.record.header import LOG_APPEND_TIME_BIT
from kraftpy.runtime.ports import Buffer
from log_store.config import CREATE_TIME, LogConfig

PlacedBatch = tuple[int, BatchHeader]
"""The position of a batch in its buffer, and its header."""


def check_produced(
    records: Buffer, config: LogConfig, wall_ms: int, *, markers: bool = False, sequenced: bool = True
) -> list[PlacedBatch]:
    """The batches of a producer's request, all of them acceptable.

    `markers`: control batches, which only the transaction coordinator may write. `sequenced`: a producer that has an id
    numbers its records; a coordinator that writes in its name does not. Raises `CorruptRecordError`,
    `InvalidRecordError`, `RecordTooLargeError`, `RecordListTooLargeError`, `InvalidTimestampError`,
    `UnsupportedForMessageFormatError`.
    """
    batches = []
    position, end = 0, len(records)
    if end > config.segment_bytes:
        raise RecordListTooLargeError(f"{end} bytes do not fit into a segment of {config.segment_bytes}")
    while position < end:
        header = check_batch(records, position)
        _check_acceptable(header, config, wall_ms, markers, sequenced)
        if config.compacted and not header.is_control:
            _check_keys(header, records, position)
        batches.append((position, header))
        position += header.batch_length + 12
    if not batches:
        raise InvalidRecordError("a produce request holds no batch")
    if len(batches) > 1 and any(header.producer_id >= 0 for _, header in batches):
        raise InvalidRecordError("an idempotent producer sends one batch a partition and request")
    return batches


def _check_acceptable(header: BatchHeader, config: LogConfig, wall_ms: int, markers: bool, sequenced: bool) -> None:
    if header.batch_length + 12 > config.max_message_bytes:
        raise RecordTooLargeError(
            f"a batch of {header.size_bytes} bytes is larger than max.message.bytes={config.max_message_bytes}"
        )
    if header.record_count == 0:
        raise InvalidRecordError("a batch without records")
    if header.is_control != markers:
        raise InvalidRecordError("control batches are the transaction coordinator's" if not markers else "no marker")
    has_sequence = header.base_sequence >= 0 or markers or not sequenced
    if header.producer_id >= 0 and not (has_sequence and header.producer_epoch >= 0):
        raise InvalidRecordError(f"producer {header.producer_id} sent no sequence or no epoch")
    if header.is_transactional and header.producer_id < 0:
        raise InvalidRecordError("a transaction without a producer")
    if header.attributes & LOG_APPEND_TIME_BIT:
        raise InvalidTimestampError("LogAppendTime is the topic's to set, not a producer's")
    if config.timestamp_type == CREATE_TIME:
        # The first record's is mostly the oldest. Those between are not read for it.
        check_timestamp(header.base_timestamp, config, wall_ms)
        check_timestamp(header.max_timestamp, config, wall_ms)


def check_timestamp(timestamp_ms: int, config: LogConfig, wall_ms: int) -> None:
    """Below 0 it is none. Raises `InvalidTimestampError`."""
    ahead_ms = timestamp_ms - wall_ms
    if timestamp_ms >= 0 and not -config.timestamp_before_max_ms <= ahead_ms <= config.timestamp_after_max_ms:
        raise InvalidTimestampError(
            f"timestamp {timestamp_ms} is too far from this node's clock, {wall_ms} "
            f"(message.timestamp.before.max.ms, message.timestamp.after.max.ms)"
        )


def _check_keys(header: BatchHeader, records: Buffer, position: int) -> None:
    if not check_keys(header, records, position):
        raise InvalidRecordError("a compacted topic takes no record without a key")


def check_replicated(
    records: Buffer, *, next_offset: int, latest_epoch: int, leader_epoch: int | None, compacted: bool
) -> list[PlacedBatch]:
    """The batches that a replica may append of what its leader sent (KAFKA-18723).

    Offsets must go on at `next_offset` without a gap (in a compacted log: not back), and epochs must not go back. What
    follows a batch of an epoch above `leader_epoch` is left out, and so is a last batch that was cut off: the next
    fetch brings them. Raises `CorruptRecordError`, `InvalidRecordError`; then nothing of it may be appended.
    """
    batches: list[PlacedBatch] = []
    position, end = 0, len(records)
    while end - position >= 12:
        size_bytes = int.from_bytes(records[position + 8 : position + 12], "big", signed=True) + 12
        if position + size_bytes > end and batches:
            break
        header = check_batch(records, position, compacted=compacted)
        base_offset, epoch = header.base_offset, header.leader_epoch
        if base_offset != next_offset and not (compacted and base_offset > next_offset):
            raise InvalidRecordError(f"a batch starts at offset {base_offset}, expected {next_offset}")
        if epoch < latest_epoch:
            raise InvalidRecordError(f"the batch at {base_offset} has epoch {epoch}, behind {latest_epoch}")
        if leader_epoch is not None and epoch > leader_epoch:
            break
        batches.append((position, header))
        next_offset, latest_epoch = header.end_offset, epoch
        position += size_bytes
    if position == 0 and 0 < end < 12:
        raise CorruptRecordError(f"{end} bytes are too few for a batch")
    return batches
