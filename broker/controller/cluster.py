"""The controller's working state: the image that all records so far build, and the index over it.

It runs ahead of what is committed: a record is replayed when it is proposed, so that the next command sees it. Whoever
loses the epoch throws the whole away. `replay` is the only way in which metadata changes here.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from broker.controller.config import ControllerConfig
from broker.controller.eligible import IsLive, Loss, Rules
from broker.controller.partition_index import PartitionIndex
from broker.metadata.broker_config import CORDONED_LOG_DIRS
from broker.metadata.effective import EffectiveValue, is_cordoned, topic_value
from broker.metadata.features import ELIGIBLE_LEADER_REPLICAS_VERSION
from broker.metadata.image import MetadataDelta, MetadataImage
from broker.metadata.records import MetadataRecord
from broker.metadata.state import BrokerImage, PartitionKey, PartitionState
from kraftpy.errors import BrokerIdNotRegisteredError, InvalidReplicaAssignmentError, StaleBrokerEpochError


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

    def can_serve(self, key: PartitionKey, also_live: int | None = None) -> IsLive:
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

    def check_target(self, replicas: Sequence[int], present: Sequence[int] = ()) -> None:
        """Whether a partition may be put on these brokers; it is on `present` already.

        Raises `InvalidReplicaAssignmentError`: one is named twice, is not registered, or is cordoned and not `present`.
        """
        if len(dict.fromkeys(replicas)) < len(replicas):
            raise InvalidReplicaAssignmentError(f"{list(replicas)} names a broker twice")
        unknown = [broker_id for broker_id in replicas if broker_id not in self.image.brokers]
        if unknown:
            registered = ", ".join(map(str, sorted(self.image.brokers)))
            raise InvalidReplicaAssignmentError(f"broker {unknown[0]} is not registered; {registered or 'none'} are")
        for broker_id in replicas:
            if broker_id not in present and is_cordoned(self.image, broker_id):
                raise InvalidReplicaAssignmentError(
                    f"broker {broker_id} is cordoned, so it takes no new replica: its {CORDONED_LOG_DIRS} says so"
                )

    def topic_rules(self) -> "TopicRules":
        """What holds for elections in each topic now."""
        return TopicRules(self.image, self.config.topic_defaults)


class TopicRules:
    """What holds for elections in the topics of an image, each looked up once."""

    def __init__(self, image: MetadataImage, topic_defaults: Mapping[str, str]) -> None:
        self._image = image
        self._topic_defaults = topic_defaults
        self._rules: dict[UUID, Rules] = {}
        self._flushing: dict[tuple[UUID, int], bool] = {}

    def of(self, topic_id: UUID) -> Rules:
        rules = self._rules.get(topic_id)
        if rules is None:
            min_isr = self._value(topic_id, "min.insync.replicas")
            unclean = self._value(topic_id, "unclean.leader.election.enable")
            elr = self._image.features.get(ELIGIBLE_LEADER_REPLICAS_VERSION, 0) > 0
            rules = Rules(int(min_isr.value), unclean.setting.parse(unclean.value) is True, elr)
            self._rules[topic_id] = rules
        return rules

    def loss(self, topic_id: UUID, broker_id: int | None, loss: Loss) -> Loss:
        """What of `loss` concerns the topic: where nothing counts before it is flushed, nothing unflushed is lost."""
        if loss is Loss.UNFLUSHED and broker_id is not None and self.flushes_first(topic_id, broker_id):
            return Loss.NOTHING
        return loss

    def flushes_first(self, topic_id: UUID, broker_id: int) -> bool:
        """Whether nothing of the topic counts on that broker before it is on its disk (`flush.messages` is 1)."""
        known = self._flushing.get((topic_id, broker_id))
        if known is None:
            effective = self._value(topic_id, "flush.messages", broker_id)
            known = self._flushing[topic_id, broker_id] = effective.setting.parse(effective.value) == 1
        return known

    def _value(self, topic_id: UUID, name: str, broker_id: int | None = None) -> EffectiveValue:
        return topic_value(self._image, name, self._image.topics[topic_id].name, self._topic_defaults, broker_id)
