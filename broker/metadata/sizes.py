"""How large metadata records are, and how many go together. Pure.

Sizes are estimates from above, found at a tenth of what encoding costs: they keep an entry of the quorum's log, and a
batch of a snapshot, far from the 64 MiB that nodes send each other and read.
"""

from collections.abc import Iterable, Iterator
from typing import Final, assert_never

from broker.metadata.records import (
    BrokerChangeRecord,
    ConfigRecord,
    FeatureLevelRecord,
    MetadataRecord,
    OfflineReplicasRecord,
    PartitionChangeRecord,
    PartitionRecord,
    ProducerIdsRecord,
    RegisterBrokerRecord,
    RemoveTopicRecord,
    TopicRecord,
    UnregisterBrokerRecord,
)

ENTRY_BYTES_MAX: Final = 8 << 20
"""Of the records that stand or fall together, as Kafka bounds a batch of its metadata."""

_FIXED_BYTES: Final = 96  # ids, numbers, and the names of fields
_NUMBER_BYTES: Final = 5
_ITEM_BYTES: Final = 64


def about_bytes(record: MetadataRecord) -> int:
    """What the record takes when it is encoded, at most, give or take some bytes."""
    match record:
        case ConfigRecord(resource, name, value):
            return _FIXED_BYTES + _text_bytes(resource.name, name, value or "")
        case PartitionRecord():
            numbers = len(record.replicas) + len(record.isr) + len(record.eligible_replicas)
            moving = len(record.adding_replicas) + len(record.removing_replicas) + len(record.original_replicas)
            return _FIXED_BYTES + _NUMBER_BYTES * (numbers + moving + len(record.last_known_elr))
        case PartitionChangeRecord():
            lists = (record.isr, record.replicas, record.adding_replicas, record.removing_replicas)
            more = (record.eligible_replicas, record.last_known_elr, record.original_replicas)
            return _FIXED_BYTES + _NUMBER_BYTES * sum(len(numbers or ()) for numbers in (*lists, *more))
        case TopicRecord(name=name) | FeatureLevelRecord(name=name):
            return _FIXED_BYTES + _text_bytes(name)
        case OfflineReplicasRecord():
            return _FIXED_BYTES + _NUMBER_BYTES * len(record.partitions)
        case RegisterBrokerRecord():
            words = [record.rack or "", record.host_label, record.release]
            for endpoint in record.endpoints:
                words += (endpoint.name, endpoint.host, endpoint.security_protocol)
            words += (feature.name for feature in record.features)
            items = len(record.endpoints) + len(record.features) + len(record.log_directory_ids)
            return _FIXED_BYTES + _ITEM_BYTES * items + _text_bytes(*words)
        case UnregisterBrokerRecord() | BrokerChangeRecord() | RemoveTopicRecord() | ProducerIdsRecord():
            return _FIXED_BYTES
        case _:
            assert_never(record)


def in_batches(records: Iterable[MetadataRecord], records_max: int, bytes_max: int) -> Iterator[list[MetadataRecord]]:
    """The records in batches within both limits; one that is larger by itself stands alone."""
    batch: list[MetadataRecord] = []
    size_bytes = 0
    for record in records:
        record_bytes = about_bytes(record)
        if batch and (len(batch) == records_max or size_bytes + record_bytes > bytes_max):
            yield batch
            batch, size_bytes = [], 0
        batch.append(record)
        size_bytes += record_bytes
    if batch:
        yield batch


def _text_bytes(*texts: str) -> int:
    return sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
