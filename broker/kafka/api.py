"""What an API is to the router: its number, its versions, its limits and its handler.

Each API has a file of its own, whose first lines say which versions it serves and what it leaves out.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum

from kraftpy.runtime.ports import Address, FrameParts

MIB = 1024 * 1024


class ApiKey(IntEnum):
    """Kafka's numbers of the APIs that are served or called here."""

    FETCH = 1
    LIST_OFFSETS = 2
    API_VERSIONS = 18


@dataclass(frozen=True, slots=True)
class Request:
    """One request, its header taken off."""

    api_key: int
    version: int
    correlation_id: int
    client_id: str
    """Empty where the client gave none."""
    peer: Address
    body: memoryview
    """Valid until the request is answered."""


Handler = Callable[[Request], Awaitable[FrameParts]]
"""Gives the body of the response, without its header. Empty: nothing is answered. Raises `ProtocolError` for a body
that cannot be read, and only for that: every other refusal has its place in a response."""


@dataclass(frozen=True, slots=True)
class Api:
    """A row of the router's table."""

    key: ApiKey
    version_min: int
    version_max: int
    flexible_from: int
    """The first version with flexible headers and bodies (KIP-482)."""
    handler: Handler
    request_bytes_max: int = 8 * MIB
    """Requests without records need no more; what a request lists costs a multiple of its bytes to hold."""
    response_header_is_flexible: bool = True
    """ApiVersions answers with the old header always: a client that asks has not learnt the new one yet (KIP-511)."""

    def serves(self, version: int) -> bool:
        return self.version_min <= version <= self.version_max
