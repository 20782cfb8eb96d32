"""Topics as requests name them: by name, or by id in newer versions. Pure."""

from uuid import UUID

from broker.metadata.image import MetadataImage
from broker.metadata.state import TopicImage
from kraftpy.errors import UnknownTopicIdError, UnknownTopicOrPartitionError


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
