"""The largest timestamp of a batch, by which retention and searches go, where a producer has it wrong.

Kafka computes it anew for every batch (`LogValidator`), because clients are lax: KafkaJS leaves out of it the records
that it stamps itself, and sarama said -1 for years. Here batches stay closed where that is possible: one is opened
where its header cannot be true, or could hide records of now behind an old one. A live producer's never does.
"""

from kraftpy.record import BatchHeader, latest_timestamp, patch_max_timestamp
from kraftpy.record.reader import ITEMS_MAX
from log_store.config import CREATE_TIME, LogConfig
from log_store.validation import PlacedBatch, check_timestamp

DOUBT_MS = 10_000
"""A header that is so much older than now is doubted, and by so much one that is not may be wrong."""


def corrected(
    records: bytearray | memoryview, batches: list[PlacedBatch], config: LogConfig, wall_ms: int
) -> list[PlacedBatch]:
    """`batches`, which a producer sent, with the timestamps that they have, set in `records` too.

    Raises `InvalidTimestampError`, and `InvalidRecordError` for one that is opened and holds no records.
    """
    if config.timestamp_type != CREATE_TIME or not any(_is_doubtful(header, wall_ms) for _, header in batches):
        return batches
    return [(position, _corrected(records, position, header, config, wall_ms)) for position, header in batches]


def _is_doubtful(header: BatchHeader, wall_ms: int) -> bool:
    latest = header.max_timestamp
    return latest < header.base_timestamp or (latest < wall_ms - DOUBT_MS and header.record_count > 1)


def _corrected(
    records: bytearray | memoryview, position: int, header: BatchHeader, config: LogConfig, wall_ms: int
) -> BatchHeader:
    if not _is_doubtful(header, wall_ms):
        return header
    if header.record_count > ITEMS_MAX:  # nobody looks into so many: kept for too long rather than deleted too early
        latest = max(header.base_timestamp, wall_ms)
    else:
        latest = latest_timestamp(header, records, position)
    if latest == header.max_timestamp:
        return header
    check_timestamp(latest, config, wall_ms)
    patch_max_timestamp(records, position, latest)
    return header._replace(max_timestamp=latest)
