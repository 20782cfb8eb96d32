"""DescribeConfigs: answered here from the metadata, but for what another broker was started with: that one is asked.

A question that was passed on once is never passed on again: whoever gets it answers it.
"""

import asyncio

from google.protobuf.message import DecodeError

from broker.config import NodeConfig
from broker.metadata.records import ResourceType
from broker.metadata.serving import is_in_service
from broker.rpc.admin_requests import config_resource
from broker.rpc.described_configs import default_entries, dynamic_entries, own_entries, topic_entries
from broker.rpc.limits import Repeats, check_count
from broker.rpc.methods import full_name
from broker.rpc.ports import ImageSource
from kraftpy.error_codes import code_of
from kraftpy.errors import (
    BrokerIdNotRegisteredError,
    BrokerNotAvailableError,
    InvalidRequestError,
    KraftpyError,
    LeaderNotAvailableError,
)
from kraftpy.pb.admin_pb2 import (
    ConfigEntry,
    ConfigResource,
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    DescribedConfigs,
)
from kraftpy.runtime.ports import Address, Refused, Transport, TransportError

METHOD = full_name("Admin", "DescribeConfigs")
NOT_JOINED = "the node has not joined the cluster yet"
"""What it has applied may be nothing, or of long ago: a topic that is not in it may be there."""
TIMEOUT_MS = 3_000
"""For the other broker's answer."""
REFUSED_AGAIN_MS = 100
"""Between two attempts to reach a broker that is in service: after a restart its peers' connections take a moment."""
TURN_RESOURCES = 10
"""Described between two turns of the loop: 10 ms."""
OTHERS_MAX = 100
"""Other brokers that one call may ask about."""


class DescribingConfigs:
    """The handler."""

    def __init__(self, view: ImageSource, config: NodeConfig, transport: Transport) -> None:
        self._view = view
        self._config = config
        self._transport = transport

    async def describe(self, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
        """One answer for each resource, in the request's order."""
        check_count(len(request.resources), "resources")
        others: dict[int, None] = {}
        for resource in request.resources:
            broker_id = self._other_broker(resource)
            if broker_id is not None and not request.passed_on:
                others[broker_id] = None
        if len(others) > OTHERS_MAX:
            error = InvalidRequestError(f"a call may ask about {OTHERS_MAX} other brokers, not {len(others)}")
            return DescribeConfigsResponse(resources=[_refused(each, error) for each in request.resources])
        answers = await asyncio.gather(*[self._ask(broker_id) for broker_id in others])
        told = dict(zip(others, answers, strict=True))
        response, repeats, size_bytes = DescribeConfigsResponse(), Repeats(), 0
        for number, resource in enumerate(request.resources, 1):
            try:
                repeats.check((resource.type, resource.name), size_bytes)
                described = self._described(resource, told)
            except KraftpyError as error:
                described = _refused(resource, error)
            response.resources.append(described)
            size_bytes += described.ByteSize()
            if number % TURN_RESOURCES == 0:
                await asyncio.sleep(0)
        return response

    def _other_broker(self, resource: ConfigResource) -> int | None:
        """The registered broker, other than this one, that the resource is."""
        name = resource.name
        if resource.type != ResourceType.BROKER or not _is_id(name) or int(name) == self._config.node_id:
            return None
        return int(name) if int(name) in self._view.image.brokers else None

    def _described(self, resource: ConfigResource, told: dict[int, DescribedConfigs]) -> DescribedConfigs:
        broker_id = self._other_broker(resource)
        if broker_id is not None and broker_id in told:
            return told[broker_id]
        return DescribedConfigs(resource=resource, entries=self._entries(resource))

    def _entries(self, resource: ConfigResource) -> list[ConfigEntry]:
        if not self._view.has_joined:
            raise LeaderNotAvailableError(NOT_JOINED)
        image = self._view.image
        kind, name = config_resource(resource)
        if kind is ResourceType.TOPIC:
            return topic_entries(image, name, self._config)
        if not name:
            return default_entries(image)
        if not _is_id(name):
            raise InvalidRequestError(f'"{name[:60]}" is no broker id')
        if int(name) == self._config.node_id:
            return own_entries(image, self._config)
        if int(name) not in image.brokers:
            raise BrokerIdNotRegisteredError(f"broker {name} is not registered")
        return dynamic_entries(image, int(name))

    async def _ask(self, broker_id: int) -> DescribedConfigs:
        """The broker's own answer; where there is none, an error that says so, with what the metadata knows."""
        resource = ConfigResource(type=ResourceType.BROKER, name=str(broker_id))
        request = DescribeConfigsRequest(resources=[resource], passed_on=True).SerializeToString()
        address = self._view.image.grpc_address(broker_id)
        try:
            if address is None:
                raise TransportError("nobody knows where it takes calls")
            answer = DescribeConfigsResponse.FromString(await self._call(broker_id, address, request))
        except (TransportError, DecodeError) as error:
            refusal = BrokerNotAvailableError(f"broker {broker_id} cannot tell what it was started with: {error}")
            refused = _refused(resource, refusal)
            refused.entries.extend(dynamic_entries(self._view.image, broker_id))
            return refused
        if len(answer.resources) != 1:
            return _refused(resource, BrokerNotAvailableError(f"broker {broker_id} gave another answer than was asked"))
        return answer.resources[0]

    async def _call(self, broker_id: int, address: Address, request: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + TIMEOUT_MS / 1_000
        while True:
            try:
                return await self._transport.call(address, METHOD, request, TIMEOUT_MS)
            except Refused:
                if loop.time() >= deadline_s or not is_in_service(self._view.image, broker_id):
                    raise
                await asyncio.sleep(REFUSED_AGAIN_MS / 1_000)


def _refused(resource: ConfigResource, error: KraftpyError) -> DescribedConfigs:
    return DescribedConfigs(resource=resource, error=code_of(error), error_message=error.message)


def _is_id(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) <= 10
