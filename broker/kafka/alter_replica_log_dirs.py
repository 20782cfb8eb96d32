"""AlterReplicaLogDirs (key 34), versions 1–2: replicas move between the directories of this broker (KIP-113).

A move is begun, not done, when the answer comes; DescribeLogDirs shows how far it is.
"""

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.alter_replica_log_dirs import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    AlterReplicaLogDirPartitionResult,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    AlterReplicaLogDirTopicResult,
)
from broker.kafka.ports import Replicas
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import KraftpyError


class AlterReplicaLogDirs:
    """The handler."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    def api(self) -> Api:
        return message_api(
            ApiKey.ALTER_REPLICA_LOG_DIRS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            AlterReplicaLogDirsRequest,
            AlterReplicaLogDirsResponse,
            self._respond,
        )

    async def _respond(self, request: AlterReplicaLogDirsRequest, header: Request) -> AlterReplicaLogDirsResponse:
        topics: dict[str, list[AlterReplicaLogDirPartitionResult]] = {}
        for directory in request.dirs:
            for topic in directory.topics:
                results = topics.setdefault(topic.name, [])
                results += [self._move(topic.name, partition, directory.path) for partition in topic.partitions]
        return AlterReplicaLogDirsResponse(
            results=tuple(
                AlterReplicaLogDirTopicResult(topic_name=name, partitions=tuple(results))
                for name, results in topics.items()
            )
        )

    def _move(self, topic: str, partition: int, path: str) -> AlterReplicaLogDirPartitionResult:
        error = NO_ERROR
        try:
            self._replicas.move_replica(topic, partition, path)
        except KraftpyError as refusal:
            error = code_of(refusal)
        return AlterReplicaLogDirPartitionResult(partition=partition, error=error)
