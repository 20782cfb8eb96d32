"""One connection of a framed listener: its requests, its answers, and when it has been waited for long enough.

Invariants:
- It has at most `in_flight_max` requests that are not yet answered to the last byte; then it is not read.
- One that begins as HTTP/2 does belongs to the calls' listener: it is passed on, and nothing of it is framed.
- One that is closed has its handlers cancelled, and leaves nothing behind.

What goes wrong with one peer is one log line. A handler that raises `ConnectionError` wants the connection closed;
any other exception is a bug, and is logged with its traceback.
"""

import asyncio
import logging
import socket
from collections import deque
from typing import TYPE_CHECKING

from kraftpy.runtime.frame_reader import LARGE_FRAME_BYTES, FrameReader
from kraftpy.runtime.frame_writer import FrameWriter
from kraftpy.runtime.handover import begins_http2, pass_on
from kraftpy.runtime.ports import Address, FrameHandler, FrameParts

if TYPE_CHECKING:
    from kraftpy.runtime.framed_server import FramedServer

logger = logging.getLogger(__name__)

RECEIVES_PER_TURN = 8


class _Request:
    """A frame on its way through its handler."""

    __slots__ = ("parts", "reserved_bytes", "task")

    def __init__(self, reserved_bytes: int) -> None:
        self.reserved_bytes = reserved_bytes
        self.parts: FrameParts | None = None  # the answer, once there is one
        self.task: asyncio.Task[None] | None = None


class ServedConnection:
    """One client."""

    __slots__ = (
        "_closed",
        "_draining",
        "_handler",
        "_is_judged",
        "_passing",
        "_paused",
        "_reader",
        "_requests",
        "_sent_bytes_seen",
        "_server",
        "_socket",
        "_unsent",
        "_writer",
        "peer",
        "quiet_sweeps",
        "reserved_bytes",
        "waits_for_memory",
    )

    def __init__(self, server: "FramedServer", accepted: socket.socket, peer: Address, handler: FrameHandler) -> None:
        self.peer = peer
        self.quiet_sweeps = 0  # since a byte moved
        self.reserved_bytes = 0  # by large frames, in the making and with handlers
        self.waits_for_memory = False  # is in the server's queue for it
        self._server = server
        self._socket = accepted
        self._handler = handler
        self._requests: deque[_Request] = deque()  # not answered yet, in order
        self._unsent = 0  # answered, but not yet sent to the last byte
        self._sent_bytes_seen = 0  # by the last sweep
        self._paused = True
        self._draining = False
        self._closed = False
        self._is_judged = server.calls is None  # whether it speaks our protocol is known
        self._passing: asyncio.Task[None] | None = None  # carries everything to where calls are taken, and back
        self._reader = FrameReader(accepted, server.receive_buffer, server.config.frame_bytes_max, self._reserve)
        self._writer = FrameWriter(accepted, server.loop, server.run, self._sent, self._send_failed)
        self._read_on()

    # --- requests

    def _read_on(self) -> None:
        if self._paused and not self._draining and not self._closed:
            self._paused = False
            self._server.loop.add_reader(self._socket.fileno(), self._readable)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._server.loop.remove_reader(self._socket.fileno())

    def _readable(self) -> None:
        """Take what has arrived: a receive buffer full, or as much of a large frame as there is.

        One event has to be enough, since uvloop gives no other for a socket that has an error behind its data: libuv
        stops watching it. For small frames the sweep looks again instead, which costs less than an empty receive each.
        """
        for _ in range(RECEIVES_PER_TURN):
            if self._paused or self._closed or not self._receive():
                return
            self._take_frames()
            if not self._reader.in_large_frame:
                return
        self._server.loop.call_soon(self._readable)

    def _receive(self) -> bool:
        """Whether anything came; if it was the end of the connection, it is closed."""
        try:
            if self._reader.receive():
                if not self._writer.is_blocked:  # who takes no answer is not kept by what it sends, with what they hold
                    self.quiet_sweeps = 0
                return True
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self.close(str(error))
            return False
        self.close("")
        return False

    def _take_frames(self) -> None:
        """Start a handler for each complete frame, as far as the limits allow."""
        reader, in_flight_max = self._reader, self._server.config.in_flight_max
        try:
            if not self._is_judged and not self._judge():
                return
            while len(self._requests) + self._unsent < in_flight_max:
                frame = reader.next_frame()
                if frame is None:
                    break
                self._start(frame)
            else:
                self._pause()
        except ConnectionError as error:
            self.close(str(error))
        finally:
            reader.keep()

    def _judge(self) -> bool:
        """Whether the peer's first bytes are the beginning of frames. Who speaks HTTP/2 is passed on."""
        first = self._reader.unparsed
        is_http2 = begins_http2(first)
        if is_http2 is None:
            return False
        self._is_judged = True
        if is_http2:
            self._pause()
            if self._server.passed_on_count >= self._server.config.passed_on_max:
                raise ConnectionError("too many connections are passed on to where calls are taken")
            self._server.passed_on_count += 1
            self._passing = self._server.start(self._pass_on(first))
            self._passing.add_done_callback(self._passed_on)
        return not is_http2

    async def _pass_on(self, first: bytes) -> None:
        calls = self._server.calls
        assert calls is not None
        reason = ""
        try:
            await pass_on(self._socket, first, calls, self._server.receive_buffer, self._moved)
        except OSError as error:
            reason = str(error)
        except Exception:  # the top of a task
            logger.exception("%s: connection closed: it could not be passed on", self.peer)
        self.close(reason)

    def _passed_on(self, done: asyncio.Task[None]) -> None:
        self._server.passed_on_count -= 1
        self._socket.close()  # not before: until now the loop was watching it for the task

    def _moved(self) -> None:
        self.quiet_sweeps = 0

    def resume(self) -> None:
        """Go on where a limit stopped the reading."""
        if self._paused and not self._draining and not self._closed and self._passing is None:
            self._read_on()
            self._reader.resume()
            self._take_frames()

    def _reserve(self, size: int, begins: bool) -> bool:
        if self._server.reserve(size, self, begins):
            return True
        self._pause()
        return False

    def _start(self, frame: memoryview) -> None:
        request = _Request(len(frame) if len(frame) >= LARGE_FRAME_BYTES else 0)
        self._requests.append(request)
        task = request.task = self._server.start(self._handle(request, frame))
        if request.reserved_bytes:
            # Not at the end of the coroutine: a task that is cancelled before its first step never gets there.
            task.add_done_callback(lambda _: self._server.release(request.reserved_bytes, self))

    async def _handle(self, request: _Request, frame: memoryview) -> None:
        try:
            request.parts = await self._handler(frame)
            if not self._closed:
                self._answer()
        except ConnectionError as error:
            self.close(str(error))
        except Exception:  # the top of a task
            logger.exception("%s: connection closed: a request could not be handled", self.peer)
            self.close("")

    # --- answers

    def _answer(self) -> None:
        """Send every answer that has no unanswered request before it."""
        requests = self._requests
        while requests and requests[0].parts is not None and not self._closed:
            parts = requests.popleft().parts
            assert parts is not None
            if not parts:
                continue
            self._unsent += 1
            self._writer.send(parts)
        if not self._closed:
            self._settle()

    def _sent(self, count: int) -> None:
        self._unsent -= count
        self._settle()

    def _settle(self) -> None:
        """A request has been dealt with: there is room for another, or nothing left to wait for."""
        if self._draining:
            if not self._requests and not self._unsent:
                self.close("")
        elif self._paused:
            self.resume()

    def _send_failed(self, error: Exception) -> None:
        self.close(str(error))

    # --- the end

    def sweep(self, stall_sweeps_max: int, idle_sweeps_max: int, hello_sweeps_max: int) -> None:
        """Time has passed."""
        self.quiet_sweeps += 1
        if self._passing is not None:
            if self.quiet_sweeps > idle_sweeps_max:
                self.close("")
            return
        if self._writer.sent_bytes != self._sent_bytes_seen:
            self._sent_bytes_seen = self._writer.sent_bytes
            self.quiet_sweeps = 0
        self._readable()
        if self._is_stalled() and self.quiet_sweeps > stall_sweeps_max:
            self.close("the peer stopped in the middle of a frame")
        elif self._writer.is_blocked:
            if self.quiet_sweeps > idle_sweeps_max:
                self.close("the peer does not read its answers")
        elif self._requests or self._unsent:
            return
        elif self.quiet_sweeps > (idle_sweeps_max if self._is_judged else min(idle_sweeps_max, hello_sweeps_max)):
            self.close("")

    def _is_stalled(self) -> bool:
        """A consumer that handles what it has read leaves the next answer in its socket, but not for ever in memory."""
        if not self._paused and self._reader.in_mid_frame:
            return True
        occupied_bytes = self._writer.unsent_bytes + self.reserved_bytes
        return self._writer.is_blocked and occupied_bytes > self._server.config.unread_bytes_max

    def drain(self) -> None:
        """Take no more requests; close when the last one is answered."""
        if not self._closed:
            self._draining = True
            self._pause()
            if self._passing is None:  # else both ends know how to part, and the grace is theirs
                self._settle()

    def close(self, reason: str) -> None:
        """Now. An empty `reason` is nothing to speak of."""
        if self._closed:
            return
        self._closed = True
        if reason:
            logger.warning("%s: connection closed: %s", self.peer, reason)
        self._pause()
        self._writer.close()
        reserved_bytes = self._reader.reserved_bytes
        self._reader.drop()  # first: what is released must be free, and this connection may live on in cycles
        self._server.release(reserved_bytes, self)
        for request in self._requests:
            if request.task is not None and request.task is not asyncio.current_task(self._server.loop):
                request.task.cancel()
        self._requests.clear()
        if self._passing is None:
            self._socket.close()
        elif self._passing is not asyncio.current_task(self._server.loop):
            self._passing.cancel()
        self._server.forget(self)
