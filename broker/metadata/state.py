"""What the metadata says about one partition, one topic, one broker: immutable values, the parts of an image."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from broker.metadata.records import NO_LEADER, PartitionChangeRecord, PartitionRecord, RegisterBrokerRecord


class PartitionKey(NamedTuple):
    """What a partition is called inside the cluster: a name that was deleted and made anew is another topic."""

    topic_id: UUID
    partition: int


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One partition."""

    replicas: tuple[int, ...]  # the preferred leader first; no repetition
    isr: tuple[int, ...]  # ⊆ replicas; empty only if the last member lost its disk
    leader: int  # ∈ isr, or NO_LEADER
    leader_epoch: int  # rises with every election
    partition_epoch: int  # rises with every change
    adding_replicas: tuple[int, ...] = ()  # ⊆ replicas, none is original: they join by a reassignment (KIP-455)
    removing_replicas: tuple[int, ...] = ()  # ⊆ original_replicas: they go when the reassignment is complete
    recovering: bool = False
    eligible_replicas: tuple[int, ...] = ()  # ELR (KIP-966): ⊆ replicas, not in the ISR, have all that is committed
    last_known_elr: tuple[int, ...] = ()  # whom an unclean election asks first, where nobody is eligible
    original_replicas: tuple[int, ...] = ()  # what a cancelled reassignment goes back to; (): none is under way

    @property
    def is_reassigning(self) -> bool:
        return bool(self.original_replicas)

    @property
    def target_replicas(self) -> tuple[int, ...]:
        """The replicas once the reassignment is complete; the present ones where none is under way."""
        return tuple(broker_id for broker_id in self.replicas if broker_id not in self.removing_replicas)

    @property
    def replication_factor(self) -> int:
        """How many replicas the partition is meant to have now: those that are being added do not count yet."""
        return len(self.replicas) - len(self.adding_replicas)

    @property
    def preferred_leader(self) -> int:
        return self.replicas[0]

    @property
    def has_leader(self) -> bool:
        return self.leader != NO_LEADER

    def changed(self, change: PartitionChangeRecord) -> "PartitionState":
        """The state after `change`: its partition epoch is one higher, its leader epoch too where a leader is given."""
        return PartitionState(
            replicas=self.replicas if change.replicas is None else change.replicas,
            isr=self.isr if change.isr is None else change.isr,
            leader=self.leader if change.leader is None else change.leader,
            leader_epoch=self.leader_epoch + (change.leader is not None),
            partition_epoch=self.partition_epoch + 1,
            adding_replicas=self.adding_replicas if change.adding_replicas is None else change.adding_replicas,
            removing_replicas=self.removing_replicas if change.removing_replicas is None else change.removing_replicas,
            recovering=self.recovering if change.recovering is None else change.recovering,
            eligible_replicas=(
                self.eligible_replicas if change.eligible_replicas is None else change.eligible_replicas
            ),
            last_known_elr=self.last_known_elr if change.last_known_elr is None else change.last_known_elr,
            original_replicas=(
                self.original_replicas if change.original_replicas is None else change.original_replicas
            ),
        )

    def record(self, topic_id: UUID, partition: int) -> PartitionRecord:
        """This state as the record that creates it."""
        return PartitionRecord(
            topic_id,
            partition,
            self.replicas,
            self.isr,
            self.leader,
            self.leader_epoch,
            self.partition_epoch,
            self.adding_replicas,
            self.removing_replicas,
            self.recovering,
            self.eligible_replicas,
            self.last_known_elr,
            self.original_replicas,
        )


def partition_state(record: PartitionRecord) -> PartitionState:
    """The state that `record` creates."""
    return PartitionState(
        record.replicas,
        record.isr,
        record.leader,
        record.leader_epoch,
        record.partition_epoch,
        record.adding_replicas,
        record.removing_replicas,
        record.recovering,
        record.eligible_replicas,
        record.last_known_elr,
        record.original_replicas,
    )


class Standing(IntEnum):
    """What a broker says of one of its replicas."""

    ONLINE = 0  # it can be served again
    OFFLINE = 1  # it is there, but its log directory failed, or the log is damaged (KIP-112)
    LOST = 2  # it was there, and its records are gone; the broker may begin it anew, empty
    DAMAGED = 3  # some of its records cannot be read any more; it may lead as the last resort only


@dataclass(frozen=True, slots=True)
class TopicImage:
    """One topic. `partitions[i]` is partition i."""

    name: str
    topic_id: UUID
    partitions: tuple[PartitionState, ...]


@dataclass(frozen=True, slots=True)
class BrokerImage:
    """One registered broker. It takes part (leads, is in ISRs) while it is neither fenced nor shutting down."""

    registration: RegisterBrokerRecord
    epoch: int  # offset of the registration's record (KIP-631)
    fenced: bool
    in_controlled_shutdown: bool
    offline: Mapping[UUID, tuple[int, ...]] = field(default_factory=dict)
    """Partitions that it holds and cannot serve, by topic: their log directory failed. No tuple is empty."""

    def serves(self, topic_id: UUID, partition: int) -> bool:
        """Whether its replica of the partition, if it has one, is not offline."""
        return partition not in self.offline.get(topic_id, ())

    @property
    def is_active(self) -> bool:
        return not self.fenced and not self.in_controlled_shutdown
