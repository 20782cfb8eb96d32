"""Metadata records as bytes: one protobuf message a record, the value of one record of a batch.

Every record type has a version of its own. What this node does not know (a newer version, another type) it refuses by
`UnsupportedMetadataError`, which says which: to skip it would mean to go on with another state than the rest of the
quorum. A node that meets one must stop applying until it is upgraded; `metadata.version` keeps that from happening in a
cluster of neighbouring versions.

Invariant: `decode(encode(record)) == record`. The reverse does not hold: maps may come in any order.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, assert_never
from uuid import UUID

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from broker.metadata.records import (
    BrokerChangeRecord,
    ConfigRecord,
    ConfigResource,
    Endpoint,
    FeatureLevelRecord,
    MetadataRecord,
    OfflineReplicasRecord,
    PartitionChangeRecord,
    PartitionRecord,
    ProducerIdsRecord,
    RegisterBrokerRecord,
    RemoveTopicRecord,
    ResourceType,
    SupportedFeature,
    TopicRecord,
    UnregisterBrokerRecord,
)
from kraftpy.errors import CorruptRecordError, UnsupportedVersionError
from kraftpy.pb import metadata_pb2

VERSIONS = {
    "feature_level": 1,
    "register_broker": 2,
    "unregister_broker": 1,
    "broker_change": 1,
    "topic": 1,
    "remove_topic": 1,
    "partition": 2,
    "partition_change": 2,
    "config": 1,
    "producer_ids": 1,
    "offline_replicas": 1,
}
"""The newest version of each type that this release reads. The first version is 1."""


class UnsupportedMetadataError(UnsupportedVersionError):
    """The quorum's log holds a record that this release does not know; upgrade this node."""


def encode(record: MetadataRecord) -> bytes:
    """The bytes of one record, in the oldest version that says all of it.

    So nothing is written that an older release cannot read before the controller has put something newer into a record,
    and that waits for `metadata.version`.
    """
    kind, message = message_of(record)
    return metadata_pb2.MetadataRecord(version=_version_of(record), **{kind: message}).SerializeToString()


def _version_of(record: MetadataRecord) -> int:
    """The oldest version that says all of the record."""
    match record:
        case RegisterBrokerRecord():
            return 2 if record.release else 1
        case PartitionRecord():
            return 2 if record.original_replicas else 1
        case PartitionChangeRecord():
            return 1 if record.original_replicas is None else 2
        case (
            FeatureLevelRecord()
            | UnregisterBrokerRecord()
            | BrokerChangeRecord()
            | OfflineReplicasRecord()
            | TopicRecord()
            | RemoveTopicRecord()
            | ConfigRecord()
            | ProducerIdsRecord()
        ):
            return 1
        case _:
            assert_never(record)


def decode(data: bytes) -> MetadataRecord:
    """The record in `data`.

    Raises `UnsupportedMetadataError` for a type or version of a newer release, `CorruptRecordError` for bytes that are
    no record at all.
    """
    try:
        message = metadata_pb2.MetadataRecord.FromString(data)
    except DecodeError as error:
        raise CorruptRecordError(f"a metadata record of {len(data)} bytes is not a message: {error}") from error
    kind = message.WhichOneof("record")
    if kind is None:
        raise _unknown_type(message)
    if message.version > VERSIONS[kind]:
        raise UnsupportedMetadataError(
            f"metadata record {kind} has version {message.version}, this node knows up to {VERSIONS[kind]}: upgrade it"
        )
    if message.version < 1:
        raise CorruptRecordError(f"metadata record {kind} has version {message.version}; the first one is 1")
    try:
        return _READERS[kind](getattr(message, kind))
    except ValueError as error:
        raise CorruptRecordError(f"metadata record {kind} holds a value that cannot be: {error}") from error


def encode_batch(records: Iterable[MetadataRecord]) -> list[bytes]:
    """The values of one batch, in order."""
    return [encode(record) for record in records]


def decode_batch(values: Iterable[bytes]) -> list[MetadataRecord]:
    """The records of one batch, in order. Raises as `decode` does."""
    return [decode(value) for value in values]


def _unknown_type(message: metadata_pb2.MetadataRecord) -> Exception:
    fields = UnknownFieldSet(message)
    numbers = [fields[index].field_number for index in range(len(fields))]
    if not numbers:
        return CorruptRecordError("a metadata record says nothing")
    listed = ", ".join(str(number) for number in numbers)
    return UnsupportedMetadataError(
        f"a metadata record is of the unknown type {listed} (version {message.version}): upgrade this node"
    )


# --- registrations, shared with the Control service ------------------------------------------------------------------


def registration_to_message(record: RegisterBrokerRecord) -> metadata_pb2.RegisterBrokerRecord:
    message = metadata_pb2.RegisterBrokerRecord(
        broker_id=record.broker_id,
        incarnation_id=record.incarnation_id.bytes,
        directory_id=record.directory_id.bytes,
        endpoints=[
            metadata_pb2.Endpoint(
                name=endpoint.name,
                host=endpoint.host,
                port=endpoint.port,
                security_protocol=endpoint.security_protocol,
            )
            for endpoint in record.endpoints
        ],
        rack=record.rack,
        host_label=record.host_label,
        fenced=record.fenced,
        log_directory_ids=[directory_id.bytes for directory_id in record.log_directory_ids],
        release=record.release,
    )
    for feature in record.features:
        message.features[feature.name].min_level = feature.min_level
        message.features[feature.name].max_level = feature.max_level
    return message


def registration_from_message(message: metadata_pb2.RegisterBrokerRecord) -> RegisterBrokerRecord:
    """Raises `ValueError` where an id has not 16 bytes."""
    return RegisterBrokerRecord(
        broker_id=message.broker_id,
        incarnation_id=UUID(bytes=message.incarnation_id),
        directory_id=UUID(bytes=message.directory_id),
        endpoints=tuple(
            Endpoint(endpoint.name, endpoint.host, endpoint.port, endpoint.security_protocol)
            for endpoint in message.endpoints
        ),
        rack=message.rack if message.HasField("rack") else None,
        host_label=message.host_label,
        fenced=message.fenced,
        features=tuple(
            SupportedFeature(name, message.features[name].min_level, message.features[name].max_level)
            for name in sorted(message.features)
        ),
        log_directory_ids=tuple(UUID(bytes=directory_id) for directory_id in message.log_directory_ids),
        release=message.release,
    )


# --- record to message -----------------------------------------------------------------------------------------------


def message_of(record: MetadataRecord) -> tuple[str, Any]:
    """The name of the record's field in `MetadataRecord`, and its message."""
    match record:
        case PartitionChangeRecord():
            return "partition_change", _partition_change(record)
        case PartitionRecord():
            return "partition", _partition(record)
        case ConfigRecord(resource, name, value):
            return "config", metadata_pb2.ConfigRecord(
                resource_type=resource.type, resource_name=resource.name, name=name, value=value
            )
        case TopicRecord(name, topic_id):
            return "topic", metadata_pb2.TopicRecord(name=name, topic_id=topic_id.bytes)
        case RemoveTopicRecord(topic_id):
            return "remove_topic", metadata_pb2.RemoveTopicRecord(topic_id=topic_id.bytes)
        case ProducerIdsRecord(next_producer_id):
            return "producer_ids", metadata_pb2.ProducerIdsRecord(next_producer_id=next_producer_id)
        case BrokerChangeRecord(broker_id, broker_epoch, fenced, in_controlled_shutdown):
            return "broker_change", metadata_pb2.BrokerChangeRecord(
                broker_id=broker_id,
                broker_epoch=broker_epoch,
                fenced=fenced,
                in_controlled_shutdown=in_controlled_shutdown,
            )
        case OfflineReplicasRecord(broker_id, broker_epoch, topic_id, partitions):
            return "offline_replicas", metadata_pb2.OfflineReplicasRecord(
                broker_id=broker_id, broker_epoch=broker_epoch, topic_id=topic_id.bytes, partitions=partitions
            )
        case RegisterBrokerRecord():
            return "register_broker", registration_to_message(record)
        case UnregisterBrokerRecord(broker_id, broker_epoch):
            return "unregister_broker", metadata_pb2.UnregisterBrokerRecord(
                broker_id=broker_id, broker_epoch=broker_epoch
            )
        case FeatureLevelRecord(name, level):
            return "feature_level", metadata_pb2.FeatureLevelRecord(name=name, level=level)


def _partition(record: PartitionRecord) -> metadata_pb2.PartitionRecord:
    return metadata_pb2.PartitionRecord(
        topic_id=record.topic_id.bytes,
        partition=record.partition,
        replicas=record.replicas,
        isr=record.isr,
        leader=record.leader,
        leader_epoch=record.leader_epoch,
        partition_epoch=record.partition_epoch,
        adding_replicas=record.adding_replicas,
        removing_replicas=record.removing_replicas,
        recovering=record.recovering,
        eligible_replicas=record.eligible_replicas,
        last_known_elr=record.last_known_elr,
        original_replicas=record.original_replicas,
    )


def _partition_change(record: PartitionChangeRecord) -> metadata_pb2.PartitionChangeRecord:
    return metadata_pb2.PartitionChangeRecord(
        topic_id=record.topic_id.bytes,
        partition=record.partition,
        leader=record.leader,
        isr=_nodes(record.isr),
        replicas=_nodes(record.replicas),
        adding_replicas=_nodes(record.adding_replicas),
        removing_replicas=_nodes(record.removing_replicas),
        recovering=record.recovering,
        eligible_replicas=_nodes(record.eligible_replicas),
        last_known_elr=_nodes(record.last_known_elr),
        original_replicas=_nodes(record.original_replicas),
    )


def _nodes(nodes: Sequence[int] | None) -> metadata_pb2.NodeList | None:
    return None if nodes is None else metadata_pb2.NodeList(nodes=nodes)


# --- message to record -----------------------------------------------------------------------------------------------


def _read_partition(message: metadata_pb2.PartitionRecord) -> PartitionRecord:
    return PartitionRecord(
        topic_id=UUID(bytes=message.topic_id),
        partition=message.partition,
        replicas=tuple(message.replicas),
        isr=tuple(message.isr),
        leader=message.leader,
        leader_epoch=message.leader_epoch,
        partition_epoch=message.partition_epoch,
        adding_replicas=tuple(message.adding_replicas),
        removing_replicas=tuple(message.removing_replicas),
        recovering=message.recovering,
        eligible_replicas=tuple(message.eligible_replicas),
        last_known_elr=tuple(message.last_known_elr),
        original_replicas=tuple(message.original_replicas),
    )


def _read_partition_change(message: metadata_pb2.PartitionChangeRecord) -> PartitionChangeRecord:
    def given(name: Any) -> Any:
        if not message.HasField(name):
            return None
        value = getattr(message, name)
        return tuple(value.nodes) if isinstance(value, metadata_pb2.NodeList) else value

    return PartitionChangeRecord(
        topic_id=UUID(bytes=message.topic_id),
        partition=message.partition,
        leader=given("leader"),
        isr=given("isr"),
        replicas=given("replicas"),
        adding_replicas=given("adding_replicas"),
        removing_replicas=given("removing_replicas"),
        recovering=given("recovering"),
        eligible_replicas=given("eligible_replicas"),
        last_known_elr=given("last_known_elr"),
        original_replicas=given("original_replicas"),
    )


def _read_broker_change(message: metadata_pb2.BrokerChangeRecord) -> BrokerChangeRecord:
    return BrokerChangeRecord(
        broker_id=message.broker_id,
        broker_epoch=message.broker_epoch,
        fenced=message.fenced if message.HasField("fenced") else None,
        in_controlled_shutdown=message.in_controlled_shutdown if message.HasField("in_controlled_shutdown") else None,
    )


def _read_config(message: metadata_pb2.ConfigRecord) -> ConfigRecord:
    return ConfigRecord(
        resource=ConfigResource(ResourceType(message.resource_type), message.resource_name),
        name=message.name,
        value=message.value if message.HasField("value") else None,
    )


_READERS: dict[str, Callable[[Any], MetadataRecord]] = {
    "feature_level": lambda message: FeatureLevelRecord(message.name, message.level),
    "register_broker": registration_from_message,
    "unregister_broker": lambda message: UnregisterBrokerRecord(message.broker_id, message.broker_epoch),
    "broker_change": _read_broker_change,
    "topic": lambda message: TopicRecord(message.name, UUID(bytes=message.topic_id)),
    "remove_topic": lambda message: RemoveTopicRecord(UUID(bytes=message.topic_id)),
    "partition": _read_partition,
    "partition_change": _read_partition_change,
    "config": _read_config,
    "producer_ids": lambda message: ProducerIdsRecord(message.next_producer_id),
    "offline_replicas": lambda message: OfflineReplicasRecord(
        message.broker_id, message.broker_epoch, UUID(bytes=message.topic_id), tuple(message.partitions)
    ),
}
