"""DescribeCluster (key 60), versions 0–2: the brokers, fenced ones from version 2 on (KIP-700, 919, 1073).

Controllers are not reached by Kafka's protocol, so who asks for their addresses is told that this is a broker.
"""

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.authorized import CLUSTER_OPERATIONS, NOT_ASKED
from broker.kafka.endpoints import EndpointOf
from broker.kafka.messages.describe_cluster import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)
from broker.kafka.metadata import told_controller
from broker.kafka.ports import ClusterView
from kraftpy.error_codes import code_of
from kraftpy.errors import KraftpyError, MismatchedEndpointTypeError, UnsupportedEndpointTypeError

BROKERS, CONTROLLERS = 1, 2


class DescribeCluster:
    """The handler."""

    def __init__(self, view: ClusterView, endpoint_of: EndpointOf) -> None:
        self._view = view
        self._endpoint_of = endpoint_of

    def api(self) -> Api:
        return message_api(
            ApiKey.DESCRIBE_CLUSTER,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            DescribeClusterRequest,
            DescribeClusterResponse,
            self._respond,
        )

    async def _respond(self, request: DescribeClusterRequest, header: Request) -> DescribeClusterResponse:
        if request.endpoint_type == CONTROLLERS:
            return self._refused(MismatchedEndpointTypeError("this is the listener of a broker, not of a controller"))
        if request.endpoint_type != BROKERS:
            refusal = UnsupportedEndpointTypeError(f"there are no endpoints of type {request.endpoint_type}")
            return self._refused(refusal)
        brokers = self._brokers(request.include_fenced_brokers)
        living = [each.broker_id for each in brokers if not each.is_fenced]
        operations = CLUSTER_OPERATIONS if request.include_cluster_authorized_operations else NOT_ASKED
        return DescribeClusterResponse(
            cluster_id=self._view.cluster_id,
            controller_id=told_controller(living, self._view.controller_id),
            brokers=brokers,
            cluster_authorized_operations=operations,
        )

    def _brokers(self, fenced_too: bool) -> tuple[DescribeClusterBroker, ...]:
        image = self._view.image
        listed = [broker_id for broker_id in sorted(image.brokers) if fenced_too or not image.brokers[broker_id].fenced]
        endpoints = [self._endpoint_of(broker_id) for broker_id in listed]
        return tuple(
            DescribeClusterBroker(
                broker_id=each.broker_id,
                host=each.host,
                port=each.port,
                rack=each.rack,
                is_fenced=image.brokers[each.broker_id].fenced,
            )
            for each in endpoints
            if each is not None
        )

    def _refused(self, error: KraftpyError) -> DescribeClusterResponse:
        return DescribeClusterResponse(
            error=code_of(error), error_message=error.message, cluster_id=self._view.cluster_id, brokers=()
        )
