"""Typed calls over the transport port, and what a client needs of the world.

Everything below `kraftpy.aio` uses only this, so the same client runs on sockets and in the simulation.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol, Self, TypeVar

from google.protobuf.message import DecodeError

from kraftpy.errors import CallTimeoutError, KraftpyError, NetworkError
from kraftpy.runtime.alarm import Alarm
from kraftpy.runtime.ports import (
    Address,
    Clock,
    ConnectTimeout,
    RemoteFailure,
    Stream,
    Transport,
    TransportError,
    TransportTimeout,
)

CLIENT = "/kraftpy.pb.Client/"
ADMIN = "/kraftpy.pb.Admin/"
NEVER_MS = 1 << 62
"""A time (monotonic) that does not come."""


class Message(Protocol):
    """The part of a protobuf message that is used here."""

    def SerializeToString(self) -> bytes: ...

    @classmethod
    def FromString(cls, s: bytes) -> Self: ...


M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class ClientPorts:
    """All that a client needs of the world."""

    transport: Transport
    clock: Clock
    random: Random

    async def call(self, address: Address, method: str, request: Message, answer: type[M], timeout_ms: int) -> M:
        """One request, one decoded answer. Raises `TransportError`."""
        data = await self.transport.call(address, method, request.SerializeToString(), max(timeout_ms, 1))
        return decode(answer, data)

    async def open_stream(self, address: Address, method: str) -> Stream:
        """Raises `TransportError`."""
        return await self.transport.open_stream(address, method)

    def jittered(self, delay_ms: float) -> float:
        """`delay_ms` give or take a fifth, so that many clients do not return in step."""
        return delay_ms * self.random.uniform(0.8, 1.2)


def decode(answer: type[M], data: bytes) -> M:
    """Raises `RemoteFailure` for bytes that are no such message."""
    try:
        return answer.FromString(data)
    except DecodeError as error:
        raise RemoteFailure(f"an answer that is no {answer.__name__}: {error}") from None


def watched(task: "asyncio.Task[None]", crashed: Callable[[BaseException], None]) -> "asyncio.Task[None]":
    """A task that runs for ever: where it ends by an exception, that is a bug, told to the loop's exception handler
    (which logs it, unless the program has another) and to `crashed`."""

    def ended(done: "asyncio.Task[None]") -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:
            message = "a client task failed, which is a bug"
            done.get_loop().call_exception_handler({"message": message, "exception": error, "task": done})
            crashed(error)

    task.add_done_callback(ended)
    return task


async def stepping(step: Callable[[], int], woken: asyncio.Event, clock: Clock) -> None:
    """Call `step` when `woken` is set and at the time (monotonic ms) that its last call gave, for ever."""
    alarm = Alarm(clock, woken.set)
    try:
        while True:
            woken.clear()
            wake_ms = step()
            alarm.set(wake_ms if wake_ms < NEVER_MS else None)
            await woken.wait()
    finally:
        alarm.cancel()


def backoff_ms(attempts: int, first_ms: int, longest_ms: int) -> int:
    """The pause after `attempts` failures in a row: doubling, bounded."""
    return min(longest_ms, first_ms << min(max(attempts - 1, 0), 20))


def as_kraftpy_error(error: TransportError) -> KraftpyError:
    """What a user is shown for a transport's failure; always a retriable error."""
    is_late = isinstance(error, TransportTimeout | ConnectTimeout)
    return CallTimeoutError(str(error)) if is_late else NetworkError(str(error))
