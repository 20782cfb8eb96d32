"""Metadata (key 3), versions 0–13: brokers, topics, partitions and their leaders. KIP-4, 430, 516, 700.

Topics that are named and missing are created where both the client and the broker allow it (`TopicCreation`), and are
answered LEADER_NOT_AVAILABLE until they are there. Nobody is authorized to anything yet, so everybody is to everything.

An answer tells of the moment in which it leaves, and waits a little for the next leader where one was just lost:
whoever asks has mostly lost it too, and told of that one again it may be content for a second (`lost_leaders`).

Answers are put together from bytes that are kept as long as the metadata that they tell of: each topic's, and the
brokers', a version of the API each. `KEPT_BYTES_MAX` bounds what is kept.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from uuid import UUID

from broker.controller.topic_names import is_topic_name
from broker.kafka.api import Api, ApiKey, Request
from broker.kafka.authorized import CLUSTER_OPERATIONS, NOT_ASKED, TOPIC_OPERATIONS
from broker.kafka.endpoints import EndpointOf
from broker.kafka.messages.metadata import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    AskedTopic,
    KnownBroker,
    KnownPartition,
    KnownTopic,
    MetadataRequest,
    MetadataResponse,
)
from broker.kafka.ports import ClusterView, Creation
from broker.kafka.schema import decode, encode, writer_of
from broker.kafka.wire import count
from broker.metadata.image import MetadataImage
from broker.metadata.internal_topics import INTERNAL_TOPICS
from broker.metadata.records import NO_LEADER
from broker.metadata.serving import offline_replicas, serving_leader
from broker.metadata.state import BrokerImage, PartitionState, TopicImage
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import (
    InvalidRequestError,
    InvalidTopicError,
    KraftpyError,
    LeaderNotAvailableError,
    ListenerNotFoundError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from kraftpy.runtime.ports import FrameParts

KEPT_BYTES_MAX = 32 * 1024 * 1024
"""Of topics, on one listener. A cluster of 50,000 partitions takes 2 to 3 MB in each version that is asked for."""
TURN_PARTITIONS = 500
"""Partitions written before others are let in, about 5 ms."""
_IDS_FROM = 12  # two versions had them before, were broken, and are refused, as Kafka does
_LISTENER_ERROR_FROM = 6
_TAIL_OPERATIONS = range(8, 11)
_ERROR_FROM = 13

_KeptTopic = tuple[TopicImage, Mapping[int, BrokerImage], bytes]


class Metadata:
    """The handler."""

    def __init__(
        self,
        view: ClusterView,
        creation: Creation,
        endpoint_of: EndpointOf,
        wait_leaders_known: Callable[[], Awaitable[None]],
    ) -> None:
        self._view = view
        self._creation = creation
        self._endpoint_of = endpoint_of
        self._wait_leaders_known = wait_leaders_known
        self._topics: dict[tuple[int, bool, UUID], _KeptTopic] = {}  # by version, whether operations are told, topic id
        self._kept_bytes = 0
        self._brokers: tuple[Mapping[int, BrokerImage], tuple[int, ...], tuple[KnownBroker, ...]] | None = None

    def api(self) -> Api:
        return Api(
            ApiKey.METADATA,
            VERSION_MIN,
            VERSION_MAX,
            FLEXIBLE_FROM,
            self.handle,
            request=MetadataRequest,
            response=MetadataResponse,
        )

    async def handle(self, request: Request) -> FrameParts:
        version = request.version
        asked = decode(MetadataRequest, request.body, version, flexible=version >= FLEXIBLE_FROM, exact=False)
        if not self._view.has_joined:
            return [_assembled(version, MetadataResponse(brokers=(), topics=()), [])]  # ask another, or later
        errors = await self._create_missing(asked)
        await request.turn()
        await self._wait_leaders_known()
        topics = asked.topics
        if topics is None or (version == 0 and not topics):
            names = [AskedTopic(name=name) for name in sorted(self._view.image.topic_ids)]
        else:
            names = list(dict.fromkeys(topics))
        encoded = await self._encode_topics(version, names, errors, asked.include_topic_authorized_operations)
        return [_assembled(version, self._frame(asked), encoded)]

    async def _create_missing(self, asked: MetadataRequest) -> Mapping[str, KraftpyError]:
        if not asked.topics or not asked.allow_auto_topic_creation:
            return {}
        image = self._view.image
        named = [each.name for each in asked.topics if each.name is not None and each.topic_id is None]
        missing = [name for name in dict.fromkeys(named) if name not in image.topic_ids]
        return await self._creation.try_briefly(missing) if missing else {}

    def _frame(self, asked: MetadataRequest) -> MetadataResponse:
        """Everything but the topics."""
        image = self._view.image
        brokers = self._known_brokers(image)
        operations = CLUSTER_OPERATIONS if asked.include_cluster_authorized_operations else NOT_ASKED
        return MetadataResponse(
            brokers=brokers,
            cluster_id=self._view.cluster_id,
            controller_id=told_controller(in_service(image, brokers), self._view.controller_id),
            topics=(),
            cluster_authorized_operations=operations,
        )

    def _known_brokers(self, image: MetadataImage) -> tuple[KnownBroker, ...]:
        missed = self._view.missed
        if self._brokers is None or self._brokers[0] is not image.brokers or self._brokers[1] != missed:
            self._brokers = (image.brokers, missed, tuple(known_brokers(image, missed, self._endpoint_of)))
        return self._brokers[2]

    # --- topics

    async def _encode_topics(
        self, version: int, names: list[AskedTopic], errors: Mapping[str, KraftpyError], operations: bool
    ) -> list[bytes]:
        image = self._view.image
        encoded: list[bytes] = []
        turn = 0
        for asked in names:
            found = self._find(image, asked, version, errors)
            if isinstance(found, TopicImage):
                key = (version, operations, found.topic_id)
                kept = self._topics.get(key)
                if kept is None or kept[0] is not found or kept[1] is not image.brokers:
                    kept = (
                        found,
                        image.brokers,
                        _encoded(version, self._known_topic(image, found, version, operations)),
                    )
                    self._keep(key, kept)
                    turn += len(found.partitions)
                encoded.append(kept[2])
            else:
                encoded.append(_encoded(version, found))
                turn += 1
            if turn >= TURN_PARTITIONS:
                turn = 0
                await asyncio.sleep(0)
        return encoded

    def _keep(self, key: tuple[int, bool, UUID], kept: _KeptTopic) -> None:
        replaced = self._topics.pop(key, None)
        self._kept_bytes += len(kept[2]) - (len(replaced[2]) if replaced else 0)
        if self._kept_bytes > KEPT_BYTES_MAX:
            self._topics.clear()
            self._kept_bytes = len(kept[2])
        self._topics[key] = kept

    def _find(
        self, image: MetadataImage, asked: AskedTopic, version: int, errors: Mapping[str, KraftpyError]
    ) -> TopicImage | KnownTopic:
        """The topic, or what is told in its place."""
        name = asked.name
        if version >= _IDS_FROM and asked.topic_id is not None:
            return image.topic_by_id(asked.topic_id) or _missing(version, name, asked.topic_id, UnknownTopicIdError)
        if asked.topic_id is not None or name is None:
            return _missing(version, name, asked.topic_id, InvalidRequestError)
        found = image.topic(name)
        if found is not None:
            return found
        if not is_topic_name(name):
            return _missing(version, name, None, InvalidTopicError)
        error = errors.get(name)
        return _missing(version, name, None, type(error) if error is not None else UnknownTopicOrPartitionError)

    def _known_topic(self, image: MetadataImage, topic: TopicImage, version: int, operations: bool) -> KnownTopic:
        return KnownTopic(
            error=NO_ERROR,
            name=topic.name,
            topic_id=topic.topic_id,
            is_internal=topic.name in INTERNAL_TOPICS,
            partitions=tuple(
                self._known_partition(image, topic.topic_id, index, state, version)
                for index, state in enumerate(topic.partitions)
            ),
            authorized_operations=TOPIC_OPERATIONS if operations else NOT_ASKED,
        )

    def _known_partition(
        self, image: MetadataImage, topic_id: UUID, index: int, state: PartitionState, version: int
    ) -> KnownPartition:
        leader = serving_leader(image, state)
        error = NO_ERROR
        if leader == NO_LEADER:
            error = code_of(LeaderNotAvailableError)
        elif self._endpoint_of(leader) is None:  # it has no such listener
            error = code_of(ListenerNotFoundError if version >= _LISTENER_ERROR_FROM else LeaderNotAvailableError)
            leader = NO_LEADER
        return KnownPartition(
            error=error,
            partition=index,
            leader=leader,
            leader_epoch=state.leader_epoch,
            replicas=state.replicas,
            isr=state.isr,
            offline_replicas=offline_replicas(image, topic_id, index, state),
        )


def known_brokers(image: MetadataImage, missed: Collection[int], endpoint_of: EndpointOf) -> list[KnownBroker]:
    """The brokers in service, and those that are `missed`, that have the listener which the client uses, by id."""
    told = [each for each in sorted(image.brokers) if not image.brokers[each].fenced or each in missed]
    endpoints = [endpoint_of(broker_id) for broker_id in told]
    return [
        KnownBroker(broker_id=each.broker_id, host=each.host, port=each.port, rack=each.rack)
        for each in endpoints
        if each is not None
    ]


def in_service(image: MetadataImage, brokers: Iterable[KnownBroker]) -> list[int]:
    """The ids of those that are."""
    return [each.broker_id for each in brokers if not image.brokers[each.broker_id].fenced]


def told_controller(broker_ids: list[int], leader_id: int | None) -> int:
    """Who is told to be the controller: clients send it what any broker passes on, so it must be one of those told.

    The quorum's leader where it is a broker; else the lowest id, so that the answer is stable. -1: there is no broker.
    """
    if leader_id is not None and leader_id in broker_ids:
        return leader_id
    return min(broker_ids, default=-1)


def _missing(version: int, name: str | None, topic_id: UUID | None, error: type[KraftpyError]) -> KnownTopic:
    told = name if name is not None or version >= _IDS_FROM else ""
    return KnownTopic(error=code_of(error), name=told, topic_id=topic_id, partitions=())


def _encoded(version: int, topic: KnownTopic) -> bytes:
    encoded = bytearray()
    write: Callable[[KnownTopic, bytearray], None] = writer_of(KnownTopic, version, version >= FLEXIBLE_FROM)
    write(topic, encoded)
    return bytes(encoded)


def _assembled(version: int, frame: MetadataResponse, topics: list[bytes]) -> bytes:
    """The response with its topics put in: they stand between the brokers and a tail of a known size."""
    flexible = version >= FLEXIBLE_FROM
    encoded = encode(frame, version, flexible=flexible)
    tail_bytes = 4 * (version in _TAIL_OPERATIONS) + 2 * (version >= _ERROR_FROM) + flexible
    end = len(encoded) - tail_bytes
    begin = end - len(count(0, flexible=flexible))
    return b"".join([encoded[:begin], count(len(topics), flexible=flexible), *topics, encoded[end:]])
