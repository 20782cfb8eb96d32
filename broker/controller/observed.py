"""How the controller of this node does, for metrics.

Every node that may lead the quorum has one; the figures of the cluster are the sums over the nodes.
"""

from broker.controller.shell import Controller
from broker.metrics import Metric

CONTROLLER = "kafka_controller_kafkacontroller_"


class ObservedController:
    """That of one controller."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def metrics(self) -> list[Metric]:
        """What is counted is counted since the process began, and only where it was active."""
        now = self._controller.statistics
        return [
            Metric(f"{CONTROLLER}activecontrollercount", int(now.is_active)),
            Metric("kafka_controller_controllerstats_uncleanleaderelections_total", now.unclean_elections),
            Metric("kraftpy_controller_brokers_fenced_total", now.brokers_fenced),
            Metric("kraftpy_controller_commands_in_flight", now.commands_in_flight),
        ]

    def problems(self) -> list[str]:
        """What the metadata shows is told from there; an unclean election is over once it is known."""
        return []
