"""How the replicas here stand: snapshots for health checks and metrics."""

from dataclasses import dataclass
from uuid import UUID

from broker.replication.leader import Leadership
from broker.replication.partition import Partition
from broker.replication.watermark import UNKNOWN_OFFSET
from log_store.log import Log


@dataclass(frozen=True, slots=True)
class PartitionHealth:
    """One replica, as this broker sees it."""

    topic: str
    topic_id: UUID
    partition: int
    leader: int  # -1: nobody
    leader_epoch: int
    is_leader: bool  # this broker
    is_offline: bool
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    min_isr: int
    log_start_offset: int
    log_end_offset: int
    high_watermark: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ReplicaProgress:
    """How far a replica is that a reassignment adds, as its leader sees it."""

    broker_id: int
    end_offset: int  # durable there, exclusive; -1: it has not asked yet
    offset_lag: int
    bytes_lag: int  # as far as whole segments tell
    in_sync: bool


def progress_of(partition: Partition, leadership: Leadership) -> list[ReplicaProgress]:
    """The replicas that are being added to a partition led here."""
    log = partition.log
    progress = []
    for broker_id in leadership.adding:
        follower = leadership.followers.get(broker_id)
        end_offset = UNKNOWN_OFFSET if follower is None else follower.end_offset
        reached = min(max(end_offset, log.start_offset), log.end_offset)
        lag, in_sync = log.end_offset - reached, broker_id in leadership.in_sync.committed
        progress.append(ReplicaProgress(broker_id, end_offset, lag, _bytes_after(log, reached), in_sync))
    return progress


def _bytes_after(log: Log, offset: int) -> int:
    """What lies from `offset` on: whole segments as they are, of the one that holds it a share by offsets."""
    size_bytes = 0
    ends = [*[segment.base_offset for segment in log.segments[1:]], log.end_offset]
    for segment, end_offset in zip(log.segments, ends, strict=True):
        span = end_offset - segment.base_offset
        if span > 0 and end_offset > offset:
            size_bytes += segment.size_bytes * (end_offset - max(offset, segment.base_offset)) // span
    return size_bytes


def health_of(partition: Partition) -> PartitionHealth:
    state, log, leadership = partition.state, partition.log, partition.leadership
    return PartitionHealth(
        topic=partition.topic,
        topic_id=partition.key.topic_id,
        partition=partition.key.partition,
        leader=state.leader,
        leader_epoch=state.leader_epoch,
        is_leader=leadership is not None,
        is_offline=partition.is_offline,
        replicas=state.replicas,
        isr=state.isr if leadership is None else leadership.in_sync.committed,
        min_isr=partition.min_isr,
        log_start_offset=log.start_offset,
        log_end_offset=log.end_offset,
        high_watermark=partition.high_watermark,
        size_bytes=log.size_bytes,
    )
