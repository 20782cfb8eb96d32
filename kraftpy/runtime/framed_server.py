"""The serving side of the framed transport: a listener, its connections, and what they may occupy.

    accept → receive → frames → handlers (several at once) → answers in the order of the requests → send

Invariants:
- A connection has at most `in_flight_max` requests that are not yet answered to the last byte; then it is not read.
- Large frames of all connections together hold at most `receive_bytes_max`, counted as their bytes come (an
  announcement costs nothing to send, so it gets nothing) until their handler has answered. A connection that gets no
  more memory is not read and waits its turn. So that half-received frames cannot block each other for good, one
  connection at a time is exempt, and may hold one largest frame on top. Small frames never wait, or the followers'
  fetches could wait for the very produce requests that they would complete.
- Time-outs are counted in sweeps of the loop rather than by a clock: a process that was stopped for a minute has seen
  one sweep, and reads what arrived meanwhile before it judges anybody.
- A connection that begins as HTTP/2 does belongs to the calls' listener: it is passed on, and nothing of it is framed.
- A connection that is closed has its handlers cancelled, and leaves nothing behind.

What goes wrong with one peer is one log line. A handler that raises `ConnectionError` wants the connection closed;
any other exception is a bug, and is logged with its traceback.
"""

import asyncio
import errno
import logging
import socket
from collections import Counter, deque

from kraftpy.runtime.frame_reader import LARGE_FRAME_BYTES, RECEIVE_BUFFER_BYTES, FrameReader
from kraftpy.runtime.frame_writer import FrameWriter, RunOnDisk
from kraftpy.runtime.framed_config import FramedConfig
from kraftpy.runtime.handover import begins_http2, pass_on
from kraftpy.runtime.ports import Address, FrameHandler, FrameParts, OpenHandler
from kraftpy.runtime.sockets import prepare

logger = logging.getLogger(__name__)

SWEEPS_PER_TIMEOUT = 8
RECEIVES_PER_TURN = 8
ACCEPTS_PER_TURN = 64
ACCEPT_RETRY_SECONDS = 0.5
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


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
        stalled = self._writer.is_blocked or (not self._paused and self._reader.in_mid_frame)
        if stalled and self.quiet_sweeps > stall_sweeps_max:
            self.close("the peer stopped in the middle of a frame")
        elif self._requests or self._unsent:
            return
        elif self.quiet_sweeps > (idle_sweeps_max if self._is_judged else min(idle_sweeps_max, hello_sweeps_max)):
            self.close("")

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


class FramedServer:
    """One listener. Satisfies `kraftpy.runtime.ports.Server`."""

    def __init__(
        self,
        listening: socket.socket,
        address: Address,
        open_handler: OpenHandler,
        run: RunOnDisk,
        config: FramedConfig,
        calls: Address | None = None,
    ) -> None:
        """`listening` is bound to `address`, listens, and does not block. The running loop serves it from now on.
        `calls`: where connections are passed on to that speak HTTP/2."""
        self.loop = asyncio.get_running_loop()
        self.config = config
        self.run = run
        self.calls = calls
        self.passed_on_count = 0  # connections that are being passed on; 0 <= count <= config.passed_on_max
        self.receive_buffer = memoryview(bytearray(RECEIVE_BUFFER_BYTES))
        self._address = address
        self._listening = listening
        self._open_handler = open_handler
        self._connections: dict[ServedConnection, None] = {}  # in the order of their arrival
        self._per_host: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reserved_bytes = 0  # 0 <= reserved <= config.receive_bytes_max + config.frame_bytes_max
        self._with_exemption_bytes_max = config.receive_bytes_max + config.frame_bytes_max
        self._exempt: ServedConnection | None = None  # from receive_bytes_max, as long as it holds anything
        self._waiting_for_memory: deque[ServedConnection] = deque()  # each at most once, the longest waiting first
        self._refusing = False  # connections; said once a sweep
        self._stopping = False
        self._all_closed = asyncio.Event()
        self._sweep_seconds = min(config.stall_ms, config.idle_ms, config.hello_ms) / 1000 / SWEEPS_PER_TIMEOUT
        self._sweep_timer = self.loop.call_later(self._sweep_seconds, self._sweep)
        self.loop.add_reader(listening.fileno(), self._acceptable)

    @property
    def address(self) -> Address:
        return self._address

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    @property
    def reserved_bytes(self) -> int:
        """What large frames occupy at the moment."""
        return self._reserved_bytes

    async def stop(self, grace_ms: int = 0) -> None:
        """Accept nothing more, give requests `grace_ms` to be answered, close everything. May be called again."""
        if not self._stopping:
            self._stopping = True
            self._sweep_timer.cancel()
            self.loop.remove_reader(self._listening.fileno())
            self._listening.close()
        for connection in list(self._connections):
            connection.drain()
        if self._connections and grace_ms > 0:
            try:
                async with asyncio.timeout(grace_ms / 1000):
                    await self._all_closed.wait()
            except TimeoutError:
                pass
        for connection in list(self._connections):
            connection.close("")
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- for the connections

    def start(self, work: "asyncio._CoroutineLike[None]") -> asyncio.Task[None]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def reserve(self, size: int, connection: ServedConnection, begins: bool) -> bool:
        """Whether there is memory for a large frame that begins or grows; if not, `connection` is resumed in its turn.

        Only the first in the queue gets any, and the exempt one for a frame that it has begun.
        """
        waiting = self._waiting_for_memory
        is_first = not waiting or waiting[0] is connection
        is_exempt = self._exempt is connection or (self._exempt is None and is_first)
        needed = self._reserved_bytes + size
        if is_first and needed <= self.config.receive_bytes_max:
            pass
        elif is_exempt and (is_first or not begins) and needed <= self._with_exemption_bytes_max:
            self._exempt = connection
        else:
            if not connection.waits_for_memory:
                connection.waits_for_memory = True
                waiting.append(connection)
            return False
        self._reserved_bytes += size
        connection.reserved_bytes += size
        self._leave_queue(connection)
        return True

    def release(self, size: int, connection: ServedConnection) -> None:
        """Give back what was reserved, and let in whoever has waited longest, as long as there is room."""
        self._reserved_bytes -= size
        connection.reserved_bytes -= size
        if self._exempt is connection and not connection.reserved_bytes:
            self._exempt = None
        if self._exempt is not None and self._exempt.waits_for_memory:
            self._exempt.resume()
        waiting = self._waiting_for_memory
        while waiting:
            first = waiting[0]
            first.resume()
            if first.waits_for_memory:
                return

    def _leave_queue(self, connection: ServedConnection) -> None:
        if connection.waits_for_memory:
            connection.waits_for_memory = False
            self._waiting_for_memory.remove(connection)

    def forget(self, connection: ServedConnection) -> None:
        """It is closed. What its handlers hold is released when they have ended."""
        self._leave_queue(connection)
        self.release(0, connection)
        del self._connections[connection]
        self._per_host[connection.peer.host] -= 1
        if not self._per_host[connection.peer.host]:
            del self._per_host[connection.peer.host]
        if self._stopping and not self._connections:
            self._all_closed.set()

    # --- accepting

    def _acceptable(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, name = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._accept_failed(error)
                return
            peer = Address(name[0].removeprefix("::ffff:"), name[1])  # IPv4, heard by an IPv6 socket
            if self._has_room_for(peer):
                self._accept(accepted, peer)
            else:
                accepted.close()

    def _accept_failed(self, error: OSError) -> None:
        """Out of descriptors or memory, most likely; a level-triggered loop would spin, so look again later."""
        if error.errno not in _EXHAUSTED:
            logger.error("%s: cannot accept connections: %s", self._address, error)
        elif not self._refusing:
            self._refusing = True
            logger.warning("%s: connections wait, the process is out of resources: %s", self._address, error)
        self.loop.remove_reader(self._listening.fileno())
        self.loop.call_later(ACCEPT_RETRY_SECONDS, self._accept_again)

    def _accept_again(self) -> None:
        if not self._stopping:
            self.loop.add_reader(self._listening.fileno(), self._acceptable)

    def _has_room_for(self, peer: Address) -> bool:
        config = self.config
        room = (
            len(self._connections) < config.connections_max
            and self._per_host[peer.host] < config.connections_per_address_max
        )
        if not room and not self._refusing:
            self._refusing = True
            logger.warning("%s: connections are refused: %s, or all together, have too many", self._address, peer.host)
        return room

    def _accept(self, accepted: socket.socket, peer: Address) -> None:
        try:
            prepare(accepted)
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.config.send_buffer_bytes)
            handler = self._open_handler(peer)
        except OSError:  # gone before it was welcomed
            accepted.close()
            return
        except Exception:  # as good as the top of a task
            logger.exception("%s: connection closed: it could not be served", peer)
            accepted.close()
            return
        self._connections[ServedConnection(self, accepted, peer, handler)] = None
        self._per_host[peer.host] += 1

    def _sweep(self) -> None:
        self._sweep_timer = self.loop.call_later(self._sweep_seconds, self._sweep)
        config = self.config
        limits = [
            int(limit_ms / 1000 / self._sweep_seconds)
            for limit_ms in (config.stall_ms, config.idle_ms, config.hello_ms)
        ]
        self._refusing = False
        for connection in list(self._connections):
            connection.sweep(*limits)
