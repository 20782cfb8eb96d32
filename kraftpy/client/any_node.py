"""Putting a request to any node of the cluster until somebody answers, within a deadline."""

import asyncio
from typing import Generic, TypeVar

from kraftpy.client.config import ClientConfig
from kraftpy.client.wire import ClientPorts, Message, as_kraftpy_error, backoff_ms
from kraftpy.client.wire_numbers import milliseconds
from kraftpy.errors import CallTimeoutError, NoBrokersAvailableError
from kraftpy.runtime.ports import Address, NotConnected, TransportError, TransportTimeout, Unreachable

ATTEMPT_MS = 5_000  # silence of one node before another is asked, at most; a change is answered once it is applied

M = TypeVar("M", bound=Message)


class AnyNode:
    """The bootstrap addresses, and which of them is asked now."""

    def __init__(self, config: ClientConfig, ports: ClientPorts) -> None:
        self.config = config
        self.ports = ports
        self._turn = ports.random.randrange(1_000)

    def address(self) -> Address:
        addresses = self.config.addresses
        return addresses[self._turn % len(addresses)]

    def pass_over(self) -> None:
        """Ask the next one from now on."""
        self._turn += 1


class Deadline:
    """The end of a call, by the monotonic clock."""

    def __init__(self, ports: ClientPorts, timeout_s: float) -> None:
        self._clock = ports.clock
        self._ends_ms = self._clock.monotonic_ms() + milliseconds(timeout_s)

    @property
    def left_ms(self) -> int:
        return max(self._ends_ms - self._clock.monotonic_ms(), 0)

    @property
    def left_s(self) -> float:
        return self.left_ms / 1_000


class Attempts(Generic[M]):
    """One request, put to one bootstrap address after the other until somebody answers."""

    def __init__(self, nodes: AnyNode, method: str, request: Message, answer_type: type[M], deadline: Deadline) -> None:
        self.uncertain = False  # some attempt may have taken effect without our hearing of it
        self._nodes = nodes
        self._method = method
        self._request = request
        self._answer_type = answer_type
        self._deadline = deadline

    async def next(self) -> M:
        """The next answer. Raises `NoBrokersAvailableError` or `CallTimeoutError` when time is up."""
        nodes, ports, config = self._nodes, self._nodes.ports, self._nodes.config
        addresses = config.addresses
        failures = 0
        was_taken = False  # by a node, which has not answered
        while True:
            address = nodes.address()
            left_ms = self._deadline.left_ms
            # Those of this round who have not been asked share what is left: one silent node must not use it up.
            share_ms = max(left_ms // (len(addresses) - failures % len(addresses)), 1)
            attempt_ms = min(share_ms, ATTEMPT_MS << min(failures // len(addresses), 3))
            try:
                return await ports.call(address, self._method, self._request, self._answer_type, attempt_ms)
            except TransportError as error:
                nodes.pass_over()
                failures += 1
                self.uncertain = self.uncertain or error.may_have_been_sent
                was_taken = was_taken or isinstance(error, TransportTimeout)
                last = error
            if self._deadline.left_ms <= 0:
                tried = ", ".join(map(str, addresses))
                if was_taken:
                    done = self._method.rpartition("/")[2]
                    raise CallTimeoutError(f"{done} was not answered in time; asked {tried}")
                if isinstance(last, Unreachable | NotConnected):
                    raise NoBrokersAvailableError(f"none of {tried} answers (last: {last})")
                raise as_kraftpy_error(last)
            if failures % len(addresses) == 0:
                rounds = failures // len(addresses)
                pause_ms = ports.jittered(backoff_ms(rounds, config.retry_backoff_ms, config.retry_backoff_max_ms))
                await asyncio.sleep(min(pause_ms, self._deadline.left_ms) / 1_000)
