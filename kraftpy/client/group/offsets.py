"""What a user may give to commit() as offsets, and name as a partition. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from kraftpy.client.values import ConsumerRecord, OffsetAndMetadata, TopicPartition
from kraftpy.topic_names import check_topic_name

PARTITION_MAX = EPOCH_MAX = 2**31 - 1
OFFSET_MAX = 2**63 - 1

Committable = (
    ConsumerRecord
    | Iterable[ConsumerRecord]
    | Mapping[TopicPartition, OffsetAndMetadata | int]
    | Mapping[Any, Any]
    | None
)
"""A record, or several: they and all before them were processed. Or by (topic, partition): the next offset to read."""


def offsets_of(what: Committable) -> dict[TopicPartition, OffsetAndMetadata]:
    """Raises `ValueError` for a negative offset or one that no log has, `InvalidTopicError` for a name that no topic
    has, `TypeError` for what is none of these."""
    if isinstance(what, ConsumerRecord):
        what = [what]
    if isinstance(what, Mapping):
        return {checked_place(place): checked_offset(offset) for place, offset in what.items()}
    found: dict[TopicPartition, OffsetAndMetadata] = {}
    for record in what or ():
        if not isinstance(record, ConsumerRecord):
            raise TypeError(f"commit() takes records, or offsets by (topic, partition), not {type(record).__name__}")
        place = TopicPartition(record.topic, record.partition)
        if place not in found or record.offset >= found[place].offset:
            found[place] = OffsetAndMetadata(record.offset + 1, leader_epoch=record.leader_epoch)
    return found


def checked_offset(offset: Any) -> OffsetAndMetadata:
    """Raises as `offsets_of`."""
    made = offset if isinstance(offset, OffsetAndMetadata) else OffsetAndMetadata(offset)
    if not (isinstance(made.offset, int) and isinstance(made.metadata, str) and isinstance(made.leader_epoch, int)):
        raise TypeError(f"an offset is a number, and what is said of it a text, not {offset!r}")
    made.metadata.encode()  # a lone surrogate cannot be sent: UnicodeEncodeError is a ValueError
    if made.offset < 0:
        raise ValueError(f"an offset is not negative: {made.offset}")
    if made.offset > OFFSET_MAX or not -1 <= made.leader_epoch <= EPOCH_MAX:
        raise ValueError(f"no log has such an offset: {made}")
    return made


def checked_place(place: Any) -> TopicPartition:
    """Raises `ValueError` for a number that no partition has, and else as `offsets_of`."""
    topic, partition = place
    check_topic_name(topic)
    if not isinstance(partition, int):
        raise TypeError(f"a partition is named by its topic and its number, not {place!r}")
    if not 0 <= partition <= PARTITION_MAX:
        raise ValueError(f"there is no partition {partition}")
    return TopicPartition(topic, partition)
