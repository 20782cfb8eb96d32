"""The real world for a client that was given no other: gRPC, the system's clock and its randomness.

Its parts are imported when the first client starts, because gRPC takes 70 ms.
"""

from random import Random
from typing import Any

from kraftpy.client.wire import ClientPorts
from kraftpy.errors import ClosedError
from kraftpy.runtime.ports import Clock, Transport


def system_random(random: Random | None) -> Random:
    """The generator that was given, or one that the system seeds."""
    return Random() if random is None else random


def client_ports(transport: Transport | None, clock: Clock | None, random: Random | None) -> tuple[ClientPorts, bool]:
    """The ports to use, and whether the transport was made here and must be closed by the client.

    Raises `ClosedError` in a process that was forked off one with open clients: gRPC ended there.
    """
    own = transport is None
    made: Any = transport
    if made is None:
        from kraftpy.runtime.grpc_transport import ForkedError, GrpcTransport

        try:
            made = GrpcTransport()
        except ForkedError as error:
            raise ClosedError(str(error)) from None
    if clock is None:
        from kraftpy.runtime.clock import SystemClock

        clock = SystemClock()
    return ClientPorts(made, clock, system_random(random)), own
