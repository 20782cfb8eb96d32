"""What each node tells of itself, asked of each node."""

import asyncio
from collections.abc import Sequence

from kraftpy.client.admin_values import Metric, NodeDescription, NodeMetrics
from kraftpy.client.any_node import Deadline
from kraftpy.client.wire import ADMIN, ClientPorts, as_kraftpy_error
from kraftpy.errors import KraftpyError
from kraftpy.pb import admin_pb2
from kraftpy.runtime.ports import Address, TransportError

ANSWER_MS = 3_000
"""Silence of one node until it counts as not reachable."""


async def describe_metrics(
    ports: ClientPorts, nodes: Sequence[NodeDescription], deadline: Deadline
) -> dict[int, NodeMetrics | KraftpyError]:
    """What each node tells, or why it does not (an older release does not)."""
    answers = await asyncio.gather(*[_ask(ports, node, deadline) for node in nodes])
    return {node.node_id: answer for node, answer in zip(nodes, answers, strict=True)}


async def _ask(ports: ClientPorts, node: NodeDescription, deadline: Deadline) -> NodeMetrics | KraftpyError:
    request, answer_type = admin_pb2.DescribeMetricsRequest(), admin_pb2.DescribeMetricsResponse
    address = Address(node.host, node.port)
    try:
        answer = await ports.call(
            address, ADMIN + "DescribeMetrics", request, answer_type, min(deadline.left_ms, ANSWER_MS)
        )
    except TransportError as error:
        return as_kraftpy_error(error)
    metrics = tuple(Metric(metric.name, metric.value, dict(metric.labels)) for metric in answer.metrics)
    return NodeMetrics(node.node_id, metrics, tuple(answer.problems))
