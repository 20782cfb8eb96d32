"""Who leads what this broker has led and may have lost without hearing of it: brokers of the other replicas know.

    no controller answers, nobody follows → those brokers are asked for the topics
    → a partition with a later leader epoch than here → clients are told that one, until metadata here is as late

What another broker knows was committed by the quorum, so nothing is guessed; it may be late itself, so only what is
later than here counts. Clients are told, and coordinators here end whose partition is led elsewhere; what this broker
stores follows its own metadata alone.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from google.protobuf.message import DecodeError

from broker.metadata.image import MetadataImage
from broker.metadata.state import PartitionKey, PartitionState
from broker.rpc.client_service import SERVICE
from broker.rpc.methods import full_name
from kraftpy.pb.client_pb2 import MetadataRequest, MetadataResponse, PartitionInfo, TopicInfo
from kraftpy.runtime.ports import Address, Clock, Transport, TransportError

logger = logging.getLogger(__name__)

TIMEOUT_MS = 1_000
ASK_INTERVAL_MS = 5_000
"""Between questions, where no further partition is deserted."""
TOPICS_PER_CALL = 1_000

States = Mapping[PartitionKey, PartitionState]


class Successors:
    """Those that are known."""

    def __init__(
        self,
        node_id: int,
        image: Callable[[], MetadataImage],
        transport: Transport,
        clock: Clock,
        tell: Callable[[States], None],
    ) -> None:
        """`image()`: of this broker's own metadata. `tell(later)` hears whenever they change: partitions as they are
        later than in that."""
        self._node_id = node_id
        self._image = image
        self._transport = transport
        self._clock = clock
        self._tell = tell
        self._deserted: frozenset[PartitionKey] = frozenset()
        self._asked_ms = 0
        self._known: States = {}

    async def look_for(self, deserted: Collection[PartitionKey]) -> None:
        """To be called again and again while any partition is deserted, and once with none when that is over."""
        before, self._deserted = self._deserted, frozenset(deserted)
        known = dict(self._known)
        is_news = not self._deserted <= before
        if is_news or (self._deserted and self._clock.monotonic_ms() - self._asked_ms >= ASK_INTERVAL_MS):
            self._asked_ms = self._clock.monotonic_ms()
            for info in await self._ask_all(self._image()):
                for key, state in _told(self._image(), info):
                    if key not in known or state.leader_epoch >= known[key].leader_epoch:
                        known[key] = state
        image = self._image()  # as it is by now: whoever hears those brokers again may have heard the quorum, too
        known = {key: each for key, each in known.items() if key in self._deserted and _is_later(image, key, each)}
        if len(known) > len(self._known):
            logger.warning("other brokers tell who leads %d partitions now that are led here no longer", len(known))
        if known != self._known:
            self._known = known
            self._tell(known)

    async def _ask_all(self, image: MetadataImage) -> list[TopicInfo]:
        """What they tell of the topics of what is deserted."""
        topics: dict[int, dict[str, None]] = {}  # by broker: those of which it has a replica
        for topic_id, partition in sorted(self._deserted):
            topic = image.topic_by_id(topic_id)
            if topic is not None:
                for broker_id in topic.partitions[partition].replicas:
                    topics.setdefault(broker_id, {})[topic.name] = None
        topics.pop(self._node_id, None)
        addresses = {broker_id: address for broker_id in topics if (address := image.grpc_address(broker_id))}
        told = await asyncio.gather(*(self._ask(address, list(topics[each])) for each, address in addresses.items()))
        return [info for infos in told for info in infos]

    async def _ask(self, address: Address, names: Sequence[str]) -> list[TopicInfo]:
        """What a broker tells of topics; as far as it answers."""
        found: list[TopicInfo] = []
        try:
            for first in range(0, len(names), TOPICS_PER_CALL):
                request = MetadataRequest(topics=names[first : first + TOPICS_PER_CALL])
                answer = await self._transport.call(
                    address, full_name(SERVICE, "GetMetadata"), request.SerializeToString(), TIMEOUT_MS
                )
                found += MetadataResponse.FromString(answer).topics
        except (TransportError, DecodeError) as error:
            logger.debug("%s does not tell who leads: %s", address, error)
        return found


def _told(image: MetadataImage, told: TopicInfo) -> Iterator[tuple[PartitionKey, PartitionState]]:
    """The partitions, where it is the same topic as in `image`."""
    topic = image.topic(told.name)
    if topic is None or topic.topic_id.bytes != told.topic_id:
        return
    for info, own in zip(told.partitions, topic.partitions, strict=False):
        yield PartitionKey(topic.topic_id, info.partition), _state(own, info)


def _is_later(image: MetadataImage, key: PartitionKey, state: PartitionState) -> bool:
    topic = image.topic_by_id(key.topic_id)
    return topic is not None and state.leader_epoch > topic.partitions[key.partition].leader_epoch


def _state(own: PartitionState, info: PartitionInfo) -> PartitionState:
    return replace(
        own,
        replicas=tuple(info.replicas),
        isr=tuple(info.isr),
        leader=info.leader,
        leader_epoch=info.leader_epoch,
        adding_replicas=tuple(info.adding_replicas),
        removing_replicas=tuple(info.removing_replicas),
        eligible_replicas=tuple(info.eligible_replicas),
        last_known_elr=tuple(info.last_known_elr),
    )
