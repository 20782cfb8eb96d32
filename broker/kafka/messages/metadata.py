"""Metadata (key 3), versions 0–13: the messages."""

from broker.kafka.authorized import NOT_ASKED
from broker.kafka.schema import Boolean, Int16, Int32, NullableString, String, Structure, Uuid, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 13, 9


@structure
class AskedTopic(Structure):
    topic_id: Uuid = wire(since=10, default=None)
    name: NullableString = wire(nullable_since=10)


@structure
class MetadataRequest(Structure):
    topics: tuple[AskedTopic, ...] | None = wire(nullable_since=1)
    """None: all of them. So says an empty list in version 0."""
    allow_auto_topic_creation: Boolean = wire(since=4, default=True)
    include_cluster_authorized_operations: Boolean = wire(since=8, end=11, default=False)
    include_topic_authorized_operations: Boolean = wire(since=8, default=False)


@structure
class KnownBroker(Structure):
    broker_id: Int32
    host: String
    port: Int32
    rack: NullableString = wire(since=1, default=None)


@structure
class KnownPartition(Structure):
    error: Int16
    partition: Int32
    leader: Int32  # -1: none
    leader_epoch: Int32 = wire(since=7, default=-1)
    replicas: tuple[Int32, ...]
    isr: tuple[Int32, ...]
    offline_replicas: tuple[Int32, ...] = wire(since=5, default=())


@structure
class KnownTopic(Structure):
    error: Int16
    name: NullableString = wire(nullable_since=12)
    topic_id: Uuid = wire(since=10, default=None)
    is_internal: Boolean = wire(since=1, default=False)
    partitions: tuple[KnownPartition, ...]
    authorized_operations: Int32 = wire(since=8, default=NOT_ASKED)


@structure
class MetadataResponse(Structure):
    throttle_ms: Int32 = wire(since=3, default=0)
    brokers: tuple[KnownBroker, ...]
    cluster_id: NullableString = wire(since=2, default=None)
    controller_id: Int32 = wire(since=1, default=-1)
    topics: tuple[KnownTopic, ...]
    cluster_authorized_operations: Int32 = wire(since=8, end=11, default=NOT_ASKED)
    error: Int16 = wire(since=13, default=0)
