"""The controller's working state: the image that all records so far build, and the index over it.

It runs ahead of what is committed: a record is replayed when it is proposed, so that the next command sees it. Whoever
loses the epoch throws the whole away. `replay` is the only way in which metadata changes here.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from broker.controller.config import ControllerConfig
from broker.controller.eligible import Rules
from broker.controller.partition_index import PartitionIndex, PartitionKey
from broker.metadata.effective import topic_value
from broker.metadata.features import ELIGIBLE_LEADER_REPLICAS_VERSION
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

    def rules(self, topic_id: UUID) -> Rules:
        """What holds for elections in the topic."""
        return rules_of(self.image, topic_id, self.config.topic_defaults)

    def flushes_first(self, topic_id: UUID, broker_id: int) -> bool:
        """Whether nothing of the topic counts on that broker before it is on its disk (`flush.messages` is 1)."""
        name = self.image.topics[topic_id].name
        effective = topic_value(self.image, "flush.messages", name, self.config.topic_defaults, broker_id)
        return effective.setting.parse(effective.value) == 1


def rules_of(image: MetadataImage, topic_id: UUID, topic_defaults: Mapping[str, str]) -> Rules:
    """What holds for elections in the topic, as `image` says."""
    name = image.topics[topic_id].name
    min_isr = topic_value(image, "min.insync.replicas", name, topic_defaults)
    unclean = topic_value(image, "unclean.leader.election.enable", name, topic_defaults)
    return Rules(
        min_isr=int(min_isr.value),
        unclean=unclean.setting.parse(unclean.value) is True,
        elr=image.features.get(ELIGIBLE_LEADER_REPLICAS_VERSION, 0) > 0,
    )
