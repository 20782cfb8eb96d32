"""Connections that are passed on: whoever speaks HTTP/2 to a framed listener meant the calls of the same node.

A gRPC client that was told the port of the Kafka listener is recognised by the preface that HTTP/2 begins with
(RFC 9113, 3.4), which could be no frame: it would announce one of 1.3 GB. Its bytes are then carried to the calls' own
listener and back. So one address is all that people need; clients learn the others from the first answer.

Invariants: what waits in between is bounded by one piece in each direction (a side that does not read is waited for);
the connection keeps its place among the listener's, and ends when either side ends.
"""

import asyncio
import socket
from collections.abc import Callable

from kraftpy.runtime.ports import Address
from kraftpy.runtime.sockets import connect

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PIECE_BYTES = 64 * 1024
CONNECT_SECONDS = 10


def begins_http2(first: bytes) -> bool | None:
    """Whether a connection that begins with `first` speaks HTTP/2; None: it is too early to tell."""
    size = min(len(first), len(HTTP2_PREFACE))
    if first[:size] != HTTP2_PREFACE[:size]:
        return False
    return None if size < len(HTTP2_PREFACE) else True


async def pass_on(client: socket.socket, first: bytes, calls: Address, moved: Callable[[], None]) -> None:
    """Carry everything between `client`, which has said `first`, and `calls`, until either ends.

    `moved()` is called with every piece. Raises `ConnectionError` where nobody takes calls there.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            server = await connect(calls)
    except OSError as error:  # a time-out is one
        raise ConnectionError(f"a gRPC client could not be passed on to {calls}: {error}") from None
    with server:
        await loop.sock_sendall(server, first)
        ways = [loop.create_task(_carry(*way, moved)) for way in ((client, server), (server, client))]
        try:
            await _first_of(ways)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def _carry(source: socket.socket, sink: socket.socket, moved: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    while piece := await loop.sock_recv(source, PIECE_BYTES):
        moved()
        await loop.sock_sendall(sink, piece)


async def _first_of(ways: list[asyncio.Task[None]]) -> None:
    """Until one has ended, in whichever manner."""
    ended = asyncio.Event()
    for way in ways:
        way.add_done_callback(lambda _: ended.set())
    await ended.wait()
