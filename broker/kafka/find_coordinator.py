"""FindCoordinator (key 10), versions 0–6: which broker coordinates a group or a transactional id. KIP-699.

Share groups (key type 2 of version 6) are not served, and are refused as an unknown type is.
"""

from collections.abc import Awaitable, Callable

from broker.coordinator.finding import CoordinatorKind
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.endpoints import EndpointOf
from broker.kafka.messages.find_coordinator import (
    FLEXIBLE_FROM,
    MANY_FROM,
    VERSION_MAX,
    VERSION_MIN,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    FoundCoordinator,
)
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import CoordinatorNotAvailableError, InvalidRequestError, KraftpyError

Find = Callable[[CoordinatorKind, str], Awaitable[int]]
"""The broker's id. Raises `KraftpyError`."""


class FindCoordinator:
    """The handler."""

    def __init__(self, find: Find, endpoint_of: EndpointOf) -> None:
        self._find = find
        self._endpoint_of = endpoint_of

    def api(self) -> Api:
        return message_api(
            ApiKey.FIND_COORDINATOR,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            FindCoordinatorRequest,
            FindCoordinatorResponse,
            self._respond,
        )

    async def _respond(self, request: FindCoordinatorRequest, header: Request) -> FindCoordinatorResponse:
        if header.version >= MANY_FROM:
            found = [await self._found(request.key_type, key) for key in request.keys]
            return FindCoordinatorResponse(coordinators=tuple(found))
        one = await self._found(request.key_type, request.key)
        return FindCoordinatorResponse(
            error=one.error, error_message=one.error_message, node_id=one.node_id, host=one.host, port=one.port
        )

    async def _found(self, key_type: int, key: str) -> FoundCoordinator:
        try:
            if key_type not in (CoordinatorKind.GROUP, CoordinatorKind.TRANSACTION):
                raise InvalidRequestError(f"{key_type} is no kind of coordinator that is served here")
            broker_id = await self._find(CoordinatorKind(key_type), key)
            endpoint = self._endpoint_of(broker_id)
            if endpoint is None:
                raise CoordinatorNotAvailableError(f"broker {broker_id} cannot be reached by this listener")
        except KraftpyError as error:
            return FoundCoordinator(
                key=key, node_id=-1, host="", port=-1, error=code_of(error), error_message=error.message
            )
        return FoundCoordinator(
            key=key,
            node_id=endpoint.broker_id,
            host=endpoint.host,
            port=endpoint.port,
            error=NO_ERROR,
            error_message=None,
        )
