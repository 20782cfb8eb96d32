"""DescribeMetrics: the asked node's own numbers and problems. The SDK asks each node."""

from broker.metrics import Observed
from kraftpy.pb.admin_pb2 import DescribeMetricsRequest, DescribeMetricsResponse, Metric

PROBLEMS_MAX = 100


class Metrics:
    """The handler."""

    def __init__(self, node_id: int, observed: Observed) -> None:
        self._node_id = node_id
        self._observed = observed

    async def describe(self, request: DescribeMetricsRequest) -> DescribeMetricsResponse:
        """All of them; of the problems, the first."""
        return DescribeMetricsResponse(
            node_id=self._node_id,
            metrics=[
                Metric(name=metric.name, labels=metric.labels, value=metric.value)
                for metric in self._observed.metrics()
            ],
            problems=self._observed.problems()[:PROBLEMS_MAX],
        )
