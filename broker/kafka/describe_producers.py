"""DescribeProducers (key 61), version 0: the producers that a replica here remembers, leader or follower (KIP-664).

Kafka's tool finds by it transactions that nobody ends any more.
"""

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.describe_producers import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    DescribeProducersRequest,
    DescribeProducersResponse,
    PartitionResponse,
    ProducerState,
    TopicResponse,
)
from broker.kafka.ports import Replicas
from broker.kafka.topic_names import each_once
from kraftpy.error_codes import code_of
from kraftpy.errors import KraftpyError
from log_store.producer_state import ProducerEntry


class DescribeProducers:
    """The handler."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    def api(self) -> Api:
        return message_api(
            ApiKey.DESCRIBE_PRODUCERS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            DescribeProducersRequest,
            DescribeProducersResponse,
            self._respond,
        )

    async def _respond(self, request: DescribeProducersRequest, header: Request) -> DescribeProducersResponse:
        asked = each_once((topic.name, topic.partitions) for topic in request.topics)
        return DescribeProducersResponse(
            topics=tuple(
                TopicResponse(name=name, partitions=tuple(self._described(name, each) for each in partitions))
                for name, partitions in asked.items()
            )
        )

    def _described(self, topic: str, index: int) -> PartitionResponse:
        try:
            producers = self._replicas.describe_producers(topic, index)
        except KraftpyError as error:
            return PartitionResponse(
                partition=index, error=code_of(error), error_message=error.message, active_producers=()
            )
        return PartitionResponse(partition=index, active_producers=tuple(map(_state, producers)))


def _state(entry: ProducerEntry) -> ProducerState:
    return ProducerState(
        producer_id=entry.producer_id,
        producer_epoch=entry.epoch,
        last_sequence=entry.last_sequence,
        last_timestamp=entry.timestamp_ms,
        coordinator_epoch=entry.coordinator_epoch,
        current_txn_start_offset=entry.transaction_start,
    )
