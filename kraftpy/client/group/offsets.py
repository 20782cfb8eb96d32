"""What a user may give to commit(), as offsets. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from kraftpy.client.values import ConsumerRecord, OffsetAndMetadata, TopicPartition

Committable = (
    ConsumerRecord
    | Iterable[ConsumerRecord]
    | Mapping[TopicPartition, OffsetAndMetadata | int]
    | Mapping[Any, Any]
    | None
)
"""A record, or several: they and all before them were processed. Or by (topic, partition): the next offset to read."""


def offsets_of(what: Committable) -> dict[TopicPartition, OffsetAndMetadata]:
    """Raises `ValueError` for a negative offset, `TypeError` for what is none of these."""
    if isinstance(what, ConsumerRecord):
        what = [what]
    if isinstance(what, Mapping):
        return {TopicPartition(*place): _offset(offset) for place, offset in what.items()}
    found: dict[TopicPartition, OffsetAndMetadata] = {}
    for record in what or ():
        if not isinstance(record, ConsumerRecord):
            raise TypeError(f"commit() takes records, or offsets by (topic, partition), not {type(record).__name__}")
        place = TopicPartition(record.topic, record.partition)
        if place not in found or record.offset >= found[place].offset:
            found[place] = OffsetAndMetadata(record.offset + 1, leader_epoch=record.leader_epoch)
    return found


def _offset(offset: OffsetAndMetadata | int) -> OffsetAndMetadata:
    made = offset if isinstance(offset, OffsetAndMetadata) else OffsetAndMetadata(offset)
    if made.offset < 0:
        raise ValueError(f"an offset is not negative: {made.offset}")
    return made
