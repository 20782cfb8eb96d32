"""What the Kafka listener's handlers ask of the broker."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from broker.replication.fetch_types import FetchAnswer, FetchQuery, FoundOffset, OffsetsQuery


class Replicas(Protocol):
    """The partitions on this broker. `broker.replication.replicas.Replicas` is one."""

    async def fetch(self, query: FetchQuery) -> FetchAnswer:
        """Read, and wait for more where the query says so. Refusals are in the answer."""

    async def list_offsets(self, query: OffsetsQuery) -> list[FoundOffset]:
        """One answer for each target, in order."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where clients reach a broker, on the listener that they use."""

    broker_id: int
    host: str
    port: int
    rack: str | None = None


EndpointOf = Callable[[int], Endpoint | None]
"""The endpoint of a broker by its id; None while nobody knows it."""


def no_endpoint(broker_id: int) -> Endpoint | None:
    """Knows no broker: clients find leaders by their metadata."""
    return None
