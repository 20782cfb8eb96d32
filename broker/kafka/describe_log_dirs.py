"""DescribeLogDirs (key 35), versions 1–5: what this broker's log directories hold (KIP-113, 827, 1066).

Every configured directory is told of, those that failed too. A broker that is cordoned (`cordoned.log.dirs=*`) has all
of them cordoned.
"""

from collections.abc import Container, Iterable, Mapping

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.describe_log_dirs import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)
from broker.kafka.ports import ClusterView, Replicas
from broker.kafka.topic_names import each_once
from broker.metadata.effective import is_cordoned
from broker.replication.directory_status import DirectoryStatus, ReplicaInDirectory
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import KafkaStorageError


class DescribeLogDirs:
    """The handler."""

    def __init__(self, replicas: Replicas, view: ClusterView, node_id: int) -> None:
        self._replicas = replicas
        self._view = view
        self._node_id = node_id

    def api(self) -> Api:
        return message_api(
            ApiKey.DESCRIBE_LOG_DIRS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            DescribeLogDirsRequest,
            DescribeLogDirsResponse,
            self._respond,
        )

    async def _respond(self, request: DescribeLogDirsRequest, header: Request) -> DescribeLogDirsResponse:
        named = request.topics
        wanted = None if named is None else each_once((topic.topic, topic.partitions) for topic in named)
        statuses = await self._replicas.describe_directories(frozenset(wanted or ()))
        cordoned = is_cordoned(self._view.image, self._node_id)
        return DescribeLogDirsResponse(results=tuple(_result(each, wanted, cordoned) for each in statuses))


def _result(
    status: DirectoryStatus, wanted: Mapping[str, Container[int]] | None, cordoned: bool
) -> DescribeLogDirsResult:
    told = [
        replica for replica in status.replicas if wanted is None or replica.partition in wanted.get(replica.topic, ())
    ]
    return DescribeLogDirsResult(
        error=code_of(KafkaStorageError) if status.error else NO_ERROR,
        log_dir=status.path,
        topics=tuple(_by_topic(told)),
        total_bytes=status.total_bytes,
        usable_bytes=status.usable_bytes,
        is_cordoned=cordoned,
    )


def _by_topic(replicas: Iterable[ReplicaInDirectory]) -> Iterable[DescribeLogDirsTopic]:
    topics: dict[str, list[DescribeLogDirsPartition]] = {}
    for each in replicas:
        topics.setdefault(each.topic, []).append(
            DescribeLogDirsPartition(
                partition=each.partition,
                partition_size=each.size_bytes,
                offset_lag=each.offset_lag,
                is_future_key=each.is_future,
            )
        )
    for name, partitions in topics.items():
        yield DescribeLogDirsTopic(name=name, partitions=tuple(partitions))
