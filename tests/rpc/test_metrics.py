"""DescribeMetrics on the wire, the SDK that asks each node, and health that listens to what nodes complain of."""

import asyncio
from random import Random
from typing import cast

import pytest

from broker.metrics import AllOf, Metric
from broker.rpc.methods import full_name, unary
from broker.rpc.metrics import PROBLEMS_MAX, Metrics
from kraftpy.aio import Admin
from kraftpy.client.admin_values import Metric as ToldMetric
from kraftpy.errors import BrokerNotAvailableError
from kraftpy.pb import admin_pb2 as pb
from kraftpy.pb import client_pb2
from kraftpy.pb.client_pb2 import BrokerInfo
from kraftpy.runtime.clock import SystemClock
from kraftpy.runtime.ports import Address, Transport, Unreachable


class Part:
    def __init__(self, metrics: list[Metric], problems: list[str]) -> None:
        self._told = (metrics, problems)

    def metrics(self) -> list[Metric]:
        return self._told[0]

    def problems(self) -> list[str]:
        return self._told[1]


SICK = AllOf(
    Part([Metric("b", 2.5, {"logDirectory": "/y"}), Metric("b", 1, {"logDirectory": "/x"})], ["x is ill: help it"]),
    Part([Metric("a", 7)], []),
)


class Nodes:
    """1 is well, 2 is not, 3 does not answer although nobody has fenced it."""

    def __init__(self) -> None:
        parts = {1: AllOf(), 2: SICK}
        self.methods = {
            number: unary("Admin", {"DescribeMetrics": (pb.DescribeMetricsRequest, Metrics(number, part).describe)})
            for number, part in parts.items()
        }

    async def call(self, address: Address, method: str, request: bytes, timeout_ms: int) -> bytes:
        nodes = [BrokerInfo(id=number, host=f"n{number}", port=1) for number in (1, 2, 3)]
        if method == full_name("Admin", "DescribeCluster"):
            return pb.DescribeClusterResponse(cluster_id="c", controller_id=1, brokers=nodes).SerializeToString()
        if method == full_name("Client", "GetMetadata"):
            return client_pb2.MetadataResponse(brokers=nodes).SerializeToString()
        number = int(address.host[1:])
        if number not in self.methods:
            raise Unreachable(f"{address}: refused")
        return await self.methods[number][method](request)

    async def close(self) -> None:
        pass

    def admin(self) -> Admin:
        return Admin("n1:1", _transport=cast(Transport, self), _clock=SystemClock(), _random=Random(1))


def test_each_node_tells_of_itself() -> None:
    async def story() -> None:
        async with Nodes().admin() as admin:
            well, sick = await admin.describe_metrics([1, 2])
            assert (well.metrics, well.problems) == ((), ())
            assert sick.metrics == (
                ToldMetric("a", 7.0, {}),
                ToldMetric("b", 1.0, {"logDirectory": "/x"}),
                ToldMetric("b", 2.5, {"logDirectory": "/y"}),
            )
            assert (sick.node_id, sick.value("b"), sick.problems) == (2, 3.5, ("x is ill: help it",))
            with pytest.raises(KeyError):
                sick.value("c")
            for broker, said in ((3, "broker 3: "), (9, "there is no broker 9")):
                with pytest.raises(Exception, match=said):
                    await admin.describe_metrics([broker])
            with pytest.raises(BrokerNotAvailableError):
                await admin.describe_metrics([9])

    asyncio.run(story())


def test_health_listens_to_nodes_and_passes_over_who_is_silent() -> None:
    async def story() -> None:
        async with Nodes().admin() as admin:
            health = await admin.cluster_health()
            assert health.problems == ("broker 2: x is ill: help it",)
            assert not health.healthy
            assert (await admin.cluster_health(ask_nodes=False)).healthy

    asyncio.run(story())


def test_problems_are_bounded() -> None:
    async def story() -> None:
        service = Metrics(1, Part([], ["trouble"] * (PROBLEMS_MAX + 1)))
        assert len((await service.describe(pb.DescribeMetricsRequest())).problems) == PROBLEMS_MAX

    asyncio.run(story())
