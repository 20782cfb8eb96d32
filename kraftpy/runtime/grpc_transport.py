"""Calls between nodes and from clients over gRPC: the real `ports.Transport`.

Messages are bytes on both sides: handlers and callers serialize for themselves, so no generated stub stands in between
and bulk payloads are never decoded here. One channel an address is kept and shared; at most `CHANNELS_MAX` are open,
the one unused for longest goes first.

How a gRPC status becomes a `TransportError`:

| status | raised | why |
|---|---|---|
| UNAVAILABLE, and each address of the name refused | `Refused` | nobody listens there |
| UNAVAILABLE, and the connection broke before gRPC was spoken | `Dropped` | a process that dies, or has too many |
| UNAVAILABLE, and there is no connection otherwise | `NotConnected` | nothing was sent, and nothing is known |
| UNAVAILABLE otherwise, CANCELLED by the peer | `Unreachable` | reset, or the server stopped in mid-call |
| DEADLINE_EXCEEDED, and there is no connection | `ConnectTimeout` | gRPC was still about to make one |
| DEADLINE_EXCEEDED otherwise | `TransportTimeout` | silence, which tells nothing about the peer |
| any other | `RemoteFailure` | somebody is there and said no |

gRPC does not survive a fork once it is in use: its threads are not in the child, and the first call there hangs or ends
the process by a signal. With all channels closed it still does so now and then, for its threads end later. So a process
that was forked off one that has made a call, or served, is told by `ForkedError`, and makes no call.

This module needs gRPC (70 ms to import): import it where a transport is made.
"""

import asyncio
import inspect
import ipaddress
import logging
import os
import re
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any, NoReturn

# gRPC's core writes its own lines to stderr for what is raised here as an exception anyway (a port in use, a peer that
# resets). Whoever debugs gRPC sets the variable.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# What gRPC does for forks is not made for its asyncio side: it starts threads in the child, which end one child in four
# by signal 11, also one that makes no call.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc
import grpc.aio

from kraftpy.runtime.grpc_services import StandardServices
from kraftpy.runtime.ports import (
    Address,
    BadRequest,
    ConnectTimeout,
    Dropped,
    Methods,
    NotConnected,
    OpenHandler,
    Refused,
    RemoteFailure,
    Server,
    Stream,
    StreamHandler,
    TransportError,
    TransportTimeout,
    UnaryHandler,
    Unreachable,
)
from kraftpy.runtime.sockets import connect

MESSAGE_BYTES_MAX = 64 << 20  # in both directions; above Kafka's fetch.max.bytes (50 MiB) with its headers
CHANNELS_MAX = 512  # open at once; each holds one descriptor
LOOPBACK = "127.0.0.1"
CALLS_MAX = 4_096  # a server serves at once (a parked fetch is one), three quarters of them for others than nodes; more
# are answered RESOURCE_EXHAUSTED
CALLS_PER_CONNECTION_MAX = 1_024  # more wait in the client
RECEIVE_WINDOW_BYTES = 1 << 20
"""What a server takes of a call before its handler asks for it, or one message where that is larger. gRPC would guess
from the time that an answer takes, which on busy processors came to 80 MB of one call. At 20 ms of way it is 50 MB/s.
"""
IDLE_MS = 600_000  # a connection without a call is closed after so long; its client connects anew when it has one

RECONNECT_FIRST_MS = 50  # a peer that starts late is found after 0.2-0.4 s instead of gRPC's 0.6-1.2 s
RECONNECT_LONGEST_MS = 500  # so a node that comes back is called again at once
RESOLVE_MS = (
    500  # least distance of two looks at a name; gRPC's 30 s keep a peer lost that has moved to another address
)
CONNECT_MS = 5_000  # of silence before an attempt to connect counts as failed
CONFIRM_MS = 200  # for all addresses of a name of which one has refused; a call may last so much longer
KEEPALIVE_MS = 10_000  # quiet time of a connection with calls on it before it is probed
KEEPALIVE_ANSWER_MS = 5_000  # raising either finds a vanished machine later

_NOT_CONNECTED = ("failed to connect to all addresses", "errors resolving", "DNS resolution failed")
"""gRPC's words for a call that found no connection, or no address; there is no status of its own for it."""
_REFUSED = "Connection refused"
"""… because nobody listens there. The sentence gives the reason of the last attempt, at whichever address of the name.
Once that has met with silence for `CONNECT_MS`, every call is told so at once, as if it were an answer."""
_DROPPED = re.compile("Connection reset by peer|Socket closed|Broken pipe")
"""… because whoever listens there, or did a moment ago, closed it. A process that is killed does that to connections
that it has not accepted yet, and `FramedServer` at its limits to those that it has."""

_COMMON_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_ANSWER_MS),
]
_CHANNEL_OPTIONS = [
    *_COMMON_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", RECONNECT_FIRST_MS),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_LONGEST_MS),
    ("grpc.dns_min_time_between_resolutions_ms", RESOLVE_MS),
    ("grpc.min_reconnect_backoff_ms", CONNECT_MS),  # in gRPC's core this bounds one attempt
    ("grpc.enable_retries", 0),  # who may retry is the caller's knowledge
    ("grpc.enable_http_proxy", 0),  # a proxy for the web is no way between nodes
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),  # another transport's back-off is not ours
]
_SERVER_OPTIONS = [
    *_COMMON_OPTIONS,
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", CALLS_PER_CONNECTION_MAX),
    ("grpc.max_connection_idle_ms", IDLE_MS),
    ("grpc.http2.bdp_probe", 0),  # gRPC's guess
    ("grpc.http2.lookahead_bytes", RECEIVE_WINDOW_BYTES),
    ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MS // 2),
]

_log = logging.getLogger(__name__)


class ForkedError(RuntimeError):
    """gRPC was in use in the process that this one was forked off, and cannot be used here."""

    def __init__(self) -> None:
        super().__init__(
            "gRPC cannot be used here: this process was forked off one that had used clients or nodes. Use them after "
            "forking only, or start processes by multiprocessing's spawn or forkserver"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (), self.__dict__  # a pool's parent hears of it


_is_used = False
_is_unusable = False


class GrpcTransport:
    """One process's channels, and the servers that it starts. Belongs to the loop on which it is first used.

    Raises `ForkedError` where gRPC cannot be used, at its making and at each use.
    """

    def __init__(self) -> None:
        _check_usable()
        self._channels: OrderedDict[Address, _Channel] = OrderedDict()  # the most recently used is last
        self._evicted: list[asyncio.Task[None]] = []
        self._closed = False

    async def call(self, address: Address, method: str, request: bytes, timeout_ms: int) -> bytes:
        """One request, one response. Raises `TransportError`; a call to a silent peer ends after `timeout_ms`."""
        channel = self._channel(address)
        with channel:
            try:
                answer: bytes = await channel.unary(method)(request, timeout=timeout_ms / 1_000)
            except grpc.aio.AioRpcError as error:
                raise await channel.failure(error.code(), f"{method}: {error.details()}") from None
            except grpc.aio.UsageError:  # the channel was closed while we were on our way
                raise Unreachable(f"{address}: the transport is closed") from None
            except asyncio.CancelledError:  # which gRPC raises as well where the channel is closed meanwhile
                if _is_cancelled():
                    raise
                raise Unreachable(f"{address} {method}: the transport is closed") from None
            return answer

    async def open_stream(self, address: Address, method: str) -> Stream:
        """A call of many messages. It connects with the first `send` or `receive`, which raise if nobody is there."""
        return _GrpcStream(self._channel(address), method)

    async def serve(self, address: Address, methods: Methods, strangers: OpenHandler | None = None) -> Server:
        """Serve `methods`, with gRPC's standard health and reflection services beside them.

        Raises `OSError`, which names the address, where it cannot be bound.
        """
        from kraftpy.runtime.calls_door import open_door  # a client serves nobody, and starts sooner without

        _use()
        services = StandardServices(methods)
        server = grpc.aio.server(
            handlers=[_Router(methods, services, _Places(CALLS_MAX))],
            options=_SERVER_OPTIONS,
            maximum_concurrent_rpcs=CALLS_MAX,
        )
        try:
            behind = Address(LOOPBACK, server.add_insecure_port(f"{LOOPBACK}:0"))
            door = await open_door(address, behind, strangers)
        except BaseException:
            await server.stop(None)
            raise
        await server.start()
        return _GrpcServer(server, services, door)

    async def close(self) -> None:
        """Close every channel; calls in flight fail with `Unreachable`. Servers are stopped by whoever started them."""
        self._closed = True
        channels = list(self._channels.values())
        self._channels.clear()
        await asyncio.gather(*self._evicted, *[channel.close() for channel in channels])

    def _channel(self, address: Address) -> "_Channel":
        if self._closed:
            raise Unreachable(f"{address}: the transport is closed")
        _use()
        channel = self._channels.get(address)
        if channel is None:
            self._evict_idle()
            channel = self._channels[address] = _Channel(address)
        self._channels.move_to_end(address)
        return channel

    def _evict_idle(self) -> None:
        self._evicted = [task for task in self._evicted if not task.done()]
        if len(self._channels) < CHANNELS_MAX:
            return
        idle = next((address for address, channel in self._channels.items() if channel.users == 0), None)
        if idle is None:
            raise Unreachable(f"{CHANNELS_MAX} connections are open and all of them are in use")
        self._evicted.append(asyncio.create_task(self._channels.pop(idle).close()))


class _Channel:
    """A channel with its callables, one a method, and the number of calls on it (`with` counts one)."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.users = 0  # calls and streams that are open
        self._channel = grpc.aio.insecure_channel(_target(address), options=_CHANNEL_OPTIONS)
        self._unary: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {}

    def __enter__(self) -> None:
        self.users += 1

    def __exit__(self, *_: object) -> None:
        self.users -= 1

    def unary(self, method: str) -> "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]":
        callable_ = self._unary.get(method)
        if callable_ is None:
            callable_ = self._unary[method] = self._channel.unary_unary(method)
        return callable_

    def stream(self, method: str) -> "grpc.aio.StreamStreamCall[bytes, bytes]":
        multi: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(method)
        return multi()

    async def failure(self, status: grpc.StatusCode, reason: str) -> TransportError:
        """What a call on this channel failed with."""
        message = f"{self.address} {reason}"
        if status == grpc.StatusCode.UNAVAILABLE and any(words in message for words in _NOT_CONNECTED):
            if _REFUSED in message:
                return Refused(message) if await _refuses(self.address) else NotConnected(message)
            return Dropped(message) if _DROPPED.search(message) else NotConnected(message)
        if status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.OK):
            return Unreachable(message)
        if status == grpc.StatusCode.DEADLINE_EXCEEDED:
            is_connected = self._channel.get_state() == grpc.ChannelConnectivity.READY
            return TransportTimeout(message) if is_connected else ConnectTimeout(message)
        return RemoteFailure(f"{message} ({status.name})")

    async def close(self) -> None:
        await self._channel.close()


class _GrpcStream:
    """The caller's side of a call of many messages."""

    def __init__(self, channel: _Channel, method: str) -> None:
        self._channel = channel
        self._method = method
        self._closed = False
        self._call = channel.stream(method)
        channel.users += 1
        self._call.add_done_callback(lambda _: channel.__exit__())

    async def send(self, message: bytes) -> None:
        try:
            await self._call.write(message)
        except grpc.aio.AioRpcError as error:
            raise await self._channel.failure(error.code(), f"{self._method}: {error.details()}") from None
        except asyncio.InvalidStateError:  # the call is over: its status says why
            raise await self._failure() from None
        except asyncio.CancelledError:
            raise self._cancellation() from None

    async def receive(self) -> bytes | None:
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise await self._channel.failure(error.code(), f"{self._method}: {error.details()}") from None
        except asyncio.CancelledError:
            raise self._cancellation() from None
        return message if isinstance(message, bytes) else None  # gRPC's end marker is an object of its own

    async def end_sending(self) -> None:
        try:
            await self._call.done_writing()
        except asyncio.CancelledError:
            raise self._cancellation() from None

    def close(self) -> None:
        self._closed = True
        self._call.cancel()

    async def _failure(self) -> TransportError:
        status, details = await self._call.code(), await self._call.details()
        return await self._channel.failure(status, f"{self._method}: {details or 'the stream has ended'}")

    def _cancellation(self) -> BaseException:
        """gRPC reports a stream closed on this side as a cancellation; only a cancelled task may see one."""
        if _is_cancelled():
            self._call.cancel()
            return asyncio.CancelledError()
        return Unreachable(f"{self._channel.address} {self._method}: the stream is closed")


class _GrpcServer:
    """gRPC's server on the loopback interface, and the door that leads to it."""

    def __init__(self, server: grpc.aio.Server, services: StandardServices, door: Server) -> None:
        self._server = server
        self._services = services
        self._door = door

    @property
    def address(self) -> Address:
        return self._door.address

    async def stop(self, grace_ms: int = 0) -> None:
        """Accept nothing new, and cancel what is unfinished after `grace_ms`."""
        await self._services.stop()
        await asyncio.gather(self._door.stop(grace_ms), self._server.stop(grace_ms / 1_000))


class _Router(grpc.GenericRpcHandler):
    """Finds the handler of a method; an unknown one is answered UNIMPLEMENTED by gRPC."""

    def __init__(self, methods: Methods, services: StandardServices, places: "_Places") -> None:
        self._services = services
        self._places = places
        self._handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {}
        for name, answer in methods.unary.items():
            served = _serve_unary(name, answer, places, name in methods.between_nodes)
            self._handlers[name] = grpc.unary_unary_rpc_method_handler(served)
        for name, handler in methods.stream.items():
            served = _serve_stream(name, handler, places, name in methods.between_nodes)
            self._handlers[name] = grpc.stream_stream_rpc_method_handler(served)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        handler = self._handlers.get(handler_call_details.method)
        if handler is not None:
            return handler
        standard = self._services.handler(handler_call_details)
        return None if standard is None else _counted(standard, self._places)


_Context = grpc.aio.ServicerContext[bytes, bytes]


class _Places:
    """How many calls a server serves at once (`with` counts one). The last quarter is kept for those between nodes, or
    clients that wait for records would keep voters from electing a leader."""

    def __init__(self, calls_max: int) -> None:
        self._others_max = calls_max * 3 // 4
        self._count = 0

    def __enter__(self) -> None:
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1

    async def check(self, context: _Context) -> None:
        """Refuse a call that is not between nodes where there are too many."""
        if self._count >= self._others_max:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._count} calls are served; try again later")


def _serve_unary(name: str, handler: UnaryHandler, places: _Places, between_nodes: bool) -> Any:
    async def serve(request: bytes, context: _Context) -> bytes:
        if not between_nodes:
            await places.check(context)
        try:
            with places:
                return await handler(request)
        except Exception as error:  # the top of this call's task
            await _fail(name, error, context)

    return serve


def _serve_stream(name: str, handler: StreamHandler, places: _Places, between_nodes: bool) -> Any:
    async def serve(requests: AsyncIterator[bytes], context: _Context) -> None:
        if not between_nodes:
            await places.check(context)
        try:
            with places:
                await handler(requests, context.write)
        except grpc.aio.BaseError as error:  # the client went away while we were answering it
            _log.debug("%s: the client is gone: %s", name, error)
        except Exception as error:
            await _fail(name, error, context)

    return serve


def _counted(standard: "grpc.RpcMethodHandler[Any, Any]", places: _Places) -> "grpc.RpcMethodHandler[Any, Any]":
    """The same, with its stream among those that occupy places. What is answered at once does not, so that whoever
    watches over a process is told that it serves, however much it does."""
    if not standard.response_streaming:
        return standard
    answer: Any = standard.stream_stream or standard.unary_stream

    async def serve(request: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        await places.check(context)
        with places:
            answers = answer(request, context)
            if inspect.isasyncgen(answers):
                async for each in answers:
                    await context.write(each)
            else:  # it writes them itself
                await answers

    make = grpc.stream_stream_rpc_method_handler if standard.request_streaming else grpc.unary_stream_rpc_method_handler
    return make(serve, standard.request_deserializer, standard.response_serializer)


async def _fail(name: str, error: Exception, context: _Context) -> NoReturn:
    if isinstance(error, BadRequest):
        _log.debug("%s: a request that cannot be read: %s", name, error)
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    _log.exception("%s failed", name)
    await context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")


def _is_cancelled() -> bool:
    """Whether somebody cancels the task that asks; else a cancellation is gRPC's own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _refuses(address: Address) -> bool:
    """Whether each address of the name does, of which gRPC tells one."""
    if _ip_version(address) is not None:
        return True
    try:
        (await connect(address, CONFIRM_MS)).close()
    except OSError as error:
        return isinstance(error, ConnectionRefusedError)
    return False


def _target(address: Address) -> str:
    """A literal address goes past the name resolver."""
    version = _ip_version(address)
    return f"dns:///{address}" if version is None else f"ipv{version}:{address}"


def _ip_version(address: Address) -> int | None:
    """None: it is a name."""
    try:
        return ipaddress.ip_address(address.host).version
    except ValueError:
        return None


def _check_usable() -> None:
    if _is_unusable:
        raise ForkedError


def _use() -> None:
    global _is_used
    _check_usable()
    _is_used = True


def _note_fork() -> None:
    global _is_unusable
    _is_unusable = _is_used


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
