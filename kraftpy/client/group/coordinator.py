"""Where the coordinator of a group or a transactional id is, and calls to it.

One lookup at a time, whoever asks. A coordinator that says that it is none, or does not answer, is forgotten; the
caller gets a retriable error, waits a little and asks again, and then the next lookup finds the new one.
"""

import asyncio
from typing import Protocol, TypeVar

from kraftpy.client.config import ClientConfig
from kraftpy.client.metadata import Metadata
from kraftpy.client.wire import ClientPorts, Message, as_kraftpy_error
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.errors import (
    ClosedError,
    CoordinatorNotAvailableError,
    KraftpyError,
    NotCoordinatorError,
)
from kraftpy.pb import groups_pb2
from kraftpy.runtime.ports import Address, TransportError

GROUPS = "/kraftpy.pb.Groups/"
TRANSACTIONS = "/kraftpy.pb.Transactions/"
FIND_MS = 5_000  # for one node to name the coordinator; it may have to make the topic first


class Answered(Message, Protocol):
    """An answer that can be a refusal as a whole."""

    @property
    def error(self) -> int: ...

    @property
    def error_message(self) -> str: ...


A = TypeVar("A", bound=Answered)


class Coordinator:
    """The coordinator of one key."""

    def __init__(
        self,
        config: ClientConfig,
        ports: ClientPorts,
        metadata: Metadata,
        kind: groups_pb2.CoordinatorType.ValueType,
        key: str,
    ) -> None:
        self._config = config
        self._ports = ports
        self._metadata = metadata
        self._kind = kind
        self._key = key
        self._address: Address | None = None
        self._lookup: asyncio.Task[Address] | None = None
        self._closed = False

    async def call(self, method: str, request: Message, answer: type[A], timeout_ms: int) -> A:
        """The coordinator's answer. Raises `KraftpyError`: of the answer as a whole, or of the way to it."""
        found = await self.ask(method, request, answer, timeout_ms)
        if found.error != NO_ERROR:
            raise error_for(found.error, found.error_message)
        return found

    async def ask(self, method: str, request: Message, answer: type[A], timeout_ms: int) -> A:
        """As `call`, and a refusal is the caller's to read, except one that means the wrong node."""
        address = await self.address()
        try:
            found = await self._ports.call(address, method, request, answer, timeout_ms)
        except TransportError as error:
            self.forget(address)
            self._metadata.invalidate()
            raise as_kraftpy_error(error) from None
        if found.error != NO_ERROR:
            self.noted(error_for(found.error, found.error_message), address)
        return found

    def noted(self, error: KraftpyError, address: Address | None = None) -> None:
        """A coordinator has answered so; raises where that means to look for it anew."""
        if isinstance(error, NotCoordinatorError | CoordinatorNotAvailableError):
            self.forget(address or self._address)
            raise error

    def forget(self, address: Address | None) -> None:
        """It is not there, or not the coordinator any more."""
        if self._address == address:
            self._address = None

    async def address(self) -> Address:
        """Raises `CoordinatorNotAvailableError`, or what nodes say of the key itself; `ClosedError` from `end` on."""
        if self._closed:
            raise ClosedError("the client is closed")
        if self._address is not None:
            return self._address
        if self._lookup is None:
            self._lookup = asyncio.get_running_loop().create_task(self._find())
            self._lookup.add_done_callback(self._found)
        lookup = self._lookup
        await asyncio.wait([lookup])  # whoever is cancelled stops no other's
        if lookup.cancelled():
            raise ClosedError("the client was closed")
        return lookup.result()

    async def close(self) -> None:
        await asyncio.gather(*self.end(), return_exceptions=True)

    def end(self) -> "list[asyncio.Task[Address]]":
        """As `close`, at once; the task that is ending. Whoever waits for an address gets `ClosedError`."""
        self._closed = True
        if self._lookup is None:
            return []
        self._lookup.cancel()
        return [self._lookup]

    def _found(self, lookup: "asyncio.Task[Address]") -> None:
        self._lookup = None
        if not lookup.cancelled() and lookup.exception() is None:
            self._address = lookup.result()

    async def _find(self) -> Address:
        request = groups_pb2.FindCoordinatorRequest(type=self._kind, key=self._key)
        timeout_ms = min(FIND_MS, self._config.request_timeout_ms)
        node = await self._metadata.any_node(timeout_ms)
        try:
            answer = await self._ports.call(
                node, GROUPS + "FindCoordinator", request, groups_pb2.FindCoordinatorResponse, timeout_ms
            )
        except TransportError as error:
            self._metadata.invalidate()
            raise CoordinatorNotAvailableError(f"{node} could not be asked for a coordinator: {error}") from None
        if answer.error != NO_ERROR:
            raise error_for(answer.error, answer.error_message)
        return Address(answer.host, answer.port)
