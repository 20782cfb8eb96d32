"""Finding offsets: the start, the end, the first record of a time (ListOffsets), the end of a leader epoch.

A new leader that does not know yet what is committed answers OFFSET_NOT_AVAILABLE to everything but the start: its high
watermark may be older than one that a client has already seen (KIP-207).
"""

from collections.abc import Callable

from broker.replication.fetch_types import CONSUMER, FoundOffset, IsolationLevel, OffsetSpec, OffsetTarget
from broker.replication.partition import Partition
from broker.replication.truncation import UNDEFINED_EPOCH, EpochEnd, epoch_end, led_starts
from kraftpy.runtime.ports import Disk

NOWHERE = -1


def work_before(partition: Partition, target: OffsetTarget, disk: Disk) -> Callable[[], None] | None:
    """What a disk thread has to do before `find_offset`, so that a search in cold data stalls nobody; None: nothing."""
    if partition.is_offline or not (target.timestamp_ms >= 0 or target.timestamp_ms == OffsetSpec.MAX_TIMESTAMP):
        return None
    return partition.log.warm_for_time(disk, target.timestamp_ms if target.timestamp_ms >= 0 else None)


def find_offset(
    partition: Partition, target: OffsetTarget, replica_id: int, isolation_level: IsolationLevel
) -> FoundOffset:
    """What `target` asks for, in the log of its leader.

    Raises as `Partition.lead_as` does, and `OffsetNotAvailableError`.
    """
    leadership = partition.lead_as(target.current_leader_epoch)
    log = partition.log
    spec = target.timestamp_ms
    if spec in (OffsetSpec.EARLIEST, OffsetSpec.EARLIEST_LOCAL):
        return FoundOffset(target, None, log.start_offset, NOWHERE, log.epochs.epoch_at(log.start_offset))
    if spec in (OffsetSpec.LATEST_TIERED, OffsetSpec.EARLIEST_PENDING_UPLOAD):
        return FoundOffset(target, None)
    end_offset = log.end_offset if replica_id != CONSUMER else partition.committed_end(leadership)
    if isolation_level is IsolationLevel.READ_COMMITTED:
        end_offset = min(end_offset, partition.last_stable_offset)
    if spec == OffsetSpec.LATEST:
        return FoundOffset(target, None, end_offset, NOWHERE, leadership.leader_epoch)
    found = (
        log.youngest_record(end_offset) if spec == OffsetSpec.MAX_TIMESTAMP else log.offset_for_time(spec, end_offset)
    )
    if found is None:
        return FoundOffset(target, None)
    offset, timestamp_ms, epoch = found
    return FoundOffset(target, None, offset, timestamp_ms, epoch)


def end_of_epoch(partition: Partition, current_leader_epoch: int, epoch: int) -> EpochEnd:
    """Where the highest epoch that is not above `epoch` ends in the leader's log (KIP-101); -1 twice above its own.

    Its own counts from the start of its leadership: a consumer that asked for the log's end knows that epoch, and would
    take "unknown" for records that are lost (KIP-320). Raises as `Partition.lead_as` does.
    """
    leadership = partition.lead_as(current_leader_epoch)
    if not 0 <= epoch <= leadership.leader_epoch:
        return EpochEnd(UNDEFINED_EPOCH, NOWHERE)
    log = partition.log
    starts = led_starts(log.epochs.entries, leadership.leader_epoch, leadership.epoch_start_offset)
    return epoch_end(starts, log.end_offset, epoch)
