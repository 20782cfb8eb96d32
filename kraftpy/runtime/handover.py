"""Connections that are passed on: whoever speaks HTTP/2 to a framed listener meant the calls of the same node.

A gRPC client is recognised by the preface that HTTP/2 begins with (RFC 9113, 3.4), which could be no frame: it would
announce one of 1.3 GB. Its bytes are then carried to where gRPC itself listens, and back. So one address is all that
people need, and the calls' own port can say to others that they are wrong there: it is such a listener, too.

Everything that is said to a node by calls comes through here, so it takes a few system calls a piece and no task.

Invariants: what waits in between is bounded by one piece in each direction (a side that does not read is waited for);
the connection keeps its place among the listener's, and ends when either side ends.
"""

import asyncio
import socket
from collections.abc import Callable

from kraftpy.runtime.ports import Address
from kraftpy.runtime.sockets import connect

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CONNECT_SECONDS = 10
PIECES_PER_TURN = 8
"""Of one connection, so that a fast one does not keep the loop for itself."""


def begins_http2(first: bytes) -> bool | None:
    """Whether a connection that begins with `first` speaks HTTP/2; None: it is too early to tell."""
    size = min(len(first), len(HTTP2_PREFACE))
    if first[:size] != HTTP2_PREFACE[:size]:
        return False
    return None if size < len(HTTP2_PREFACE) else True


async def pass_on(
    client: socket.socket, first: bytes, calls: Address, buffer: memoryview, moved: Callable[[], None]
) -> None:
    """Carry everything between `client`, which has said `first`, and `calls`, until either ends.

    Pieces are as large as `buffer`, which others may use between two events of the loop. `moved()` is called with every
    piece. `client` has to stay open until this has ended. Raises `ConnectionError` where nobody takes calls there.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            server = await connect(calls)
    except OSError as error:  # a time-out is one
        raise ConnectionError(f"a gRPC client could not be passed on to {calls}: {error}") from None
    with server:
        await loop.sock_sendall(server, first)
        ended = loop.create_future()
        ways = [_Way(source, sink, buffer, moved, ended) for source, sink in ((client, server), (server, client))]
        try:
            await ended
        finally:
            for way in ways:
                way.close()


class _Way:
    """One direction. It reads while nothing waits to be sent, and sends what waits before it reads again."""

    __slots__ = ("_buffer", "_ended", "_is_closed", "_loop", "_moved", "_rest", "_sink", "_source")

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        buffer: memoryview,
        moved: Callable[[], None],
        ended: "asyncio.Future[None]",
    ) -> None:
        self._source = source
        self._sink = sink
        self._buffer = buffer
        self._moved = moved
        self._ended = ended
        self._loop = ended.get_loop()
        self._rest = memoryview(b"")  # of the last piece: what the sink has not taken yet
        self._is_closed = False
        self._loop.add_reader(source.fileno(), self._readable)

    def close(self) -> None:
        """Look at neither socket again; both are still open."""
        self._is_closed = True
        if self._rest:
            self._loop.remove_writer(self._sink.fileno())
        else:
            self._loop.remove_reader(self._source.fileno())

    def _readable(self) -> None:
        """Read until there is nothing more, since uvloop tells of an error behind the last bytes only once."""
        for _ in range(PIECES_PER_TURN):
            if self._rest or self._is_closed:
                return
            try:
                received = self._source.recv_into(self._buffer)
                if received:
                    self._moved()
                    self._send(self._buffer[:received])
                else:
                    self._end()
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._end()
        self._loop.call_soon(self._readable)

    def _send(self, piece: memoryview) -> None:
        try:
            sent = self._sink.send(piece)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent < len(piece):
            self._rest = memoryview(bytes(piece[sent:]))
            self._loop.remove_reader(self._source.fileno())
            self._loop.add_writer(self._sink.fileno(), self._writable)

    def _writable(self) -> None:
        try:
            self._rest = self._rest[self._sink.send(self._rest) :]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._end()
            return
        self._moved()
        if not self._rest:
            self._loop.remove_writer(self._sink.fileno())
            self._loop.add_reader(self._source.fileno(), self._readable)

    def _end(self) -> None:
        self.close()
        if not self._ended.done():
            self._ended.set_result(None)
