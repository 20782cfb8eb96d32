"""What a follower does by its leader's word: it cuts by epochs, appends what it is sent, takes over watermarks.

Invariant: `high_watermark <= log.end_offset`, also after a cut.

Synchronous, and on the loop's thread, as `partition` is.
"""

import logging

from broker.replication.fetch_types import Diverging
from broker.replication.partition import Partition
from broker.replication.truncation import EpochEnd, truncation_offset
from broker.replication.watermark import follower_watermark
from kraftpy.errors import KafkaStorageError
from kraftpy.record import DAMAGED, iterate_headers
from kraftpy.runtime.ports import Buffer
from log_store.fence import is_unreadable, lacked_descriptors

logger = logging.getLogger(__name__)

UNREADABLE = (*DAMAGED, KafkaStorageError)
"""What a log raises that cannot be cut because of damage."""


def truncate(partition: Partition, leader: Diverging) -> None:
    """The leader's log parts from this one: cut, by epochs (KIP-101, KIP-279).

    Raises one of `UNREADABLE`: it is damaged where it would be cut, or before that; it is looked into, and repaired. Or
    the disk did not let it be cut now.
    """
    log = partition.log
    end_offset = truncation_offset(log.epochs.entries, log.end_offset, EpochEnd(*leader))
    try:
        log.truncate(end_offset)
    except UNREADABLE as error:
        logger.warning("%s cannot be cut at %d, where its leader's log parts: %s", partition.name, end_offset, error)
        if not isinstance(error, KafkaStorageError) or is_unreadable(error):
            partition.surroundings.suspected(partition, None)
        raise
    partition.surroundings.log_moved(partition)  # the cut must be durable before anything is appended
    _set_watermark(partition, min(partition.high_watermark, log.end_offset))


def cut_damage(partition: Partition) -> None:
    """What follows the first damage counts nowhere any more: the segment that it is in goes, and all after it.

    All of a log that is or was compacted: with its leader's records behind ours, a record could come back that a
    tombstone had deleted, because the tombstone is gone there by now, and the record still here. And all of it goes
    where there is more damage before that. Raises `KafkaStorageError`; nothing was cut then for lack of a descriptor.
    """
    log = partition.log
    first = next((each for each in log.segments if each.end_offset > log.damages.start_offset), None)
    try:
        if first is None or log.may_have_gaps:
            restart_at(partition, log.start_offset)
        else:
            log.truncate(first.base_offset, at_once=True)
    except UNREADABLE as error:
        if lacked_descriptors(error):
            raise  # which says nothing of what is before that
        logger.warning("%s is damaged before that, too: %s", partition.name, error)
        restart_at(partition, log.start_offset)
    _set_watermark(partition, min(partition.high_watermark, log.end_offset))
    partition.tell_changed()


def restart_at(partition: Partition, offset: int) -> None:
    """The leader no longer has what this log would need next: start anew at the leader's log start."""
    partition.log.reset(offset, wall_ms=partition.surroundings.wall_ms())
    partition.surroundings.log_moved(partition)
    _set_watermark(partition, offset)


def _set_watermark(partition: Partition, offset: int) -> None:
    """Also in its file: to the next start, what that says beyond the log's end was committed, and is missing."""
    partition.high_watermark = offset
    partition.surroundings.watermark_moved(partition)


def replicate(partition: Partition, records: Buffer, leader_epoch: int, *, may_have_gaps: bool = False) -> bool:
    """Append what the leader of `leader_epoch` sent. False: nothing of it could be appended.

    `may_have_gaps`: it says that offsets may be missing, because its log is or was compacted; then this one's may,
    too, from now on, whatever the topic's policy is by now.
    A batch of a later epoch than the leader's is left out, with all that follows (KAFKA-18723). Raises
    `CorruptRecordError` or `InvalidRecordError` for damaged batches, and `KafkaStorageError`.
    """
    if may_have_gaps:
        partition.log.allow_gaps()
    if (base_offset := _base_of_first_batch(partition, records)) is not None:
        restart_at(partition, base_offset)
    wall_ms = partition.surroundings.wall_ms()
    appended = partition.log.append_replicated(records, leader_epoch=leader_epoch, wall_ms=wall_ms)
    if partition.log.needs_flush:
        partition.surroundings.log_moved(partition)
    return appended.end_offset > appended.base_offset


def _base_of_first_batch(partition: Partition, records: Buffer) -> int | None:
    """Where an empty log has to begin for a first batch that begins earlier; None where it need not.

    A leader's log may start inside a batch, because of DeleteRecords, and it sends whole batches: the log has to
    begin with that batch, and takes over the leader's start afterwards (KAFKA-6975).
    """
    if partition.log.start_offset != partition.log.end_offset:
        return None
    for _, first in iterate_headers(memoryview(records)):
        return first.base_offset if first.base_offset < partition.log.end_offset < first.end_offset else None
    return None


def believe(partition: Partition, leader_watermark: int, leader_log_start: int) -> None:
    """Take over the leader's high watermark, as far as this log reaches, and its log start."""
    advanced = follower_watermark(leader_watermark, partition.log.end_offset)
    if advanced != partition.high_watermark:
        partition.high_watermark = advanced
        partition.log.stable_end(advanced)  # markers that are committed need not be remembered
        partition.surroundings.watermark_moved(partition)
        for watcher in partition.watchers:
            watcher.watermark_moved()
    if partition.log.start_offset < leader_log_start <= partition.log.end_offset:
        partition.log.delete_records(leader_log_start)
        partition.surroundings.log_moved(partition)  # the leader hears of it once it is durable
