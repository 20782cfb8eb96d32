"""The fake cluster behind real gRPC servers on loopback."""

from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

from kraftpy.pb import client_pb2
from kraftpy.runtime.grpc_transport import GrpcTransport
from kraftpy.runtime.ports import Address, Methods, Server
from tests.client.fake_broker import FakeCluster

UNARY = {
    "Client": ("GetMetadata", "Fetch", "ListOffsets", "InitProducerId"),
    "Admin": (
        "CreateTopics",
        "DeleteTopics",
        "CreatePartitions",
        "DeleteRecords",
        "DescribeConfigs",
        "AlterConfigs",
        "ElectLeaders",
        "DescribeCluster",
        "DescribeQuorum",
        "TransferQuorumLeadership",
    ),
}


class GrpcCluster:
    """`async with GrpcCluster(cluster)`: its nodes listen on ports of their own, and its addresses are theirs."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self._transport = GrpcTransport()
        self._servers: dict[int, Server] = {}

    async def __aenter__(self) -> Self:
        for node_id in list(self.cluster.nodes):
            await self.start(node_id, Address("127.0.0.1", 0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node_id in list(self._servers):
            await self.stop(node_id)
        await self._transport.close()

    async def start(self, node_id: int, address: Address) -> None:
        unary = {
            f"/kraftpy.pb.{service}/{method}": self._handler(node_id, method)
            for service, methods in UNARY.items()
            for method in methods
        }
        if self.cluster.services is not None:
            unary |= self.cluster.services(node_id).unary
        stream = {"/kraftpy.pb.Client/Produce": self._produce(node_id)}
        self._servers[node_id] = await self._transport.serve(address, Methods(unary, stream))
        self.cluster.nodes[node_id] = self._servers[node_id].address
        self.cluster.down.discard(node_id)

    async def stop(self, node_id: int) -> None:
        self.cluster.down.add(node_id)
        await self._servers.pop(node_id).stop()

    def _handler(self, node_id: int, method: str) -> Callable[[bytes], Awaitable[bytes]]:
        async def handle(request: bytes) -> bytes:
            self.cluster.requests.append((node_id, method))
            answer: bytes = await getattr(self.cluster, "_" + method)(node_id, request)
            return answer

        return handle

    def _produce(
        self, node_id: int
    ) -> Callable[[AsyncIterator[bytes], Callable[[bytes], Awaitable[None]]], Awaitable[None]]:
        async def handle(requests: AsyncIterator[bytes], send: Callable[[bytes], Awaitable[None]]) -> None:
            async for data in requests:
                request = client_pb2.ProduceRequest.FromString(data)
                answer = self.cluster.produce(node_id, request)
                if request.acks != 0:
                    await send(answer.SerializeToString())

        return handle
