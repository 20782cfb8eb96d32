"""Length-prefixed frames over TCP: the real `ports.FramedTransport`, on sockets of its own.

It uses nothing of the loop but `add_reader` and `add_writer`, so it runs on uvloop as on asyncio and can call
`sendfile` (a loop's own transports would not let it). `framed_server` is the serving side, `frame_reader` and
`frame_writer` the two halves of a connection; here are the transport and the asking side.

Invariants of a connection to a server: answers belong to requests in their order, so a connection on which one request
has timed out is of no more use and is closed; at most `in_flight_max` requests are unanswered, further ones wait; every
request ends with its answer or with a `TransportError`.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Sequence

from kraftpy.runtime.frame_reader import RECEIVE_BUFFER_BYTES, FrameReader, FrameRefused
from kraftpy.runtime.frame_writer import FrameWriter, RunOnDisk
from kraftpy.runtime.framed_config import FramedConfig
from kraftpy.runtime.framed_server import FramedServer
from kraftpy.runtime.ports import (
    Address,
    Buffer,
    OpenHandler,
    RemoteFailure,
    TransportError,
    TransportTimeout,
    Unreachable,
)
from kraftpy.runtime.sockets import connect, listen, reason_of

__all__ = ["FramedConfig", "TcpFramedTransport"]

ANSWER_BYTES_MAX = 2**31 - 1
"""Whoever asks has said how much it wants; a buffer grows with what arrives. `frame_bytes_max` is for what strangers
send unasked."""
RECEIVES_PER_TURN = 16
"""Of one connection, so that a fast server does not keep the loop for itself."""


class TcpFramedTransport:
    """The framed transport of one process. Satisfies `kraftpy.runtime.ports.FramedTransport`."""

    def __init__(self, run_on_disk: RunOnDisk, config: FramedConfig | None = None) -> None:
        """`run_on_disk`: `Disk.run`, for ranges of files that are not in memory when they are to be sent."""
        self._run = run_on_disk
        self._config = config or FramedConfig()
        self._receive_buffer: memoryview | None = None

    async def connect(self, address: Address, timeout_ms: int) -> "TcpFramedConnection":
        """Try the addresses of the name one after the other, each for its share of the time.

        Raises `Unreachable` where nobody listens there, and `TransportTimeout` where nobody answers.
        """
        try:
            connected = await connect(address, timeout_ms)
        except TimeoutError:
            raise TransportTimeout(f"{address}: no connection within {timeout_ms} ms") from None
        except OSError as error:
            raise Unreachable(f"{address}: {reason_of(error)}") from error
        if self._receive_buffer is None:
            self._receive_buffer = memoryview(bytearray(RECEIVE_BUFFER_BYTES))
        return TcpFramedConnection(connected, address, self._receive_buffer, self._run, self._config)

    async def serve(self, address: Address, open_handler: OpenHandler, calls: Address | None = None) -> FramedServer:
        """Listen on the first address of the name. Raises `OSError` (EADDRINUSE …) that names the address.

        `calls`: who speaks HTTP/2 here, as gRPC does, is connected to there.
        """
        try:
            listening = await listen(address, self._config.backlog)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {address}: {reason_of(error)}") from error
        name = listening.getsockname()
        return FramedServer(listening, Address(address.host, name[1]), open_handler, self._run, self._config, calls)


class TcpFramedConnection:
    """The asking side of one connection. Satisfies `kraftpy.runtime.ports.FramedConnection`."""

    def __init__(
        self,
        connected: socket.socket,
        address: Address,
        receive_buffer: memoryview,
        run: RunOnDisk,
        config: FramedConfig,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = connected
        self._address = address
        self._in_flight_max = config.in_flight_max
        self._frame_bytes_max = config.frame_bytes_max
        # For answers, in order, each with its deadline; cancelled ones keep a place.
        self._waiting: deque[tuple[asyncio.Future[memoryview], asyncio.TimerHandle]] = deque()
        self._room: deque[asyncio.Future[None]] = deque()  # requests that wait until fewer are in flight
        self._error: TransportError | None = None  # why it is closed
        self._reader = FrameReader(connected, receive_buffer, ANSWER_BYTES_MAX)
        self._writer = FrameWriter(connected, self._loop, run, lambda count: None, self._broken)
        self._loop.add_reader(connected.fileno(), self._readable)

    @property
    def is_closed(self) -> bool:
        return self._error is not None

    async def request(self, frame: Sequence[Buffer], timeout_ms: int) -> memoryview:
        """Send one frame and wait for its answer, which is writable and the caller's own.

        The time runs from the call on. Raises `TransportTimeout` (and closes the connection), `Unreachable` where the
        connection breaks or is closed, `RemoteFailure` where the peer does not keep to the framing.
        """
        deadline = self._loop.time() + timeout_ms / 1000
        while len(self._waiting) >= self._in_flight_max:
            await self._wait_for_room(deadline)
        return await self._ask(frame, deadline)

    def ask(self, frame: Sequence[Buffer], timeout_ms: int) -> "asyncio.Future[memoryview]":
        """As `request`, at once: it waits for no room. Raises `Unreachable` where the connection is closed."""
        assert len(self._waiting) < self._in_flight_max, "whoever asks so knows how much it has asked"
        return self._ask(frame, self._loop.time() + timeout_ms / 1000)

    def _ask(self, frame: Sequence[Buffer], deadline: float) -> "asyncio.Future[memoryview]":
        if (size := sum(map(len, frame))) > self._frame_bytes_max:
            raise ValueError(f"a request of {size} bytes; at most {self._frame_bytes_max} are sent")
        if self._error is not None:
            raise self._closed_error()
        answer: asyncio.Future[memoryview] = self._loop.create_future()
        self._waiting.append((answer, self._loop.call_at(deadline, self._expire, answer)))
        self._writer.send(frame)
        return answer

    def close(self) -> None:
        """Now; requests that wait for answers fail with `Unreachable`."""
        self._close(Unreachable(f"{self._address}: the connection was closed here"))

    async def _wait_for_room(self, deadline: float) -> None:
        room: asyncio.Future[None] = self._loop.create_future()
        self._room.append(room)
        try:
            async with asyncio.timeout_at(deadline):
                await room
        except BaseException as error:
            if room.done() and not room.cancelled():
                self._let_in()  # woken and gone: the place is the next one's
            if isinstance(error, TimeoutError):
                raise TransportTimeout(f"{self._address}: {self._in_flight_max} requests before this one") from None
            raise
        finally:
            if room in self._room:
                self._room.remove(room)

    def _expire(self, answer: "asyncio.Future[memoryview]") -> None:
        """The deadline has passed. After a stall of the loop the answer may be there, unread: look before judging."""
        self._readable()
        if not answer.done():
            answer.set_exception(TransportTimeout(f"{self._address}: no answer in time"))
            self._close(Unreachable(f"{self._address}: closed, because an earlier request was not answered in time"))

    def _readable(self) -> None:
        for _ in range(RECEIVES_PER_TURN):
            if self._error is not None:
                return
            try:
                if not self._reader.receive():
                    self._close(Unreachable(f"{self._address}: the peer closed the connection"))
                    return
                self._take_answers()
            except (BlockingIOError, InterruptedError):
                return
            except FrameRefused as error:
                self._close(RemoteFailure(f"{self._address}: {error}"))
            except OSError as error:
                self._broken(error)
            finally:
                self._reader.keep()
        # Not left to the next event: uvloop gives none to a socket that has an error behind its data.
        self._loop.call_soon(self._readable)

    def _take_answers(self) -> None:
        while (frame := self._reader.next_frame()) is not None:
            if not self._waiting:
                self._close(RemoteFailure(f"{self._address}: an answer to nothing"))
                return
            answer, timer = self._waiting.popleft()
            timer.cancel()
            if not answer.done():
                answer.set_result(frame)
            self._let_in()

    def _let_in(self) -> None:
        """Wake the first that waits for room; it takes the place that was left."""
        while self._room:
            room = self._room.popleft()
            if not room.done():
                room.set_result(None)
                return

    def _broken(self, error: Exception) -> None:
        self._close(Unreachable(f"{self._address}: {error}"))

    def _closed_error(self) -> TransportError:
        assert self._error is not None
        return type(self._error)(*self._error.args)

    def _close(self, error: TransportError) -> None:
        if self._error is not None:
            return
        self._error = error
        self._loop.remove_reader(self._socket.fileno())
        self._writer.close()
        self._socket.close()
        while self._waiting:
            answer, timer = self._waiting.popleft()
            timer.cancel()
            if not answer.done():
                answer.set_exception(self._closed_error())
        while self._room:
            room = self._room.popleft()
            if not room.done():
                room.set_result(None)  # finds the connection closed
