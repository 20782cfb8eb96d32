"""Clients of Kafka's protocol at the port of the calls: they are closed, and a line of the log says where to go."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

from broker.kafka.api import ApiKey
from broker.kafka.router import HEADER
from broker.kafka.wire import ProtocolError, RequestReader
from broker.metadata.records import GRPC_LISTENER, Endpoint
from kraftpy.runtime.ports import Address, Clock, FrameHandler, FrameParts

SILENCE_MS = 60_000
"""After a line about a host. Its client comes back several times a second."""
HOSTS_MAX = 1_000
"""Remembered for that."""
API_KEYS = frozenset(ApiKey)
VERSIONS = range(32)
"""Of an API; Kafka's highest is far below."""


class Misdirected:
    """What the calls' port does with connections that make no calls. `open` is given to the transport."""

    def __init__(self, clock: Clock, endpoints: Sequence[Endpoint]) -> None:
        """`endpoints`: the node's listeners as clients reach them; more may come."""
        self._clock = clock
        self._endpoints = endpoints
        self._told_at: OrderedDict[str, int] = OrderedDict()  # by host, in ms; the earliest is first

    def open(self, peer: Address) -> FrameHandler:
        return partial(self._refuse, peer)

    async def _refuse(self, peer: Address, frame: memoryview) -> FrameParts:
        """Raises `ConnectionError`; without words where they were said a moment ago."""
        raise ConnectionError(self._advice(frame) if self._take_turn_to_tell(peer.host) else "")

    def _take_turn_to_tell(self, host: str) -> bool:
        """Whether a line about it is due, which counts as said from now on."""
        now_ms = self._clock.monotonic_ms()
        told_at = self._told_at.get(host)
        if told_at is not None and now_ms - told_at < SILENCE_MS:
            return False
        self._told_at[host] = now_ms
        self._told_at.move_to_end(host)
        if len(self._told_at) > HOSTS_MAX:
            self._told_at.popitem(last=False)
        return True

    def _advice(self, frame: memoryview) -> str:
        client_id = _kafka_client(frame)
        if client_id is None:
            return "it speaks neither gRPC, as everybody does at this port, nor Kafka's protocol"
        served_at = [f"{each.host}:{each.port} ({each.name})" for each in self._endpoints if each.name != GRPC_LISTENER]
        named = f" (client id {client_id[:100]!r})" if client_id else ""
        if not served_at:
            served_at = ["another broker: this node has no port for Kafka clients, or not yet"]
        return (
            f"a Kafka client{named} came to the port of the gRPC calls: let its bootstrap.servers name "
            f"{' or '.join(served_at)}"
        )


def _kafka_client(frame: memoryview) -> str | None:
    """The client id, which may be empty; None: no request of Kafka's begins like that."""
    if len(frame) < HEADER.size:
        return None
    api_key, version, _ = HEADER.unpack_from(frame)
    if api_key not in API_KEYS or version not in VERSIONS:
        return None
    try:
        return RequestReader(frame, flexible=False, position=HEADER.size).nullable_string() or ""
    except ProtocolError:
        return None
