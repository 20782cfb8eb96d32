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

    def __init__(self, open_handler: Callable[[Address], FrameHandler]) -> None:
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
        self, address: Address, open_handler: Callable[[Address], FrameHandler], calls: Address | None = None
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
        self._waiting: deque[asyncio.Future[memoryview]] = deque()
        connection.client.incoming.on_arrival = self._arrived
        connection.client.on_break = self._broken

    async def request(self, frame: Sequence[Buffer], timeout_ms: int) -> memoryview:
        self._connection.maybe_reset()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[memoryview] = loop.create_future()
        data = b"".join(frame)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                self._connection.client.outgoing.push(data)
                self._waiting.append(answer)
                return await answer
        except TimeoutError:
            self.close()  # answers belong to requests by their order alone
            raise TransportTimeout(f"{self._address}: no answer in time") from None

    def close(self) -> None:
        self._connection.close(self._connection.client, f"{self._address}: closed here")

    def _arrived(self) -> None:
        message = self._connection.client.incoming.take()
        if message is END:
            self.close()
            return
        answer = self._waiting.popleft()
        if message != NO_ANSWER and not answer.done():
            answer.set_result(memoryview(message))

    def _broken(self, error: TransportError) -> None:
        while self._waiting:
            answer = self._waiting.popleft()
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


class _FramedServing:
    """The server's end of one connection: a reader that starts handlers, a writer that sends their answers in order."""

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
        self._end: End = connection.server
        self._answers: asyncio.Queue[Task[FrameParts]] = asyncio.Queue(FRAMES_AT_WORK_MAX)
        self._at_work: deque[asyncio.Task[FrameParts]] = deque()
        peer = Address(connection.client.host, 50_000 + network.number() % 10_000)
        loop = network.loop
        self._tasks = [
            loop.create_task(self._read(service, peer), name=f"{peer}/reader", context=listener.context.copy()),
            loop.create_task(self._write(), name=f"{peer}/writer", context=listener.context.copy()),
        ]
        self._forget = forget
        self._end.on_break = lambda _: self._stop()

    async def drained(self) -> None:
        """Wait until everything asked so far is answered."""
        await self._answers.join()

    def close(self) -> None:
        self._connection.close(self._end, "connection closed by the server")

    async def _read(self, service: FramedService, peer: Address) -> None:
        loop = self._network.loop
        try:
            handler = service.open_handler(peer)
            while (frame := await self._end.incoming.receive()) is not END:
                task = loop.create_task(_handle(handler, frame))
                await self._answers.put(task)
        except TransportError:
            pass
        except Exception as error:
            report(loop, "opening a frame handler failed", error)
            self.close()

    async def _write(self) -> None:
        while True:
            task = await self._answers.get()
            self._at_work.append(task)
            try:
                parts = await task
            except Exception as error:
                if not isinstance(error, ConnectionError):  # with which a handler asks for the connection to be closed
                    report(self._network.loop, "a frame handler failed", error)
                self.close()
                return
            finally:
                self._at_work.popleft()
            if not self._send(parts):
                return
            self._answers.task_done()

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
        self._forget()
        for task in (*self._tasks, *self._at_work):
            task.cancel()
        while not self._answers.empty():
            self._answers.get_nowait().cancel()
            self._answers.task_done()


async def _handle(handler: FrameHandler, frame: bytes) -> FrameParts:
    return await handler(memoryview(frame))


def _join(parts: FrameParts) -> bytes:
    return b"".join([_bytes_of(part) for part in parts])


def _bytes_of(part: Buffer | FileSlice) -> Buffer:
    if not isinstance(part, FileSlice):
        return part
    data = part.file.read(part.length, part.position)
    if len(data) != part.length:
        raise OSError(f"{part.file.path} ends inside the range to be sent")
    return data
