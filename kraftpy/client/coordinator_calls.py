"""Calls of an administrator to coordinators and to every node, repeated while what stands in the way passes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kraftpy.client.any_node import Deadline
from kraftpy.client.config import ClientConfig
from kraftpy.client.group.coordinator import Coordinator
from kraftpy.client.metadata import Metadata
from kraftpy.client.wire import ClientPorts, Message, as_kraftpy_error, backoff_ms
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.errors import CallTimeoutError, KraftpyError, NetworkError, NoBrokersAvailableError
from kraftpy.pb import groups_pb2
from kraftpy.runtime.ports import Address, TransportError

T = TypeVar("T")
M = TypeVar("M", bound=Message)

ANSWER_MS = 10_000
"""Silence of a node until it counts as not reachable."""


class CoordinatorCalls:
    """What the administrations of groups and of transactions have in common."""

    def __init__(
        self,
        config: ClientConfig,
        ports: ClientPorts,
        metadata: Metadata,
        kind: groups_pb2.CoordinatorType.ValueType,
    ) -> None:
        self._config = config
        self._ports = ports
        self._kind = kind
        self._coordinators: dict[str, Coordinator] = {}
        self.metadata = metadata

    async def close(self) -> None:
        for coordinator in self._coordinators.values():
            await coordinator.close()

    def coordinator(self, key: str) -> Coordinator:
        found = self._coordinators.get(key)
        if found is None:
            found = self._coordinators[key] = Coordinator(self._config, self._ports, self.metadata, self._kind, key)
        return found

    def timeout_ms(self, deadline: Deadline) -> int:
        """Of one attempt."""
        return min(max(deadline.left_ms, 1), ANSWER_MS)

    async def ask(self, address: Address, method: str, request: Message, answer: type[M], deadline: Deadline) -> M:
        """Raises `KraftpyError` for a node that does not answer."""
        try:
            return await self._ports.call(address, method, request, answer, self.timeout_ms(deadline))
        except TransportError as error:
            for coordinator in self._coordinators.values():
                coordinator.forget(address)
            self.metadata.invalidate()
            raise as_kraftpy_error(error) from None

    async def ask_all(self, once: Callable[[Address], Awaitable[T]], deadline: Deadline) -> list[T]:
        """What `once` gives for each node. Raises where one does not answer: the whole would lack something."""
        await self.metadata.updated(deadline.left_ms)
        brokers = self.metadata.view.brokers
        if not brokers:
            raise NoBrokersAvailableError(f"none of {', '.join(map(str, self._config.addresses))} answers")

        def of(address: Address) -> Callable[[], Awaitable[T]]:
            return lambda: once(address)

        return await asyncio.gather(*[self.repeat(of(address), deadline) for address in brokers.values()])

    async def repeat(self, once: Callable[[], Awaitable[T]], deadline: Deadline) -> T:
        """Until it succeeds, or fails for a reason that does not pass. Where time is up, what was answered last says
        more than that the last attempt, which had hardly any time, was not."""
        attempts = 0
        told: KraftpyError | None = None
        while True:
            try:
                return await once()
            except KraftpyError as error:
                if not isinstance(error, CallTimeoutError | NetworkError):
                    told = error
                if not error.retriable or deadline.left_ms <= 0:
                    raise (told or error) from None
            attempts += 1
            pause_ms = backoff_ms(attempts, self._config.retry_backoff_ms, self._config.retry_backoff_max_ms)
            await asyncio.sleep(min(self._ports.jittered(pause_ms), deadline.left_ms) / 1_000)


def raise_for(code: int, message: str) -> None:
    """Raise the error of an answer, if it has one."""
    if code != NO_ERROR:
        raise error_for(code, message)
