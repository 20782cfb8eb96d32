"""Which broker coordinates a group or a transactional id: the leader of its partition of an internal topic.

The topic is made when somebody first asks. Where the cluster is too small for it, the answer says what to do, and the
next one who asks once enough brokers are in service has it made.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import IntEnum
from typing import Final

from broker.coordinator.config import StateTopicsConfig
from broker.coordinator.coordinators import partition_of
from broker.metadata.image import MetadataImage
from broker.metadata.internal_topics import CONSUMER_OFFSETS, TRANSACTION_STATE, TopicTemplate
from broker.metadata.serving import is_in_service
from kraftpy.errors import CoordinatorNotAvailableError, KraftpyError


class CoordinatorKind(IntEnum):
    """What is coordinated, with Kafka's numbers of key types."""

    GROUP = 0
    TRANSACTION = 1


TOPIC_OF: Final = {CoordinatorKind.GROUP: CONSUMER_OFFSETS, CoordinatorKind.TRANSACTION: TRANSACTION_STATE}
_SETTING_OF: Final = {
    CONSUMER_OFFSETS: "offsets.topic.replication.factor",
    TRANSACTION_STATE: "transaction.state.log.replication.factor",
}
_COMPACTED: Final = {"cleanup.policy": "compact"}


class CoordinatorFinder:
    """See the module's docstring."""

    def __init__(
        self,
        config: StateTopicsConfig,
        image: Callable[[], MetadataImage],
        ensure: Callable[[Sequence[str]], Awaitable[Mapping[str, KraftpyError]]],
        is_alone: Callable[[], bool],
    ) -> None:
        """`ensure` has topics made that do not exist. `is_alone`: the cluster is one node, and is meant to be."""
        self._config = config
        self._image = image
        self._ensure = ensure
        self._is_alone = is_alone

    async def find(self, kind: CoordinatorKind, key: str) -> int:
        """The broker's id. Raises `CoordinatorNotAvailableError` while there is none; as `partition_of`."""
        topic_name = TOPIC_OF[kind]
        if self._image().topic(topic_name) is None:
            await self._make(topic_name)
        topic = self._image().topic(topic_name)
        if topic is None:
            raise CoordinatorNotAvailableError(f"{topic_name} is being created")
        partition = partition_of(topic_name, key, len(topic.partitions))
        leader = topic.partitions[partition].leader
        if not is_in_service(self._image(), leader):
            raise CoordinatorNotAvailableError(f"{topic_name}-{partition} has no leader at the moment")
        return leader

    async def _make(self, topic_name: str) -> None:
        wanted = self.replication_factor(topic_name)
        in_service = sum(not broker.fenced for broker in self._image().brokers.values())
        if in_service < wanted:
            setting = _SETTING_OF[topic_name]
            raise CoordinatorNotAvailableError(
                f"{topic_name} is to have {wanted} replicas ({setting}), and {in_service} brokers are in service: "
                f"start {wanted - in_service} more, or set {setting}={in_service} on every node"
            )
        refused = (await self._ensure([topic_name])).get(topic_name)
        if refused is not None:
            raise CoordinatorNotAvailableError(f"{topic_name} could not be created: {refused}")

    def replication_factor(self, topic_name: str) -> int:
        config = self._config
        if self._is_alone():
            return 1
        is_offsets = topic_name == CONSUMER_OFFSETS
        return config.offsets_replication_factor if is_offsets else config.transactions_replication_factor

    def template(self, topic_name: str) -> TopicTemplate | None:
        """How an internal topic is made; None for any other."""
        config, replicas = self._config, self.replication_factor(topic_name)
        if topic_name == CONSUMER_OFFSETS:
            settings = {"segment.bytes": str(config.offsets_segment_bytes), "compression.type": "producer"}
            return TopicTemplate(config.offsets_partitions, replicas, {**_COMPACTED, **settings})
        if topic_name == TRANSACTION_STATE:
            settings = {
                "segment.bytes": str(config.transactions_segment_bytes),
                "min.insync.replicas": str(min(config.transactions_min_isr, replicas)),
                "unclean.leader.election.enable": "false",
            }
            return TopicTemplate(config.transactions_partitions, replicas, {**_COMPACTED, **settings})
        return None
