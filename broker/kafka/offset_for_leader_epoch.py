"""OffsetForLeaderEpoch (key 23), versions 2–4: where a leader epoch ends, for those who look whether their log, or what
they have read, parts from the leader's (KIP-101, 279, 320).

The leader alone answers. -1 twice: the epoch is above its own.
"""

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.offset_for_leader_epoch import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
)
from broker.kafka.ports import Replicas
from broker.replication.offsets import end_of_epoch
from kraftpy.error_codes import code_of
from kraftpy.errors import KraftpyError


class OffsetForLeaderEpoch:
    """The handler."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    def api(self) -> Api:
        return message_api(
            ApiKey.OFFSET_FOR_LEADER_EPOCH,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            OffsetForLeaderEpochRequest,
            OffsetForLeaderEpochResponse,
            self._respond,
        )

    async def _respond(self, request: OffsetForLeaderEpochRequest, header: Request) -> OffsetForLeaderEpochResponse:
        return OffsetForLeaderEpochResponse(
            topics=tuple(
                OffsetForLeaderTopicResult(
                    topic=topic.topic, partitions=tuple(self._end_of(topic.topic, asked) for asked in topic.partitions)
                )
                for topic in request.topics
            )
        )

    def _end_of(self, topic: str, asked: OffsetForLeaderPartition) -> EpochEndOffset:
        try:
            partition = self._replicas.partition(topic, asked.partition)
            epoch, end_offset = end_of_epoch(partition, asked.current_leader_epoch, asked.leader_epoch)
        except KraftpyError as error:
            return EpochEndOffset(error=code_of(error), partition=asked.partition)
        return EpochEndOffset(partition=asked.partition, leader_epoch=epoch, end_offset=end_offset)
