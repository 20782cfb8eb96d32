"""What can be asked of the controller, and what it answers: plain values, one pair a request.

A refusal of the whole command is raised (a `KraftpyError`); a refusal of one of its items stands in that item's result.
`Command[R]` says by its type what the answer is, so `Controller.submit` is typed without a cast at the doors.

Every command may be sent again by a caller that got no answer: a second registration of one incarnation answers the
first one's epoch, a second creation says TOPIC_ALREADY_EXISTS, a second AlterPartition INVALID_UPDATE_VERSION.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from broker.metadata.features import NodeRelease
from broker.metadata.records import ConfigResource, RegisterBrokerRecord
from broker.metadata.state import PartitionState, Standing
from kraftpy.errors import KraftpyError

R = TypeVar("R")


class Command(Generic[R]):
    """A request whose answer is an `R`."""

    __slots__ = ()


# --- brokers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BrokerRegistered:
    broker_epoch: int


@dataclass(frozen=True, slots=True)
class RegisterBroker(Command[BrokerRegistered]):
    """A process introduces itself (KIP-631). It is fenced until it has caught up.

    DUPLICATE_BROKER_REGISTRATION: the id is taken by a live broker on another disk. UNSUPPORTED_VERSION: the broker
    does not know a finalized feature. INVALID_REGISTRATION: no endpoint. STALE_BROKER_EPOCH: `replaced_epoch` is not
    the present registration's: the broker lags behind the metadata, or this is a late message of an earlier life,
    which must not replace its successor.
    """

    registration: RegisterBrokerRecord  # its `fenced` is not looked at
    replaced_epoch: int = -1  # of the registration that it replaces, as far as the process knows; -1: none
    previous_broker_epoch: int = -1  # that a clean stop ended (KIP-966); -1: it was not clean, or is not known


@dataclass(frozen=True, slots=True)
class HeartbeatAnswer:
    is_fenced: bool
    should_shut_down: bool


@dataclass(frozen=True, slots=True)
class Heartbeat(Command[HeartbeatAnswer]):
    """A broker is alive. STALE_BROKER_EPOCH: of an earlier life. BROKER_ID_NOT_REGISTERED: register first."""

    broker_id: int
    broker_epoch: int
    metadata_end_offset: int  # applied up to here (exclusive)
    want_fence: bool = False
    want_shut_down: bool = False
    failed_log_directories: tuple[UUID, ...] = ()


class ReplicaReport(NamedTuple):
    topic_id: UUID
    partition: int
    standing: Standing


@dataclass(frozen=True, slots=True)
class ReportReplicas(Command[None]):
    """A broker tells which of its replicas it cannot serve, or can serve again. STALE_BROKER_EPOCH.

    It must say so before the heartbeat that unfences it: then nothing is elected that is not there. NOT_CONTROLLER and
    INVALID_REQUEST: it comes too late (`turns`).
    """

    broker_id: int
    broker_epoch: int
    replicas: tuple[ReplicaReport, ...]
    controller_epoch: int = 0  # 0: not told, and neither is `number`
    number: int = 0  # rises with every call of the broker epoch


@dataclass(frozen=True, slots=True)
class BrokerUnreachable(Command[None]):
    """A broker could not be reached. Not confirmed: a report, which leads to a probe. Confirmed: the probe's outcome.

    A report about another epoch than the registered one is of an earlier life and changes nothing.
    """

    broker_id: int
    broker_epoch: int
    confirmed: bool = False
    probed_at_ms: int | None = None  # when the probe began: a heartbeat since then outweighs it


@dataclass(frozen=True, slots=True)
class UnregisterBroker(Command[None]):
    """Forget a broker that will not come back. BROKER_ID_NOT_REGISTERED."""

    broker_id: int


@dataclass(frozen=True, slots=True)
class ProducerIdBlock:
    """Producer ids from `first_producer_id` on, `count` of them, for one broker to give away."""

    first_producer_id: int
    count: int


@dataclass(frozen=True, slots=True)
class AllocateProducerIds(Command[ProducerIdBlock]):
    broker_id: int
    broker_epoch: int


# --- partitions ------------------------------------------------------------------------------------------------------


class IsrMember(NamedTuple):
    """A replica as its leader saw it. The epoch is the one that it fetched with; -1 is unknown (KIP-903)."""

    broker_id: int
    broker_epoch: int


@dataclass(frozen=True, slots=True)
class IsrProposal:
    topic_id: UUID
    partition: int
    leader_epoch: int
    partition_epoch: int
    isr: tuple[IsrMember, ...]
    recovering: bool = False
    lacking: tuple[int, ...] = ()  # broker ids of those left out that lack something committed: not eligible (KIP-966)


@dataclass(frozen=True, slots=True)
class AlteredPartition:
    """`state` is the partition after the change; None with an error."""

    topic_id: UUID
    partition: int
    error: KraftpyError | None = None
    state: PartitionState | None = None


@dataclass(frozen=True, slots=True)
class PartitionsAltered:
    partitions: tuple[AlteredPartition, ...]


@dataclass(frozen=True, slots=True)
class AlterPartition(Command[PartitionsAltered]):
    """A leader proposes other in-sync sets (KIP-497). STALE_BROKER_EPOCH; NOT_CONTROLLER and INVALID_REQUEST as of
    `ReportReplicas`; the rest stands in the items."""

    broker_id: int
    broker_epoch: int
    partitions: tuple[IsrProposal, ...]
    controller_epoch: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class ElectedLeader:
    topic: str
    partition: int
    error: KraftpyError | None = None


@dataclass(frozen=True, slots=True)
class LeadersElected:
    partitions: tuple[ElectedLeader, ...]


@dataclass(frozen=True, slots=True)
class ElectLeaders(Command[LeadersElected]):
    """Elect preferred leaders (KIP-183), or with `unclean` any live replica (KIP-460), which may lose records.

    `partitions` None: every partition that needs it. Items: ELECTION_NOT_NEEDED, PREFERRED_LEADER_NOT_AVAILABLE,
    ELIGIBLE_LEADERS_NOT_AVAILABLE, UNKNOWN_TOPIC_OR_PARTITION.
    """

    partitions: tuple[tuple[str, int], ...] | None
    unclean: bool = False


@dataclass(frozen=True, slots=True)
class Reassignment:
    """Where a partition's replicas are to be, the preferred leader first; None: where they were before."""

    topic: str
    partition: int
    replicas: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class AlteredReassignment:
    topic: str
    partition: int
    error: KraftpyError | None = None


@dataclass(frozen=True, slots=True)
class ReassignmentsAltered:
    """In the order of the request."""

    partitions: tuple[AlteredReassignment, ...]


@dataclass(frozen=True, slots=True)
class AlterPartitionReassignments(Command[ReassignmentsAltered]):
    """Begin to move partitions, or cancel moves (KIP-455). Each item stands or falls alone.

    UNSUPPORTED_VERSION: below the metadata.version that has words for it.
    Items: UNKNOWN_TOPIC_OR_PARTITION, INVALID_REPLICA_ASSIGNMENT, NO_REASSIGNMENT_IN_PROGRESS (a cancellation),
    INVALID_REPLICATION_FACTOR (with `keep_replication_factor`, KIP-860).
    """

    partitions: tuple[Reassignment, ...]
    keep_replication_factor: bool = False


# --- topics ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewTopic:
    name: str
    partitions: int = -1  # -1: the cluster's default
    replication_factor: int = -1  # -1: the cluster's default
    config: Mapping[str, str] = field(default_factory=dict)
    assignment: tuple[tuple[int, ...], ...] = ()  # replicas of partition 0, 1, …; instead of the two numbers


@dataclass(frozen=True, slots=True)
class TopicResult:
    name: str
    error: KraftpyError | None = None
    topic_id: UUID | None = None
    partitions: int = 0
    replication_factor: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TopicResults:
    """In the order of the request."""

    topics: tuple[TopicResult, ...]


@dataclass(frozen=True, slots=True)
class CreateTopics(Command[TopicResults]):
    topics: tuple[NewTopic, ...]
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class DeleteTopics(Command[TopicResults]):
    """By name or by id. TOPIC_DELETION_DISABLED for the whole where delete.topic.enable is false."""

    topics: tuple[str | UUID, ...]


@dataclass(frozen=True, slots=True)
class NewPartitions:
    name: str
    total: int  # after the change
    assignment: tuple[tuple[int, ...], ...] = ()  # of the new ones


@dataclass(frozen=True, slots=True)
class CreatePartitions(Command[TopicResults]):
    topics: tuple[NewPartitions, ...]
    validate_only: bool = False


# --- settings --------------------------------------------------------------------------------------------------------


class Operation(IntEnum):
    """What to do with a setting, with Kafka's numbers (KIP-339)."""

    SET = 0
    DELETE = 1
    APPEND = 2  # to a list
    SUBTRACT = 3  # from a list


class ConfigChange(NamedTuple):
    name: str
    operation: Operation
    value: str | None = None


@dataclass(frozen=True, slots=True)
class ConfigAlteration:
    resource: ConfigResource
    changes: tuple[ConfigChange, ...]
    replace: bool = False  # what is not named is unset


@dataclass(frozen=True, slots=True)
class AlteredConfig:
    resource: ConfigResource
    error: KraftpyError | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigsAltered:
    resources: tuple[AlteredConfig, ...]


@dataclass(frozen=True, slots=True)
class AlterConfigs(Command[ConfigsAltered]):
    """Incremental (KIP-339): what is not named stays. All or nothing for each resource."""

    resources: tuple[ConfigAlteration, ...]
    validate_only: bool = False


# --- features --------------------------------------------------------------------------------------------------------


class FeatureChange(NamedTuple):
    name: str
    old_level: int  # 0: it was not finalized
    new_level: int


@dataclass(frozen=True, slots=True)
class FeaturesUpdated:
    changes: tuple[FeatureChange, ...]  # those that change anything


@dataclass(frozen=True, slots=True)
class UpdateFeatures(Command[FeaturesUpdated]):
    """Raise finalized levels (KIP-584), all or nothing; no `levels`: each as far as every node supports it.

    INVALID_UPDATE_VERSION: a level that some node does not know, or one that is lower than the present one.
    FEATURE_UPDATE_FAILED: it cannot be told whether all voters know it.
    """

    levels: Mapping[str, int]
    voters: tuple[NodeRelease, ...] = ()  # of the voters that are no brokers, by their own word
    silent_voters: tuple[int, ...] = ()  # those of them that did not answer
    validate_only: bool = False
