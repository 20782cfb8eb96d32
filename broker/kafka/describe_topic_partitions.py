"""DescribeTopicPartitions (key 75), version 0: partitions of topics, page by page, with eligible leaders (KIP-966).

Topics are told in the order of their names, all of them where none is named. A page holds at most as many partitions
as the client asks for and `PAGE_PARTITIONS_MAX`; where there is more, a cursor tells where the next page begins.
"""

from collections.abc import Iterator

from broker.controller.topic_names import is_topic_name
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.authorized import TOPIC_OPERATIONS
from broker.kafka.messages.describe_topic_partitions import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
    NextCursor,
)
from broker.kafka.ports import ClusterView
from broker.metadata.image import MetadataImage
from broker.metadata.internal_topics import INTERNAL_TOPICS
from broker.metadata.records import NO_LEADER
from broker.metadata.serving import offline_replicas, serving_leader
from broker.metadata.state import TopicImage
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import (
    InvalidRequestError,
    InvalidTopicError,
    KraftpyError,
    LeaderNotAvailableError,
    UnknownTopicOrPartitionError,
)

PAGE_PARTITIONS_MAX = 2_000
"""Kafka's max.request.partition.size.limit."""


class DescribeTopicPartitions:
    """The handler."""

    def __init__(self, view: ClusterView) -> None:
        self._view = view

    def api(self) -> Api:
        return message_api(
            ApiKey.DESCRIBE_TOPIC_PARTITIONS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            DescribeTopicPartitionsRequest,
            DescribeTopicPartitionsResponse,
            self._respond,
        )

    async def _respond(
        self, request: DescribeTopicPartitionsRequest, header: Request
    ) -> DescribeTopicPartitionsResponse:
        image, cursor = self._view.image, request.cursor
        if not _begins_in(request):
            refused = (_refused(each.name, InvalidRequestError) for each in request.topics)
            return DescribeTopicPartitionsResponse(topics=tuple(refused))
        room = min(max(request.response_partition_limit, 1), PAGE_PARTITIONS_MAX)
        topics: list[DescribeTopicPartitionsResponseTopic] = []
        for name in self._names(request):
            first = cursor.partition if cursor is not None and cursor.topic_name == name else 0
            if room <= 0:
                return DescribeTopicPartitionsResponse(
                    topics=tuple(topics), next_cursor=NextCursor(topic_name=name, partition=first)
                )
            topic = image.topic(name)
            if topic is None:
                topics.append(_missing(name))
                continue
            end = min(first + room, len(topic.partitions))
            topics.append(_described(image, topic, first, end))
            room -= max(end - first, 0)
            if end < len(topic.partitions):
                return DescribeTopicPartitionsResponse(
                    topics=tuple(topics), next_cursor=NextCursor(topic_name=name, partition=end)
                )
        return DescribeTopicPartitionsResponse(topics=tuple(topics))

    def _names(self, request: DescribeTopicPartitionsRequest) -> Iterator[str]:
        cursor = request.cursor
        named = {topic.name for topic in request.topics}
        for name in sorted(named or self._view.image.topic_ids):
            if cursor is None or name >= cursor.topic_name:
                yield name


def _begins_in(request: DescribeTopicPartitionsRequest) -> bool:
    """Whether the page is to begin at something that was asked for."""
    cursor = request.cursor
    if cursor is None:
        return True
    is_named = not request.topics or any(each.name == cursor.topic_name for each in request.topics)
    return is_named and cursor.partition >= 0


def _missing(name: str) -> DescribeTopicPartitionsResponseTopic:
    return _refused(name, UnknownTopicOrPartitionError if is_topic_name(name) else InvalidTopicError)


def _refused(name: str, error: type[KraftpyError]) -> DescribeTopicPartitionsResponseTopic:
    return DescribeTopicPartitionsResponseTopic(error=code_of(error), name=name, topic_id=None, partitions=())


def _described(image: MetadataImage, topic: TopicImage, first: int, end: int) -> DescribeTopicPartitionsResponseTopic:
    return DescribeTopicPartitionsResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=tuple(_partition(image, topic, index) for index in range(first, end)),
        topic_authorized_operations=TOPIC_OPERATIONS,
    )


def _partition(image: MetadataImage, topic: TopicImage, index: int) -> DescribeTopicPartitionsResponsePartition:
    state = topic.partitions[index]
    leader = serving_leader(image, state)
    return DescribeTopicPartitionsResponsePartition(
        error=NO_ERROR if leader != NO_LEADER else code_of(LeaderNotAvailableError),
        partition=index,
        leader_id=leader,
        leader_epoch=state.leader_epoch,
        replica_nodes=state.replicas,
        isr_nodes=state.isr,
        eligible_leader_replicas=state.eligible_replicas,
        last_known_elr=state.last_known_elr,
        offline_replicas=offline_replicas(image, topic.topic_id, index, state),
    )
