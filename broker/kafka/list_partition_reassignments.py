"""ListPartitionReassignments (key 46), version 0: partitions that are moving between brokers (KIP-455).

Answered from the metadata that this node has applied. What does not exist, or does not move, is left out.
"""

from collections.abc import Container, Mapping

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.list_partition_reassignments import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment,
    OngoingTopicReassignment,
)
from broker.kafka.ports import ClusterView
from broker.kafka.topic_names import each_once
from broker.metadata.state import TopicImage


class ListPartitionReassignments:
    """The handler."""

    def __init__(self, view: ClusterView) -> None:
        self._view = view

    def api(self) -> Api:
        return message_api(
            ApiKey.LIST_PARTITION_REASSIGNMENTS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            ListPartitionReassignmentsRequest,
            ListPartitionReassignmentsResponse,
            self._respond,
        )

    async def _respond(
        self, request: ListPartitionReassignmentsRequest, header: Request
    ) -> ListPartitionReassignmentsResponse:
        image = self._view.image
        asked: Mapping[str, Container[int] | None]
        if request.topics is None:
            asked = dict.fromkeys(sorted(image.topic_ids))
        else:
            asked = each_once((topic.name, topic.partitions) for topic in request.topics)
        listed = []
        for name, partitions in asked.items():
            topic = image.topic(name)
            moving = () if topic is None else _moving(topic, partitions)
            if moving:
                listed.append(OngoingTopicReassignment(name=name, partitions=moving))
        return ListPartitionReassignmentsResponse(topics=tuple(listed))


def _moving(topic: TopicImage, partitions: Container[int] | None) -> tuple[OngoingPartitionReassignment, ...]:
    return tuple(
        OngoingPartitionReassignment(
            partition=index,
            replicas=state.replicas,
            adding_replicas=state.adding_replicas,
            removing_replicas=state.removing_replicas,
        )
        for index, state in enumerate(topic.partitions)
        if (partitions is None or index in partitions) and (state.adding_replicas or state.removing_replicas)
    )
