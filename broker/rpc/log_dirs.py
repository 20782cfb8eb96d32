"""DescribeLogDirs and AlterReplicaLogDirs (KIP-113): what this node's own directories hold, and moving replicas there.

Both are answered by the node that is asked, about itself: the SDK asks each broker.
"""

from broker.replication.directory_status import DirectoryStatus
from broker.rpc.limits import check_count
from broker.rpc.ports import Replicas
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import KafkaStorageError, KraftpyError
from kraftpy.pb.admin_pb2 import (
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    LogDirInfo,
    LogDirReplica,
)


class LogDirs:
    """The handlers."""

    def __init__(self, node_id: int, replicas: Replicas) -> None:
        self._node_id = node_id
        self._replicas = replicas

    async def describe(self, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse:
        """Every directory that is configured, those that failed too."""
        check_count(len(request.topics), "topics")
        statuses = await self._replicas.describe_directories(frozenset(request.topics))
        return DescribeLogDirsResponse(broker_id=self._node_id, directories=map(_info, statuses))

    async def alter(self, request: AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse:
        """Each move stands or falls alone; it is begun, not done, when this returns."""
        check_count(len(request.moves), "moves")
        response = AlterReplicaLogDirsResponse()
        for move in request.moves:
            moved = response.moves.add(topic=move.topic, partition=move.partition)
            try:
                self._replicas.move_replica(move.topic, move.partition, move.path)
            except KraftpyError as error:
                moved.error, moved.error_message = code_of(error), error.message
        return response


def _info(status: DirectoryStatus) -> LogDirInfo:
    return LogDirInfo(
        path=status.path,
        directory_id=b"" if status.directory_id is None else status.directory_id.bytes,
        error=code_of(KafkaStorageError) if status.error else NO_ERROR,
        error_message=status.error,
        total_bytes=status.total_bytes,
        usable_bytes=status.usable_bytes,
        replicas=[
            LogDirReplica(
                topic=replica.topic,
                partition=replica.partition,
                size_bytes=replica.size_bytes,
                offset_lag=replica.offset_lag,
                is_future=replica.is_future,
            )
            for replica in status.replicas
        ],
    )
