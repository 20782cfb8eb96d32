"""DeleteRecords (key 21), versions 0–2: logs begin later from now on (KIP-107). The leaders answer.

The answer waits for followers, which take over the new start with their next fetch, for the request's time at most.
"""

import asyncio
from itertools import islice

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.delete_records import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    DeleteRecordsPartition,
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
)
from broker.kafka.ports import Replicas
from kraftpy.error_codes import code_of
from kraftpy.errors import KraftpyError


class DeleteRecords:
    """The handler."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    def api(self) -> Api:
        return message_api(
            ApiKey.DELETE_RECORDS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            DeleteRecordsRequest,
            DeleteRecordsResponse,
            self._respond,
        )

    async def _respond(self, request: DeleteRecordsRequest, header: Request) -> DeleteRecordsResponse:
        asked = [(topic.name, partition) for topic in request.topics for partition in topic.partitions]
        done = iter(await asyncio.gather(*[self._delete(name, each, request.timeout_ms) for name, each in asked]))
        topics = [
            DeleteRecordsTopicResult(name=topic.name, partitions=tuple(islice(done, len(topic.partitions))))
            for topic in request.topics
        ]
        return DeleteRecordsResponse(topics=tuple(topics))

    async def _delete(self, topic: str, asked: DeleteRecordsPartition, timeout_ms: int) -> DeleteRecordsPartitionResult:
        try:
            low_watermark = await self._replicas.delete_records(topic, asked.partition, asked.offset, timeout_ms)
        except KraftpyError as error:
            return DeleteRecordsPartitionResult(partition=asked.partition, low_watermark=-1, error=code_of(error))
        return DeleteRecordsPartitionResult(partition=asked.partition, low_watermark=low_watermark)
