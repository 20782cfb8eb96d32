"""Clients of Kafka's protocol at the port of the calls: they are closed, and a line of the log says where to go."""

from collections.abc import Sequence
from functools import partial

from broker.kafka.api import ApiKey
from broker.kafka.router import HEADER
from broker.kafka.told_lately import ToldLately, client_named
from broker.metadata.records import GRPC_LISTENER, Endpoint
from kraftpy.runtime.ports import Address, Clock, FrameHandler, FrameParts

API_KEYS = frozenset(ApiKey)
VERSIONS = range(32)
"""Of an API; Kafka's highest is far below."""


class Misdirected:
    """What the calls' port does with connections that make no calls. `open` is given to the transport."""

    def __init__(self, clock: Clock, endpoints: Sequence[Endpoint]) -> None:
        """`endpoints`: the node's listeners as clients reach them; more may come."""
        self._told: ToldLately[str] = ToldLately(clock)  # by host
        self._endpoints = endpoints

    def open(self, peer: Address) -> FrameHandler:
        return partial(self._refuse, peer)

    async def _refuse(self, peer: Address, frame: memoryview) -> FrameParts:
        """Raises `ConnectionError`; without words where they were said a moment ago."""
        raise ConnectionError(self._told.line(peer.host, lambda: self._advice(frame)))

    def _advice(self, frame: memoryview) -> str:
        client = _kafka_client(frame)
        if client is None:
            return "it speaks neither gRPC, as everybody does at this port, nor Kafka's protocol"
        served_at = [f"{each.host}:{each.port} ({each.name})" for each in self._endpoints if each.name != GRPC_LISTENER]
        if not served_at:
            served_at = ["another broker: this node has no port for Kafka clients, or not yet"]
        return (
            f"a Kafka client{client} came to the port of the gRPC calls: let its bootstrap.servers name "
            f"{' or '.join(served_at)}"
        )


def _kafka_client(frame: memoryview) -> str | None:
    """Its name, in brackets, or empty; None: no request of Kafka's begins like that."""
    if len(frame) < HEADER.size:
        return None
    api_key, version, _ = HEADER.unpack_from(frame)
    if api_key not in API_KEYS or version not in VERSIONS:
        return None
    return client_named(frame, HEADER.size)
