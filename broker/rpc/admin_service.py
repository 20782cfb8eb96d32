"""The Admin service of every node.

| method | answered by |
|---|---|
| CreateTopics, DeleteTopics, CreatePartitions, AlterConfigs | the active controller, through `ControllerLink` |
| ElectLeaders, DescribeQuorum, TransferQuorumLeadership | the same |
| AlterPartitionReassignments, UnregisterBroker | the same |
| AddRaftVoter, RemoveRaftVoter, DescribeFeatures, UpdateFeatures | the same |
| DescribeCluster | this node, from the metadata that it has applied |
| DescribeConfigs | the same; of another broker, that broker (`describing_configs`) |
| ListPartitionReassignments | this node; how far replicas are, their leaders (`listing_reassignments`) |
| DeleteRecords | this node, as the leader of the partitions |
| DescribeLogDirs, AlterReplicaLogDirs | this node, of itself (`log_dirs`) |
| DescribeMetrics | the same (`metrics`) |
| DigestReplica | the same (`digests`) |

What goes to the controller passes as it came: only the controller reads it. Where there is no answer, because no
controller is known or it is silent, the response says so, item by item where it has nothing but items.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from broker.config import NodeConfig
from broker.maintenance.jobs import Digester
from broker.metrics import AllOf, Observed
from broker.rpc.describing_configs import DescribingConfigs
from broker.rpc.digests import Digests
from broker.rpc.limits import check_count
from broker.rpc.listing_reassignments import ListingReassignments
from broker.rpc.log_dirs import LogDirs
from broker.rpc.metadata_answers import broker_infos
from broker.rpc.methods import decode, full_name, unary
from broker.rpc.metrics import Metrics
from broker.rpc.ports import ControllerLink, ImageSource, Replicas
from kraftpy.error_codes import code_of
from kraftpy.errors import KraftpyError
from kraftpy.pb import admin_pb2
from kraftpy.runtime.ports import Methods, Transport, UnaryHandler

SERVICE = "Admin"
TIMEOUT_MS = 30_000
"""For a request that does not say how long it may take."""
TIMEOUT_MAX_MS = 120_000

M = TypeVar("M", bound=Message)


class AdminService:
    """See the module's docstring."""

    def __init__(
        self,
        view: ImageSource,
        config: NodeConfig,
        link: ControllerLink,
        replicas: Replicas,
        transport: Transport,
        observed: Observed | None = None,
        digester: Digester | None = None,
    ) -> None:
        """`transport` asks other brokers what they were started with. `observed`: this node, for DescribeMetrics.
        `digester` makes checksums, elsewhere."""
        self._view = view
        self._config = config
        self._link = link
        self._replicas = replicas
        self._log_dirs = LogDirs(config.node_id, replicas)
        self._digests = Digests(config.node_id, replicas, digester)
        self._metrics = Metrics(config.node_id, observed or AllOf())
        self._describing_configs = DescribingConfigs(view, config, transport)
        self._listing_reassignments = ListingReassignments(config.node_id, view, replicas, transport)

    def methods(self) -> Methods:
        local = unary(
            SERVICE,
            {
                "DescribeCluster": (admin_pb2.DescribeClusterRequest, self._describe_cluster),
                "DescribeConfigs": (admin_pb2.DescribeConfigsRequest, self._describing_configs.describe),
                "ListPartitionReassignments": (
                    admin_pb2.ListPartitionReassignmentsRequest,
                    self._listing_reassignments.reassignments,
                ),
                "DescribeLogDirs": (admin_pb2.DescribeLogDirsRequest, self._log_dirs.describe),
                "AlterReplicaLogDirs": (admin_pb2.AlterReplicaLogDirsRequest, self._log_dirs.alter),
                "DescribeMetrics": (admin_pb2.DescribeMetricsRequest, self._metrics.describe),
                "DigestReplica": (admin_pb2.DigestReplicaRequest, self._digests.digest),
                "DeleteRecords": (admin_pb2.DeleteRecordsRequest, self._delete_records),
            },
        )
        forwarded = {
            full_name(SERVICE, name): self._forwarded(name, request, refused)
            for name, (request, refused) in _FORWARDED.items()
        }
        return Methods({**local, **forwarded}, {})

    def _forwarded(self, method: str, request_class: type[Message], refused: "Refused") -> UnaryHandler:
        async def serve(data: bytes) -> bytes:
            request = decode(request_class, data)
            timeout_ms = getattr(request, "timeout_ms", 0)
            try:
                return await self._link.run(
                    method, data, min(timeout_ms, TIMEOUT_MAX_MS) if timeout_ms > 0 else TIMEOUT_MS
                )
            except KraftpyError as error:
                return refused(request, error).SerializeToString()

        return serve

    # --- local

    async def _describe_cluster(self, request: admin_pb2.DescribeClusterRequest) -> admin_pb2.DescribeClusterResponse:
        view = self._view
        image, controller_id = view.image, view.controller_id
        return admin_pb2.DescribeClusterResponse(
            cluster_id=view.cluster_id,
            controller_id=-1 if controller_id is None else controller_id,
            brokers=broker_infos(image, self._config.replication.listener_name, fenced_too=request.include_fenced),
            features=image.features,
            metadata_offset=image.end_offset,
        )

    async def _delete_records(self, request: admin_pb2.DeleteRecordsRequest) -> admin_pb2.DeleteRecordsResponse:
        check_count(len(request.partitions), "partitions")
        response = admin_pb2.DeleteRecordsResponse()

        async def delete(part: admin_pb2.DeleteRecordsPartition) -> None:
            deleted = response.partitions.add(topic=part.topic, partition=part.partition, low_watermark=-1)
            try:
                deleted.low_watermark = await self._replicas.delete_records(
                    part.topic, part.partition, part.before_offset, request.timeout_ms
                )
            except KraftpyError as error:
                deleted.error = code_of(error)

        await asyncio.gather(*[delete(part) for part in request.partitions])
        return response


# --- refusals of what was to be forwarded ----------------------------------------------------------------------------

Refused = Callable[[Any, KraftpyError], Message]
"""The response to a request that nobody has run."""


def _topics_refused(
    request: admin_pb2.CreateTopicsRequest | admin_pb2.CreatePartitionsRequest, error: KraftpyError
) -> admin_pb2.TopicResults:
    return _names_refused([topic.name for topic in request.topics], error)


def _names_refused(names: list[str], error: KraftpyError) -> admin_pb2.TopicResults:
    code, message = code_of(error), error.message
    return admin_pb2.TopicResults(
        topics=[admin_pb2.TopicResult(name=name, error=code, error_message=message) for name in names]
    )


def _deletion_refused(request: admin_pb2.DeleteTopicsRequest, error: KraftpyError) -> admin_pb2.TopicResults:
    return _names_refused([*request.names, *[""] * len(request.topic_ids)], error)


def _configs_refused(request: admin_pb2.AlterConfigsRequest, error: KraftpyError) -> admin_pb2.AlterConfigsResponse:
    code, message = code_of(error), error.message
    return admin_pb2.AlterConfigsResponse(
        resources=[
            admin_pb2.AlteredConfigs(resource=each.resource, error=code, error_message=message)
            for each in request.resources
        ]
    )


def _quorum_refused(request: Message, error: KraftpyError) -> admin_pb2.DescribeQuorumResponse:
    return admin_pb2.DescribeQuorumResponse(
        error=code_of(error), error_message=error.message, leader_id=-1, leader_epoch=-1, high_watermark=-1
    )


def _as_a_whole(response: Callable[..., Message]) -> Refused:
    """Of a response that says once what became of all."""

    def refused(request: Message, error: KraftpyError) -> Message:
        return response(error=code_of(error), error_message=error.message)

    return refused


_FORWARDED: dict[str, tuple[type[Message], Refused]] = {
    "CreateTopics": (admin_pb2.CreateTopicsRequest, _topics_refused),
    "DeleteTopics": (admin_pb2.DeleteTopicsRequest, _deletion_refused),
    "CreatePartitions": (admin_pb2.CreatePartitionsRequest, _topics_refused),
    "AlterConfigs": (admin_pb2.AlterConfigsRequest, _configs_refused),
    "ElectLeaders": (admin_pb2.ElectLeadersRequest, _as_a_whole(admin_pb2.ElectLeadersResponse)),
    "AlterPartitionReassignments": (
        admin_pb2.AlterPartitionReassignmentsRequest,
        _as_a_whole(admin_pb2.AlterPartitionReassignmentsResponse),
    ),
    "UnregisterBroker": (admin_pb2.UnregisterBrokerRequest, _as_a_whole(admin_pb2.UnregisterBrokerResponse)),
    "DescribeQuorum": (admin_pb2.DescribeQuorumRequest, _quorum_refused),
    "TransferQuorumLeadership": (
        admin_pb2.TransferQuorumLeadershipRequest,
        _as_a_whole(admin_pb2.TransferQuorumLeadershipResponse),
    ),
    "AddRaftVoter": (admin_pb2.AddRaftVoterRequest, _as_a_whole(admin_pb2.VoterChangeResponse)),
    "RemoveRaftVoter": (admin_pb2.RemoveRaftVoterRequest, _as_a_whole(admin_pb2.VoterChangeResponse)),
    "DescribeFeatures": (admin_pb2.DescribeFeaturesRequest, _as_a_whole(admin_pb2.DescribeFeaturesResponse)),
    "UpdateFeatures": (admin_pb2.UpdateFeaturesRequest, _as_a_whole(admin_pb2.UpdateFeaturesResponse)),
}
