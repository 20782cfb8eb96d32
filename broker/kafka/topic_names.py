"""Topics as requests name them: by name, or by id in newer versions; at once, or in pieces. Pure."""

from collections.abc import Iterable
from typing import TypeVar
from uuid import UUID

from broker.metadata.image import MetadataImage
from broker.metadata.state import TopicImage
from kraftpy.errors import UnknownTopicIdError, UnknownTopicOrPartitionError

T = TypeVar("T")


def each_once(named: Iterable[tuple[T, Iterable[int]]]) -> dict[T, dict[int, None]]:
    """Each topic once, and of it each partition, as they are first named: no answer needs more, and a request may name
    one a hundred thousand times."""
    found: dict[T, dict[int, None]] = {}
    for topic, partitions in named:
        found.setdefault(topic, {}).update(dict.fromkeys(partitions))
    return found


def named_topic(image: MetadataImage, name: str, topic_id: UUID | None, *, by_id: bool) -> TopicImage:
    """Raises `UnknownTopicOrPartitionError`; `UnknownTopicIdError` where ids name topics."""
    if by_id:
        topic = None if topic_id is None else image.topic_by_id(topic_id)
        if topic is None:
            raise UnknownTopicIdError(f"there is no topic with id {topic_id}")
        return topic
    topic = image.topic(name)
    if topic is None:
        raise UnknownTopicOrPartitionError(f"there is no topic {name}")
    return topic
