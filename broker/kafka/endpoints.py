"""Where clients are told to find brokers. Pure."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AdvertisedEndpoint:
    """Where clients reach a broker, on the listener that they use."""

    broker_id: int
    host: str
    port: int
    rack: str | None = None


EndpointOf = Callable[[int], AdvertisedEndpoint | None]
"""The endpoint of a broker by its id; None while nobody knows it."""


def no_endpoint(broker_id: int) -> AdvertisedEndpoint | None:
    """Knows no broker: clients find leaders by their metadata."""
    return None
