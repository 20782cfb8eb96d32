"""Which replica here a request means, and whom to ask instead where it is none of ours."""

from collections.abc import Callable, Mapping
from uuid import UUID

from broker.metadata.image import MetadataImage
from broker.metadata.state import PartitionKey
from broker.replication.fetch_types import CurrentLeader, FetchTarget
from broker.replication.partition import Partition
from kraftpy.errors import (
    KafkaStorageError,
    NotLeaderOrFollowerError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)


class PartitionFinder:
    """Finds among `partitions`, which are this broker's, by the `image` that it acts by."""

    def __init__(self, node_id: int, partitions: Mapping[PartitionKey, Partition]) -> None:
        self.image = MetadataImage.EMPTY
        self.is_behind: Callable[[], bool] = lambda: False
        """Whether some of what the image says has not been acted by yet."""
        self._node_id = node_id
        self._partitions = partitions

    def by_name(self, topic: str, index: int) -> Partition:
        """Raises `UnknownTopicOrPartitionError`; `NotLeaderOrFollowerError`: it is elsewhere; `KafkaStorageError`: it
        should be here."""
        topic_id = self.image.topic_ids.get(topic)
        if topic_id is None:
            raise UnknownTopicOrPartitionError(f"there is no topic {topic}")
        return self._found(topic_id, index)

    def by_target(self, target: FetchTarget) -> Partition:
        """As `by_name`; `UnknownTopicIdError` where the reader asks by an id that there is not."""
        topic_id = target.topic_id
        if topic_id is None:
            return self.by_name(target.topic, target.partition)
        if topic_id not in self.image.topics:
            raise UnknownTopicIdError(f"there is no topic with id {topic_id}")
        return self._found(topic_id, target.partition)

    def _found(self, topic_id: UUID, index: int) -> Partition:
        partition = self._partitions.get(PartitionKey(topic_id, index))
        if partition is not None:
            return partition
        topic = self.image.topics[topic_id]
        if not 0 <= index < len(topic.partitions):
            raise UnknownTopicOrPartitionError(f"topic {topic.name} has no partition {index}")
        if self.is_behind():
            raise NotLeaderOrFollowerError(f"broker {self._node_id} is still opening what it holds")
        if self._node_id in topic.partitions[index].replicas:
            raise KafkaStorageError(f"the log of {topic.name}-{index} could not be opened here")
        raise NotLeaderOrFollowerError(f"broker {self._node_id} holds no replica of {topic.name}-{index}")

    def leader_of(self, topic_id: UUID | None, topic: str, index: int) -> CurrentLeader | None:
        """For whoever asked the wrong broker; None: metadata knows no such partition."""
        image = self.image.topic(topic) if topic_id is None else self.image.topic_by_id(topic_id)
        if image is None or not 0 <= index < len(image.partitions):
            return None
        state = image.partitions[index]
        return CurrentLeader(state.leader, state.leader_epoch)

    def rack_of(self, broker_id: int) -> str | None:
        """Of a broker in service."""
        broker = self.image.brokers.get(broker_id)
        return broker.registration.rack if broker is not None and broker.is_active else None
