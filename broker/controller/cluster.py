"""The controller's working state: the image that all records so far build, and the index over it.

It runs ahead of what is committed: a record is replayed when it is proposed, so that the next command sees it. Whoever
loses the epoch throws the whole away. `replay` is the only way in which metadata changes here.
"""

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from broker.controller.config import ControllerConfig
from broker.controller.partition_index import PartitionIndex, PartitionKey
from broker.metadata.effective import topic_value
from broker.metadata.image import MetadataDelta, MetadataImage
from broker.metadata.records import MetadataRecord
from broker.metadata.state import BrokerImage, PartitionState
from kraftpy.errors import BrokerIdNotRegisteredError, StaleBrokerEpochError


class Cluster:
    """Invariant: `index` is `PartitionIndex.of(image)`."""

    def __init__(self, config: ControllerConfig, image: MetadataImage, epoch: int) -> None:
        self.config = config
        self.image = image
        self.epoch = epoch
        self.index = PartitionIndex.of(image)

    def replay(self, records: Sequence[MetadataRecord], base_offset: int) -> MetadataDelta:
        """Apply records that stand at `base_offset` and after."""
        self.image, delta = self.image.apply(records, base_offset + len(records), self.epoch)
        self.index.update(delta)
        return delta

    def is_live(self, broker_id: int) -> bool:
        """Whether the broker may lead and be in ISRs: registered, not fenced, not shutting down."""
        return self.image.is_active(broker_id)

    def can_serve(self, key: PartitionKey, also_live: int | None = None) -> Callable[[int], bool]:
        """Which brokers may lead the partition and be in its ISR: live, and their replica is not offline.

        `also_live` counts as live: it is about to be.
        """
        brokers = self.image.brokers

        def is_there(broker_id: int) -> bool:
            broker = brokers.get(broker_id)
            return broker is not None and (broker.is_active or broker_id == also_live) and broker.serves(*key)

        return is_there

    def partition(self, key: PartitionKey) -> PartitionState:
        return self.image.topics[key.topic_id].partitions[key.partition]

    def topic_name(self, topic_id: UUID) -> str:
        return self.image.topics[topic_id].name

    def broker(self, broker_id: int, broker_epoch: int) -> BrokerImage:
        """The registered broker, if the caller is of its present life (KIP-631).

        Raises `BrokerIdNotRegisteredError`, `StaleBrokerEpochError`.
        """
        broker = self.image.brokers.get(broker_id)
        if broker is None:
            raise BrokerIdNotRegisteredError(f"broker {broker_id} is not registered")
        if broker.epoch != broker_epoch:
            raise StaleBrokerEpochError(
                f"broker {broker_id} speaks for epoch {broker_epoch}; its present registration has {broker.epoch}"
            )
        return broker

    def unclean_allowed(self, topic_id: UUID) -> bool:
        """Whether unclean.leader.election.enable holds for the topic."""
        return unclean_allowed(self.image, topic_id, self.config.topic_defaults)


def unclean_allowed(image: MetadataImage, topic_id: UUID, topic_defaults: Mapping[str, str]) -> bool:
    """Whether unclean.leader.election.enable holds for the topic in `image`."""
    effective = topic_value(image, "unclean.leader.election.enable", image.topics[topic_id].name, topic_defaults)
    return effective.setting.parse(effective.value) is True
