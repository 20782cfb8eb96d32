"""From frames to handlers: the door of the Kafka listener.

    frame:    api key i16 | version i16 | correlation id i32 | client id | tagged fields (flexible) | body
    response: correlation id i32 | tagged fields (flexible) | body

The table of APIs is data; what it lists is what ApiVersions advertises. A request for anything else, or one that cannot
be read, closes its connection, as Kafka does: a client that asks for what was not offered is broken, and there is no
form in which it would understand an answer. The one exception is ApiVersions in an unknown version. The log has a line
about it, of what is not served not each time (`unserved`).

Bytes behind a request are not looked at, as Kafka does: librdkafka sends some behind a Metadata request for all topics.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from struct import Struct

from broker.kafka.api import Api, ApiKey, Request, at_once
from broker.kafka.api_versions import ApiVersions, unsupported_version
from broker.kafka.turns import Turns
from broker.kafka.unserved import Unserved
from broker.kafka.wire import NO_TAGS, ProtocolError, RequestReader
from kraftpy.runtime.ports import Address, Clock, FrameHandler, FrameParts

HEADER = Struct(">hhi")
_CORRELATION_ID = Struct(">i")


@dataclass(frozen=True, slots=True)
class Later:
    """A row whose handler is loaded when its first request comes."""

    key: ApiKey
    advertised_min: int
    version_max: int
    make: Callable[[], Api]


class Router:
    """All APIs of one listener. `open` is what a framed transport serves."""

    def __init__(self, apis: Iterable[Api | Later], api_versions: ApiVersions, clock: Clock) -> None:
        """`apis`: without ApiVersions, which is made here from `api_versions`, so that it can list itself.

        `clock`: who asks again and again for what is not served is told of now and then only.
        """
        self._unserved = Unserved(clock)
        table = [*apis, api_versions.api()]
        self._apis = {int(api.key): api for api in table if isinstance(api, Api)}
        self._later = {int(api.key): api for api in table if isinstance(api, Later)}
        assert len(self._apis) + len(self._later) == len(table), "an API is listed twice"
        api_versions.advertise(table)

    def open(self, peer: Address) -> FrameHandler:
        """The handler of one connection's frames."""
        turns = Turns()

        def handle(frame: memoryview) -> Awaitable[FrameParts]:
            return self._handle_in_turn(peer, frame, turns, turns.arrived())

        return handle

    async def _handle_in_turn(self, peer: Address, frame: memoryview, turns: Turns, number: int) -> FrameParts:
        try:
            return await self.handle(peer, frame, partial(turns.wait, number))
        finally:
            turns.answered(number)

    async def handle(
        self, peer: Address, frame: memoryview, turn: Callable[[], Awaitable[None]] = at_once
    ) -> FrameParts:
        """Answer one frame. Raises `ProtocolError`, upon which the connection is closed."""
        if len(frame) < HEADER.size:
            raise ProtocolError(f"{len(frame)} bytes are too few for a request")
        api_key, version, correlation_id = HEADER.unpack_from(frame)
        api = self._apis.get(api_key) or self._loaded(api_key)
        if api is None:
            raise self._refusal(peer, api_key, version, None, frame)
        if not api.serves(version):
            if api.key is ApiKey.API_VERSIONS:
                return [_CORRELATION_ID.pack(correlation_id), unsupported_version(api)]
            raise self._refusal(peer, api_key, version, api, frame)
        if len(frame) > api.request_bytes_max:
            raise ProtocolError(f"a {api.key.name} request of {len(frame)} bytes; at most {api.request_bytes_max}")
        is_flexible = version >= api.flexible_from
        client_id, position = _client_id(frame, is_flexible)
        request = Request(version, correlation_id, client_id, peer, frame[position:], turn)
        body = await api.handler(request)
        if not body:
            return body
        header = _CORRELATION_ID.pack(correlation_id)
        if is_flexible and api.response_header_is_flexible:
            header += NO_TAGS
        return [header, *body]

    def _refusal(self, peer: Address, api_key: int, version: int, api: Api | None, frame: memoryview) -> ProtocolError:
        """Without words where they were said a moment ago."""
        return ProtocolError(self._unserved.reason(peer, api_key, version, api, frame, HEADER.size))

    def _loaded(self, api_key: int) -> Api | None:
        later = self._later.get(api_key)
        if later is None:
            return None
        api = later.make()
        assert (api.advertised_min, api.version_max) == (later.advertised_min, later.version_max), api.key.name
        self._apis[api_key] = api
        return api


def _client_id(frame: memoryview, is_flexible: bool) -> tuple[str, int]:
    """The client id, and where the body begins. The id keeps its old form even in the flexible header (KIP-482)."""
    reader = RequestReader(frame, flexible=is_flexible, position=HEADER.size)
    client_id = reader.old_nullable_string() or ""
    reader.skip_tags()
    return client_id, reader.position
