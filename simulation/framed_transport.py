"""The framed transport port (length-prefixed frames over TCP) over the simulated network.

Requests of a connection are handled as they come, several at once, and answered in their order, as Kafka's protocol
demands. File slices are read through their file when their answer's turn to leave comes, as sendfile does. A handler
that raises, or a slice that cannot be read, closes the connection; so does a request that times out, because answers
belong to requests by their order alone.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from kraftpy.runtime.ports import (
    Address,
    Buffer,
    FileSlice,
    FrameHandler,
    FrameParts,
    OpenHandler,
    TransportError,
    TransportTimeout,
    Unreachable,
)
from simulation.connection import END, Connection, End, connect
from simulation.lane import Task
from simulation.loop import NodeCrashed
from simulation.network import Listener, Network
from simulation.transport import report

FRAMES_AT_WORK_MAX = 128  # of one connection; then the server reads no further
NO_ANSWER = b""  # travels back in place of an answer that is not given


class FramedService:
    """What a framed listener serves, and its connections."""

    def __init__(self, open_handler: OpenHandler) -> None:
        self.open_handler = open_handler
        self.connections: dict[int, _FramedServing] = {}

    def serve(self, network: Network, connection: Connection, listener: Listener) -> None:
        number = network.number()
        self.connections[number] = _FramedServing(
            network, connection, listener, self, lambda: self.connections.pop(number, None)
        )


class SimulatedFramedTransport:
    """The `FramedTransport` port of one life of a node."""

    def __init__(self, network: Network, host: str) -> None:
        self._network = network
        self._host = host
        self._alive = True

    def kill(self) -> None:
        """The process is gone."""
        self._alive = False

    async def connect(self, address: Address, timeout_ms: int) -> "SimulatedFramedConnection":
        """Raises `Unreachable` where it is refused, `TransportTimeout` where nobody answers."""
        self._check()
        target = self._network.find(address.host, self._host)
        if target is None:
            raise Unreachable(f"{address}: no such host")

        def accept(connection: Connection) -> TransportError | None:
            listener = target.listeners.get(address.port)
            if listener is None or not isinstance(listener.service, FramedService):
                return Unreachable(f"{address}: connection refused")
            listener.service.serve(self._network, connection, listener)
            return None

        try:
            async with asyncio.timeout(timeout_ms / 1000):
                connection = await connect(self._network, self._host, target.name, accept, asks_process=False)
        except TimeoutError:
            raise TransportTimeout(f"{address}: no answer to the attempt to connect") from None
        return SimulatedFramedConnection(self._network, connection, address)

    async def serve(
        self, address: Address, open_handler: OpenHandler, calls: Address | None = None
    ) -> "SimulatedFramedServer":
        self._check()
        service = FramedService(open_handler)
        return SimulatedFramedServer(
            self._network, self._host, self._network.bind(self._host, address, service), service
        )

    def _check(self) -> None:
        if not self._alive:
            raise NodeCrashed("the transport of a dead node")


class SimulatedFramedConnection:
    """The caller's end."""

    def __init__(self, network: Network, connection: Connection, address: Address) -> None:
        self._network = network
        self._connection = connection
        self._address = address
        self._waiting: deque[tuple[asyncio.Future[memoryview], asyncio.TimerHandle]] = deque()
        connection.client.incoming.on_arrival = self._arrived
        connection.client.on_break = self._broken

    async def request(self, frame: Sequence[Buffer], timeout_ms: int) -> memoryview:
        return await self.ask(frame, timeout_ms)

    def ask(self, frame: Sequence[Buffer], timeout_ms: int) -> "asyncio.Future[memoryview]":
        self._connection.maybe_reset()
        loop = asyncio.get_running_loop()
        self._connection.client.outgoing.push(b"".join(frame))
        answer: asyncio.Future[memoryview] = loop.create_future()
        self._waiting.append((answer, loop.call_later(timeout_ms / 1000, self._expire, answer)))
        return answer

    def _expire(self, answer: "asyncio.Future[memoryview]") -> None:
        if not answer.done():
            answer.set_exception(TransportTimeout(f"{self._address}: no answer in time"))
            self.close()  # answers belong to requests by their order alone

    def close(self) -> None:
        self._connection.close(self._connection.client, f"{self._address}: closed here")

    def _arrived(self) -> None:
        message = self._connection.client.incoming.take()
        if message is END:
            self.close()
            return
        answer, timer = self._waiting.popleft()
        if message == NO_ANSWER:
            return  # its time runs out
        timer.cancel()
        if not answer.done():
            answer.set_result(memoryview(message))

    def _broken(self, error: TransportError) -> None:
        while self._waiting:
            answer, timer = self._waiting.popleft()
            timer.cancel()
            if not answer.done():
                answer.set_exception(error)


class SimulatedFramedServer:
    """A framed listener."""

    def __init__(self, network: Network, host: str, listener: Listener, service: FramedService) -> None:
        self._network = network
        self._host = host
        self._listener = listener
        self._service = service

    @property
    def address(self) -> Address:
        return self._listener.address

    async def stop(self, grace_ms: int = 0) -> None:
        """Accept nothing more, give requests `grace_ms` to be answered, close everything."""
        self._network.unbind(self._host, self._listener)
        connections = list(self._service.connections.values())
        try:
            async with asyncio.timeout(grace_ms / 1000):
                await asyncio.gather(*[connection.drained() for connection in connections])
        except TimeoutError:
            pass
        for connection in connections:
            connection.close()


class _Work:
    """One frame and what has become of it: the parts of its answer, or why there is none; neither while it is under
    way."""

    __slots__ = ("error", "parts", "task")

    def __init__(self) -> None:
        self.parts: FrameParts | None = None
        self.error: BaseException | None = None
        self.task: Task[None] | None = None

    @property
    def is_done(self) -> bool:
        return self.parts is not None or self.error is not None


class _FramedServing:
    """The server's end of one connection: frames become handlers as they arrive, whose answers leave in order.

    It has no tasks but the handlers. What happens in the node's name is scheduled in its lane, so a node that is paused
    neither begins nor answers anything, and then goes on in order.
    """

    def __init__(
        self,
        network: Network,
        connection: Connection,
        listener: Listener,
        service: FramedService,
        forget: Callable[[], object],
    ) -> None:
        self._network = network
        self._connection = connection
        self._context = listener.context
        self._end: End = connection.server
        self._at_work: deque[_Work] = deque()  # in the order in which they were asked
        self._idle: asyncio.Future[None] | None = None
        self._handler: FrameHandler | None = None
        self._forget = forget
        peer = Address(connection.client.host, 50_000 + network.number() % 10_000)
        self._end.on_break = lambda _: self._stop()
        self._end.incoming.on_arrival = self._begin
        network.loop.call_soon(self._open, service, peer, context=self._context)

    async def drained(self) -> None:
        """Wait until everything asked so far is answered."""
        if self._at_work:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    def close(self) -> None:
        self._connection.close(self._end, "connection closed by the server")

    def _open(self, service: FramedService, peer: Address) -> None:
        try:
            self._handler = service.open_handler(peer)
        except Exception as error:
            report(self._network.loop, "opening a frame handler failed", error)
            self.close()

    def _begin(self) -> None:
        """Let handlers begin for what has arrived, in the world's lane; what is too much waits in the pipe."""
        incoming, loop = self._end.incoming, self._network.loop
        while self._end.error is None and incoming.has_arrived and len(self._at_work) < FRAMES_AT_WORK_MAX:
            frame = incoming.take()
            if frame is END:
                return
            work = _Work()
            self._at_work.append(work)
            work.task = loop.create_task(self._handle(frame, work), context=self._context.copy())

    async def _handle(self, frame: bytes, work: _Work) -> None:
        try:
            if self._handler is None:
                raise ConnectionError("this connection was not opened")
            work.parts = await self._handler(memoryview(frame))
        except (Exception, asyncio.CancelledError) as error:
            work.error = error
        self._answer()

    def _answer(self) -> None:
        """Send what is done, as far as it is its turn."""
        while self._at_work and self._at_work[0].is_done:
            work = self._at_work.popleft()
            if work.parts is None:
                if isinstance(work.error, Exception) and not isinstance(work.error, ConnectionError):
                    report(self._network.loop, "a frame handler failed", work.error)  # by no wish to close it
                self.close()
                return
            if not self._send(work.parts):
                return
        self._begin()
        if not self._at_work and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _send(self, parts: FrameParts) -> bool:
        try:
            self._end.outgoing.push(_join(parts))
        except TransportError:
            return False
        except OSError as error:  # the file went away, or cannot be read: nothing else to say to a sendfile's client
            self._network.loop.trace("slice-unreadable", error)
            self.close()
            return False
        return True

    def _stop(self) -> None:
        self._end.on_break = None
        self._end.incoming.on_arrival = None
        self._forget()
        at_work, self._at_work = self._at_work, deque()
        for work in at_work:
            if work.task is not None:
                work.task.cancel()
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)


def _join(parts: FrameParts) -> bytes:
    return b"".join([_bytes_of(part) for part in parts])


def _bytes_of(part: Buffer | FileSlice) -> Buffer:
    if not isinstance(part, FileSlice):
        return part
    data = part.file.read(part.length, part.position)
    if len(data) != part.length:
        raise OSError(f"{part.file.path} ends inside the range to be sent")
    return data
