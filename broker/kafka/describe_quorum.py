"""DescribeQuorum (key 55), versions 0–2: the metadata quorum's leader, voters and observers (KIP-595, 836, 853).

Its one partition is called `__cluster_metadata`, 0. When a replica last fetched, and was last caught up, is told by
this node's clock, from the ages that the leader tells.
"""

from collections.abc import Callable, Iterable
from uuid import UUID

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.controller_calls import ask_controller
from broker.kafka.messages.describe_quorum import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    AskedPartition,
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    Listener,
    Node,
    QuorumPartition,
    QuorumTopic,
    ReplicaState,
)
from broker.metadata.records import GRPC_LISTENER
from broker.rpc.ports import ControllerLink
from kraftpy.error_codes import code_of
from kraftpy.errors import KraftpyError, UnknownTopicOrPartitionError
from kraftpy.pb import admin_pb2
from log_store.file_names import QUORUM_TOPIC

QUORUM_PARTITION = 0
UNKNOWN = -1


class DescribeQuorum:
    """The handler."""

    def __init__(self, link: ControllerLink, wall_ms: Callable[[], int]) -> None:
        self._link = link
        self._wall_ms = wall_ms

    def api(self) -> Api:
        return message_api(
            ApiKey.DESCRIBE_QUORUM,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            DescribeQuorumRequest,
            DescribeQuorumResponse,
            self._respond,
        )

    async def _respond(self, request: DescribeQuorumRequest, header: Request) -> DescribeQuorumResponse:
        try:
            told = await ask_controller(
                self._link, "DescribeQuorum", admin_pb2.DescribeQuorumRequest(), admin_pb2.DescribeQuorumResponse
            )
        except KraftpyError as error:
            return DescribeQuorumResponse(error=code_of(error), error_message=error.message, topics=())
        topics = tuple(
            QuorumTopic(
                topic_name=topic.topic_name,
                partitions=tuple(self._partition(topic.topic_name, each, told) for each in topic.partitions),
            )
            for topic in request.topics
        )
        return DescribeQuorumResponse(error_message=None, topics=topics, nodes=tuple(_nodes(told)))

    def _partition(self, topic: str, asked: AskedPartition, told: admin_pb2.DescribeQuorumResponse) -> QuorumPartition:
        if (topic, asked.partition) != (QUORUM_TOPIC, QUORUM_PARTITION):
            error = UnknownTopicOrPartitionError(f"the quorum has no partition {topic}-{asked.partition}")
            return QuorumPartition(
                partition=asked.partition,
                error=code_of(error),
                error_message=error.message,
                leader_id=UNKNOWN,
                leader_epoch=UNKNOWN,
                high_watermark=UNKNOWN,
                current_voters=(),
                observers=(),
            )
        return QuorumPartition(
            partition=asked.partition,
            error_message=None,
            leader_id=told.leader_id,
            leader_epoch=told.leader_epoch,
            high_watermark=told.high_watermark,
            current_voters=tuple(map(self._replica, told.voters)),
            observers=tuple(map(self._replica, told.observers)),
        )

    def _replica(self, told: admin_pb2.QuorumReplica) -> ReplicaState:
        return ReplicaState(
            replica_id=told.node_id,
            replica_directory_id=UUID(bytes=told.directory_id) if told.directory_id else None,
            log_end_offset=told.log_end_offset,
            last_fetch_timestamp=self._time_of(told.last_fetch_age_ms),
            last_caught_up_timestamp=self._time_of(told.last_caught_up_age_ms),
        )

    def _time_of(self, age_ms: int) -> int:
        return UNKNOWN if age_ms < 0 else self._wall_ms() - age_ms


def _nodes(told: admin_pb2.DescribeQuorumResponse) -> Iterable[Node]:
    for each in told.voters:
        yield Node(node_id=each.node_id, listeners=(Listener(name=GRPC_LISTENER, host=each.host, port=each.port),))
