"""What a node tells of itself to whoever watches it: numbers by name, and problems as sentences.

Names are those that Prometheus users know from Kafka's exporter, where Kafka has the same thing, and begin with
`kraftpy_` where it has not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Metric:
    """One number, as of now."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


class Observed(Protocol):
    """Somebody who can be asked how it stands."""

    def metrics(self) -> list[Metric]: ...

    def problems(self) -> list[str]:
        """What an operator should look after, each with what to do."""


class AllOf:
    """Several, as one."""

    def __init__(self, *parts: Observed) -> None:
        self._parts = parts

    def metrics(self) -> list[Metric]:
        """By name, and then by labels."""
        found = [metric for part in self._parts for metric in part.metrics()]
        return sorted(found, key=lambda metric: (metric.name, sorted(metric.labels.items())))

    def problems(self) -> list[str]:
        return [problem for part in self._parts for problem in part.problems()]
