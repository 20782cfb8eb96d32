"""How the replicas here stand: snapshots for health checks and metrics."""

from dataclasses import dataclass
from uuid import UUID

from broker.replication.partition import Partition


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
    replication_factor: int  # without those that are being added
    isr: tuple[int, ...]
    min_isr: int
    log_start_offset: int
    log_end_offset: int
    high_watermark: int
    size_bytes: int

    @property
    def is_under_replicated(self) -> bool:
        """Judged by the leader, as Kafka's UnderReplicatedPartitions."""
        return self.is_leader and len(self.isr) < self.replication_factor

    @property
    def is_under_min_isr(self) -> bool:
        """Judged by the leader, as Kafka's UnderMinIsrPartitionCount: acks=all is refused."""
        return self.is_leader and len(self.isr) < min(self.min_isr, self.replication_factor)


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
        replication_factor=state.replication_factor,
        isr=state.isr if leadership is None else leadership.in_sync.committed,
        min_isr=partition.min_isr,
        log_start_offset=log.start_offset,
        log_end_offset=log.end_offset,
        high_watermark=partition.high_watermark,
        size_bytes=log.size_bytes,
    )
