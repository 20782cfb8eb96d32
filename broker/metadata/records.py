"""The metadata records: what the quorum's log says about brokers, topics, partitions and settings.

The state of the cluster is what these records, replayed in order, build (`broker.metadata.image`). They are plain
values; `broker.metadata.codec` is the only place that knows how they look as bytes (`proto/kraftpy/pb/metadata.proto`).

Invariants: a record says everything that a replay needs besides the image before it and its offset. A broker's epoch is
the offset at which its `RegisterBrokerRecord` stands (KIP-631), so it is in no record that creates it.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple
from uuid import UUID

NO_LEADER = -1
"""The leader of a partition that nobody leads."""


class ResourceType(IntEnum):
    """What a setting belongs to, with Kafka's numbers (ConfigResource.Type)."""

    TOPIC = 2
    BROKER = 4


class ConfigResource(NamedTuple):
    """`name` is a topic's name or a broker's id in digits; "" with BROKER: the default of all brokers."""

    type: ResourceType
    name: str


DEFAULT_BROKER = ConfigResource(ResourceType.BROKER, "")


def topic_resource(name: str) -> ConfigResource:
    return ConfigResource(ResourceType.TOPIC, name)


def broker_resource(broker_id: int) -> ConfigResource:
    return ConfigResource(ResourceType.BROKER, str(broker_id))


GRPC_LISTENER: Final = "GRPC"
"""The name of the listener that takes calls; the others speak Kafka's protocol."""


class Endpoint(NamedTuple):
    """Where a broker can be reached."""

    name: str
    host: str
    port: int
    security_protocol: str = "PLAINTEXT"


class SupportedFeature(NamedTuple):
    """The levels of one feature that a broker can work with; both ends belong to the range."""

    name: str
    min_level: int
    max_level: int


@dataclass(frozen=True, slots=True)
class FeatureLevelRecord:
    """Finalizes a feature at a level; 0 removes it."""

    name: str
    level: int


@dataclass(frozen=True, slots=True)
class RegisterBrokerRecord:
    """A new life of a broker. It replaces the registration before it."""

    broker_id: int
    incarnation_id: UUID  # of this process
    directory_id: UUID  # of the disk that holds the metadata
    endpoints: tuple[Endpoint, ...]
    rack: str | None = None
    host_label: str = ""  # the physical machine; "" is unknown
    fenced: bool = True
    features: tuple[SupportedFeature, ...] = ()  # by name
    log_directory_ids: tuple[UUID, ...] = ()
    release: str = ""  # of the node's software; since metadata.version 2

    def endpoint(self, listener: str) -> Endpoint | None:
        """Where that listener can be reached."""
        return next((each for each in self.endpoints if each.name == listener), None)

    def framed_endpoint(self, listener: str) -> Endpoint | None:
        """Where the broker speaks Kafka's protocol; `listener` empty: on the first such listener."""
        framed = (each for each in self.endpoints if each.name != GRPC_LISTENER)
        return next((each for each in framed if listener in ("", each.name)), None)


@dataclass(frozen=True, slots=True)
class UnregisterBrokerRecord:
    broker_id: int
    broker_epoch: int


@dataclass(frozen=True, slots=True)
class BrokerChangeRecord:
    """None leaves a field as it is."""

    broker_id: int
    broker_epoch: int
    fenced: bool | None = None
    in_controlled_shutdown: bool | None = None


@dataclass(frozen=True, slots=True)
class OfflineReplicasRecord:
    """Which partitions of a topic a broker cannot serve in this life (KIP-112); none: all that it holds.

    It replaces what was said of the topic before. A new registration begins with none.
    """

    broker_id: int
    broker_epoch: int
    topic_id: UUID
    partitions: tuple[int, ...]  # sorted


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """Creates a topic; its `PartitionRecord`s follow in the same batch, 0 first."""

    name: str
    topic_id: UUID


@dataclass(frozen=True, slots=True)
class RemoveTopicRecord:
    """Removes a topic, its partitions and its settings."""

    topic_id: UUID


@dataclass(frozen=True, slots=True)
class PartitionRecord:
    """A partition in full: when it is created, and in snapshots."""

    topic_id: UUID
    partition: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int  # NO_LEADER: none
    leader_epoch: int
    partition_epoch: int
    adding_replicas: tuple[int, ...] = ()
    removing_replicas: tuple[int, ...] = ()
    recovering: bool = False  # an unclean election has not been settled yet
    eligible_replicas: tuple[int, ...] = ()  # KIP-966's ELR
    last_known_elr: tuple[int, ...] = ()
    original_replicas: tuple[int, ...] = ()  # before the reassignment that is under way; (): none is


@dataclass(frozen=True, slots=True)
class PartitionChangeRecord:
    """What changed in a partition; None is unchanged.

    Every change raises the partition epoch by one. A `leader` that is given, even the same one or none, raises the
    leader epoch by one as well.
    """

    topic_id: UUID
    partition: int
    leader: int | None = None
    isr: tuple[int, ...] | None = None
    replicas: tuple[int, ...] | None = None
    adding_replicas: tuple[int, ...] | None = None
    removing_replicas: tuple[int, ...] | None = None
    recovering: bool | None = None
    eligible_replicas: tuple[int, ...] | None = None
    last_known_elr: tuple[int, ...] | None = None
    original_replicas: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class ConfigRecord:
    """Sets one setting; a value of None unsets it."""

    resource: ConfigResource
    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class ProducerIdsRecord:
    """Every producer id below `next_producer_id` is given away."""

    next_producer_id: int


MetadataRecord = (
    FeatureLevelRecord
    | RegisterBrokerRecord
    | UnregisterBrokerRecord
    | BrokerChangeRecord
    | OfflineReplicasRecord
    | TopicRecord
    | RemoveTopicRecord
    | PartitionRecord
    | PartitionChangeRecord
    | ConfigRecord
    | ProducerIdsRecord
)
