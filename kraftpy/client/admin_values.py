"""What an admin is told and tells: topics, settings, the cluster and its quorum as values."""

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from kraftpy.errors import InvalidVoterKeyError

TOPIC = 2  # resource types, as Kafka numbers them
BROKER = 4


@dataclass(frozen=True, slots=True)
class NewTopic:
    """A topic to create. None takes the cluster's default; `assignment` (replicas of each partition) replaces both."""

    name: str
    partitions: int | None = None
    replication_factor: int | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    assignment: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CreatedTopic:
    """A topic as it was created. `warnings` are sentences about settings that may not do what was meant."""

    name: str
    topic_id: str
    partitions: int
    replication_factor: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TopicListing:
    """A topic in a list."""

    name: str
    topic_id: str
    internal: bool
    partitions: int
    replication_factor: int


@dataclass(frozen=True, slots=True)
class PartitionDescription:
    """One partition. `leader` is -1 where nobody leads; the preferred leader is the first replica."""

    partition: int
    leader: int
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline_replicas: tuple[int, ...]
    adding_replicas: tuple[int, ...] = ()  # a reassignment (KIP-455) brings them
    removing_replicas: tuple[int, ...] = ()  # they go when it is complete
    eligible_replicas: tuple[int, ...] = ()  # out of sync, and may lead all the same (ELR, KIP-966)
    last_known_elr: tuple[int, ...] = ()  # whom an unclean election asks first

    @property
    def is_under_replicated(self) -> bool:
        """Replicas that are being added do not count yet."""
        return len(self.isr) < len(self.replicas) - len(self.adding_replicas)


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic with its partitions, in order."""

    name: str
    topic_id: str
    internal: bool
    partitions: tuple[PartitionDescription, ...]

    @property
    def replication_factor(self) -> int:
        return max((len(partition.replicas) for partition in self.partitions), default=0)


class ConfigResource(NamedTuple):
    """Whose settings: `ConfigResource.topic("lines")`, `ConfigResource.broker(1)`, `.broker()` for all brokers."""

    type: int
    name: str

    @classmethod
    def topic(cls, name: str) -> "ConfigResource":
        return cls(TOPIC, name)

    @classmethod
    def broker(cls, node_id: int | None = None) -> "ConfigResource":
        return cls(BROKER, "" if node_id is None else str(node_id))


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One setting. `source`: default, static, dynamic-default, dynamic-broker or dynamic-topic."""

    name: str
    value: str | None
    source: str
    read_only: bool
    documentation: str

    @property
    def is_default(self) -> bool:
        return self.source == "default"


@dataclass(frozen=True, slots=True)
class NodeDescription:
    """One broker. `host` and `port` take calls (gRPC), `listener_*` frames; a fenced broker is not in service."""

    node_id: int
    host: str
    port: int
    rack: str | None
    fenced: bool
    listener_host: str
    listener_port: int
    host_label: str = ""  # the physical machine; "" where it is not known
    cordoned: bool = False  # it takes no new replicas: its `cordoned.log.dirs` is * (KIP-1066)


@dataclass(frozen=True, slots=True)
class ClusterDescription:
    """The cluster as one node sees it. `controller_id` is -1 where no leader of the quorum is known."""

    cluster_id: str
    controller_id: int
    brokers: tuple[NodeDescription, ...]
    features: Mapping[str, int]
    metadata_offset: int


@dataclass(frozen=True, slots=True)
class QuorumReplica:
    """A voter or observer as the quorum's leader sees it. Ages are milliseconds; None: never, or not known."""

    node_id: int
    directory_id: str
    host: str
    port: int
    log_end_offset: int | None
    last_fetch_age_ms: int | None
    last_caught_up_age_ms: int | None


@dataclass(frozen=True, slots=True)
class QuorumDescription:
    """The metadata quorum."""

    leader_id: int
    leader_epoch: int
    high_watermark: int
    voters: tuple[QuorumReplica, ...]
    observers: tuple[QuorumReplica, ...]

    def lag(self, replica: QuorumReplica) -> int | None:
        """How many records `replica` is behind the leader; None where its end is not known."""
        leader = next((voter for voter in self.voters if voter.node_id == self.leader_id), None)
        if leader is None or leader.log_end_offset is None or replica.log_end_offset is None:
            return None
        return max(leader.log_end_offset - replica.log_end_offset, 0)


class QuorumVoter(NamedTuple):
    """A voter of the quorum: a node on a directory, and where it takes calls."""

    node_id: int
    directory_id: str
    host: str
    port: int


class FeatureChange(NamedTuple):
    """A finalized level that rises. `old_level` 0: the feature was not finalized."""

    name: str
    old_level: int
    new_level: int


@dataclass(frozen=True, slots=True)
class NodeFeatures:
    """What one node's software can work with: by feature the lowest and the highest level.

    `release` is "" where nobody knows it: the node registered before metadata.version 2, or is a silent controller.
    """

    node_id: int
    in_service: bool
    is_voter: bool
    release: str
    supported: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class FeaturesDescription:
    """The finalized levels, and what each node supports (brokers, and voters that are none)."""

    finalized: Mapping[str, int]
    nodes: tuple[NodeFeatures, ...]

    def highest_common(self, name: str) -> int:
        """The highest level of a feature that every node supports; 0: some node does not know it."""
        return min((node.supported.get(name, (0, 0))[1] for node in self.nodes), default=0)


@dataclass(frozen=True, slots=True)
class ElectionResult:
    """What became of one partition's election. `error` is Kafka's name; "" is none."""

    topic: str
    partition: int
    error: str
    message: str


@dataclass(frozen=True, slots=True)
class ReassignmentResult:
    """What became of one partition's reassignment, or of its cancellation. `error` is Kafka's name; "" is none."""

    topic: str
    partition: int
    error: str
    message: str


@dataclass(frozen=True, slots=True)
class ReplicaProgress:
    """How far a replica that is being added is, as its leader sees it. `end_offset` None: it has not asked yet."""

    node_id: int
    end_offset: int | None
    offset_lag: int
    bytes_lag: int
    in_sync: bool


@dataclass(frozen=True, slots=True)
class PartitionReassignment:
    """A move that is under way. `progress` is empty where the leader does not tell."""

    topic: str
    partition: int
    leader: int
    replicas: tuple[int, ...]
    adding_replicas: tuple[int, ...]
    removing_replicas: tuple[int, ...]
    original_replicas: tuple[int, ...]
    isr: tuple[int, ...]
    progress: tuple[ReplicaProgress, ...]

    @property
    def bytes_lag(self) -> int:
        """What is still to be copied, as far as it is known."""
        return sum(each.bytes_lag for each in self.progress)


@dataclass(frozen=True, slots=True)
class LogDirReplica:
    """A replica in a log directory. `offset_lag`: behind the high watermark; of a future replica (a copy that will
    replace the present one, in another directory of the same broker) behind the present one."""

    topic: str
    partition: int
    size_bytes: int
    offset_lag: int
    is_future: bool


@dataclass(frozen=True, slots=True)
class LogDirDescription:
    """One log directory of a broker. `error` is "" while it is well; sizes are of its file system, None: not known."""

    broker_id: int
    path: str
    directory_id: str
    error: str
    total_bytes: int | None
    usable_bytes: int | None
    replicas: tuple[LogDirReplica, ...]

    @property
    def size_bytes(self) -> int:
        """What the replicas in it take."""
        return sum(replica.size_bytes for replica in self.replicas)


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that a node tells of itself, under the name that Prometheus users know."""

    name: str
    value: float
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NodeMetrics:
    """What one node tells of itself. `problems` are sentences about what nobody else can see."""

    node_id: int
    metrics: tuple[Metric, ...]
    problems: tuple[str, ...]

    def value(self, name: str) -> float:
        """The number called `name`, over all labels. Raises `KeyError`."""
        found = [metric.value for metric in self.metrics if metric.name == name]
        if not found:
            raise KeyError(name)
        return sum(found)


@dataclass(frozen=True, slots=True)
class ClusterHealth:
    """The cluster's state in one look. `problems` holds a sentence each; none means healthy.

    The partition fields name partitions as `topic-partition`.
    """

    cluster_id: str
    controller_id: int
    brokers: int
    fenced_brokers: tuple[int, ...]
    partitions: int
    offline: tuple[str, ...]
    under_replicated: tuple[str, ...]
    under_min_isr: tuple[str, ...]
    at_min_isr: tuple[str, ...]
    not_preferred: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        return not self.problems


def directory_bytes(text: str | None) -> bytes:
    """A directory id as `shown_id` writes it, or as a UUID in hexadecimal; None is empty.

    Raises `InvalidVoterKeyError`.
    """
    if text is None:
        return b""
    try:
        raw = urlsafe_b64decode(text + "==") if len(text) == 22 else UUID(text).bytes
    except ValueError:
        raw = b""
    if len(raw) != 16:
        raise InvalidVoterKeyError(f"'{text}' is no directory id: `kraftpy quorum status -o json` shows them")
    return raw
