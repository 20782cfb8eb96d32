"""The transport port (gRPC in the real world) over the simulated network: unary calls and streams.

A call to a host that has no listener is `Refused`, one whose process dies before it answers `Unreachable`; silence ends
in `TransportTimeout`; a handler that raises, an unknown method or an oversized message is a `RemoteFailure`. Whoever
gives up tells the other side, whose handler is cancelled when the news arrives, as gRPC does. A handler that fails by
anything but `BadRequest` is also reported to the loop, since no handler of ours is meant to.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from kraftpy.runtime.ports import (
    Address,
    BadRequest,
    Methods,
    OpenHandler,
    Refused,
    RemoteFailure,
    StreamHandler,
    TransportError,
    TransportTimeout,
    UnaryHandler,
    Unreachable,
)
from simulation.connection import END, Connection, End, connect
from simulation.loop import Loop, NodeCrashed
from simulation.network import Host, HostState, Listener, Network

CONNECT_TIMEOUT_S = 5.0  # of silence before opening a stream fails


class SimulatedTransport:
    """The `Transport` port of one life of a node."""

    def __init__(self, network: Network, host: str) -> None:
        self._network = network
        self._host = host
        self._lane = network.host(host).lane
        self._alive = True
        self._closed = False
        self.calls_made: dict[str, int] = {}  # by method
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._streams: dict[int, _ClientStream] = {}

    def kill(self) -> None:
        """The process is gone."""
        self._alive = False

    async def call(self, address: Address, method: str, request: bytes, timeout_ms: int) -> bytes:
        self._check(address)
        network = self._network
        if len(request) > network.config.message_bytes_max:
            raise RemoteFailure(f"{address} {method}: message of {len(request)} bytes is too large")
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[bytes] = loop.create_future()
        call = _Call(network, self._host, address, method, request, reply)
        self.calls_made[method] = self.calls_made.get(method, 0) + 1
        self._calls[call.number] = reply
        timer = loop.call_later(timeout_ms / 1000, call.expire)
        call.begin()
        try:
            return await reply
        except asyncio.CancelledError:
            call.give_up()
            raise
        finally:
            timer.cancel()
            self._calls.pop(call.number, None)

    async def open_stream(self, address: Address, method: str) -> "_ClientStream":
        """Connects with the first `send` or `receive`, which raise if nobody is there."""
        self._check(address)
        number = self._network.number()
        stream = _ClientStream(self._network, self._host, address, method, lambda: self._streams.pop(number, None))
        self._streams[number] = stream
        return stream

    async def serve(
        self, address: Address, methods: Methods, strangers: OpenHandler | None = None
    ) -> "SimulatedServer":
        self._check(address)
        return SimulatedServer(self._network, self._host, self._network.bind(self._host, address, methods))

    async def close(self) -> None:
        """Calls in flight fail with `Unreachable`, streams break."""
        self._closed = True
        for reply in list(self._calls.values()):
            if not reply.done():
                reply.set_exception(Unreachable("the transport is closed"))
        for stream in list(self._streams.values()):
            stream.close()

    def _check(self, address: Address) -> None:
        if not self._alive:
            raise NodeCrashed("the transport of a dead node")
        if self._closed:
            raise Unreachable(f"{address}: the transport is closed")


class _Call:
    """One unary call on its way."""

    def __init__(
        self, network: Network, source: str, address: Address, method: str, request: bytes, reply: asyncio.Future[bytes]
    ) -> None:
        self.number = network.number()
        self._network = network
        self._source = source
        self._address = address
        self._method = method
        self._request = request
        self._reply = reply
        self._tasks: list[asyncio.Task[None]] = []
        self._given_up = False

    def begin(self) -> None:
        network = self._network
        host = network.find(self._address.host, self._source)
        if host is None:
            self._fail(Unreachable(f"{self._address}: no such host"))
            return
        network.loop.trace("call", self._source, host.name, self._method, len(self._request))
        network.host(self._source).endings[self.number] = lambda _: self.give_up()
        reset_at_once = network.chance(network.config.reset_rate)
        if reset_at_once:
            network.count("reset")
            network.send(host.name, self._source, 0, lambda: self._fail(Unreachable(f"{self._address}: reset")))
            if network.coin():
                return  # before the peer got it; otherwise it acts, and the caller never knows
        network.send(self._source, host.name, len(self._request), lambda: self._arrive(host), reliable=False)
        again = network.config.duplicate_rate > 0 and self._method.startswith(network.config.duplicate_methods)
        if again and network.chance(network.config.duplicate_rate):
            network.count("duplicate")
            network.send(self._source, host.name, len(self._request), lambda: self._arrive(host), reliable=False)

    def expire(self) -> None:
        self._fail(TransportTimeout(f"{self._address} {self._method}: no answer in time"))
        self.give_up()

    def give_up(self) -> None:
        """Nobody waits any longer: tell the other side, once."""
        if self._given_up:
            return
        self._given_up = True
        self._network.host(self._source).endings.pop(self.number, None)
        host = self._network.find(self._address.host, self._source)
        if host is not None:
            self._network.send(self._source, host.name, 0, self._cancel_handlers)

    def _arrive(self, host: Host) -> None:
        if host.state is HostState.DARK:
            return
        listener = host.listeners.get(self._address.port)
        if listener is None or not isinstance(listener.service, Methods):
            self._respond(host, Refused(f"{self._address}: connection refused"))
            return
        handler = listener.service.unary.get(self._method)
        if handler is None:
            self._respond(host, RemoteFailure(f"{self._address} {self._method}: unknown method (UNIMPLEMENTED)"))
            return
        self._start(host, listener, handler)

    def _start(self, host: Host, listener: Listener, handler: UnaryHandler) -> None:
        number = self._network.number()
        task = self._network.loop.create_task(
            self._serve(host, listener, handler, number),
            name=f"{host.name}{self._method}",
            context=listener.context.copy(),
        )
        self._tasks.append(task)
        listener.keep(number, task)
        host.endings[number] = lambda dark: self._host_died(host, dark)

    async def _serve(self, host: Host, listener: Listener, handler: UnaryHandler, number: int) -> None:
        try:
            response = await handler(self._request)
        except asyncio.CancelledError:
            self._respond(host, Unreachable(f"{self._address} {self._method}: cancelled by the peer"))
            raise
        except BadRequest as error:
            self._respond(host, RemoteFailure(f"{self._address} {self._method}: {error} (INVALID_ARGUMENT)"))
        except Exception as error:
            report(self._network.loop, f"{self._method} failed", error)
            self._respond(host, RemoteFailure(f"{self._address} {self._method}: {type(error).__name__}: {error}"))
        else:
            self._respond(host, response)
        finally:
            host.endings.pop(number, None)
            listener.tasks.pop(number, None)

    def _respond(self, host: Host, response: bytes | TransportError) -> None:
        size_bytes = len(response) if isinstance(response, bytes) else 0
        if isinstance(response, bytes) and size_bytes > self._network.config.message_bytes_max:
            response = RemoteFailure(f"{self._address} {self._method}: response of {size_bytes} bytes is too large")
        self._network.send(host.name, self._source, size_bytes, lambda: self._finish(response), reliable=False)

    def _finish(self, response: bytes | TransportError) -> None:
        if isinstance(response, TransportError):
            self._fail(response)
        elif not self._reply.done():
            self._network.host(self._source).endings.pop(self.number, None)
            self._reply.set_result(response)

    def _fail(self, error: TransportError) -> None:
        if not self._reply.done():
            self._network.host(self._source).endings.pop(self.number, None)
            self._reply.set_exception(error)

    def _host_died(self, host: Host, dark: bool) -> None:
        if not dark:
            error = Unreachable(f"{self._address} {self._method}: connection reset by peer")
            self._network.send(host.name, self._source, 0, lambda: self._fail(error))

    def _cancel_handlers(self) -> None:
        for task in self._tasks:
            task.cancel()


class SimulatedServer:
    """What `serve` gives: gRPC's server or a framed one."""

    def __init__(self, network: Network, host: str, listener: Listener) -> None:
        self._network = network
        self._host = host
        self._listener = listener

    @property
    def address(self) -> Address:
        return self._listener.address

    async def stop(self, grace_ms: int = 0) -> None:
        """Accept nothing new, and cancel what is unfinished after `grace_ms`."""
        self._network.unbind(self._host, self._listener)
        loop = asyncio.get_running_loop()
        until = loop.time() + grace_ms / 1000
        while (tasks := self._listener.at_work()) and loop.time() < until:
            finished = asyncio.gather(*tasks, return_exceptions=True)
            try:
                await asyncio.wait_for(asyncio.shield(finished), until - loop.time())
            except TimeoutError:
                break
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _ClientStream:
    """The caller's side of a call of many messages."""

    def __init__(
        self, network: Network, host: str, address: Address, method: str, forget: Callable[[], object]
    ) -> None:
        self._network = network
        self._host = host
        self._address = address
        self._method = method
        self._forget = forget
        self._closed = False
        self._ended = False
        self._connecting: asyncio.Task[Connection] | None = None
        self._connection: Connection | None = None

    async def send(self, message: bytes) -> None:
        connection = await self._connected()
        connection.maybe_reset()
        await connection.client.outgoing.send(message)

    async def receive(self) -> bytes | None:
        if self._ended:
            return END
        connection = await self._connected()
        message = await connection.client.incoming.receive()
        if message is END:
            self._ended = True
            self.close()
            return END
        if message[:1] == _FAILURE:
            self.close()
            raise RemoteFailure(f"{self._address} {self._method}: {message[1:].decode()}")
        return message[1:]

    async def end_sending(self) -> None:
        connection = await self._connected()
        connection.maybe_reset()
        await connection.client.outgoing.send(END)

    def close(self) -> None:
        self._closed = True
        self._forget()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.close(self._connection.client, f"{self._address} {self._method}: the stream is closed")

    async def _connected(self) -> Connection:
        if self._closed:
            raise Unreachable(f"{self._address} {self._method}: the stream is closed")
        if self._connection is None:
            if self._connecting is None:
                self._connecting = asyncio.get_running_loop().create_task(self._connect())
                self._connecting.add_done_callback(_retrieve)
            try:
                self._connection = await asyncio.shield(self._connecting)
            except asyncio.CancelledError:
                if not self._closed:
                    raise
                raise Unreachable(f"{self._address} {self._method}: the stream is closed") from None
        return self._connection

    async def _connect(self) -> Connection:
        target = self._network.find(self._address.host, self._host)
        if target is None:
            raise Unreachable(f"{self._address}: no such host")
        network = self._network
        opening = connect(
            network, self._host, target.name, lambda connection: self._accept(target, connection), asks_process=True
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await opening
        except TimeoutError:
            raise Unreachable(f"{self._address}: no answer to the attempt to connect") from None

    def _accept(self, host: Host, connection: Connection) -> TransportError | None:
        """Runs over there, when the call arrives."""
        listener = host.listeners.get(self._address.port)
        if listener is None or not isinstance(listener.service, Methods):
            return Unreachable(f"{self._address}: connection refused")
        handler = listener.service.stream.get(self._method)
        if handler is None:
            return RemoteFailure(f"{self._address} {self._method}: unknown method (UNIMPLEMENTED)")
        number = self._network.number()
        task = self._network.loop.create_task(
            _serve_stream(self._network, connection, self._method, handler, lambda: listener.tasks.pop(number, None)),
            name=f"{host.name}{self._method}",
            context=listener.context.copy(),
        )
        listener.keep(number, task)
        connection.server.on_break = lambda _: _cancel(task)
        return None


_MESSAGE = b"m"
_FAILURE = b"f"


async def _serve_stream(
    network: Network, connection: Connection, method: str, handler: StreamHandler, forget: Callable[[], object]
) -> None:
    end = connection.server

    async def send(message: bytes) -> None:
        connection.maybe_reset()
        await end.outgoing.send(_MESSAGE + message)

    try:
        await handler(_requests(end), send)
    except TransportError:
        pass  # the client went away while we were answering it
    except asyncio.CancelledError:
        end.on_break = None
        connection.close(end, f"{method}: cancelled by the peer")
        raise
    except BadRequest as error:
        _push(end, _FAILURE + f"{error} (INVALID_ARGUMENT)".encode())
    except Exception as error:
        report(network.loop, f"{method} failed", error)
        _push(end, _FAILURE + f"{type(error).__name__}: {error}".encode())
    finally:
        forget()
        end.on_break = None
        _push(end, END)


async def _requests(end: End) -> AsyncIterator[bytes]:
    while (message := await end.incoming.receive()) is not END:
        yield message


def _push(end: End, message: bytes | None) -> None:
    if end.error is None:
        end.outgoing.push(message)


def report(loop: Loop, message: str, error: Exception) -> None:
    """A handler failed: a bug, which the run is to end with."""
    loop.call_exception_handler({"message": message, "exception": error})


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def _retrieve(task: asyncio.Task[Connection]) -> None:
    """An attempt that nobody waits for any longer may fail in peace."""
    if not task.cancelled():
        task.exception()
