"""The gRPC transport on loopback: calls, streams, and every way in which they end without an answer."""

import asyncio
import contextlib
import errno
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from kraftpy.runtime import grpc_transport
from kraftpy.runtime.grpc_transport import MESSAGE_BYTES_MAX, GrpcTransport
from kraftpy.runtime.ports import (
    Address,
    ConnectTimeout,
    Dropped,
    FrameHandler,
    FrameParts,
    Methods,
    NotConnected,
    Refused,
    RemoteFailure,
    Server,
    TransportTimeout,
    Unreachable,
)
from tests.runtime.framed import until

LOOPBACK = Address("127.0.0.1", 0)
ECHO = "/test.Echo/Echo"
SILENT = "/test.Echo/Silent"
BROKEN = "/test.Echo/Broken"
STREAM = "/test.Echo/Stream"
BROKEN_STREAM = "/test.Echo/BrokenStream"
ENDLESS = "/test.Echo/Endless"
REFLECTION = "grpc.reflection.v1alpha.ServerReflection"

PEER = """
import asyncio
from kraftpy.runtime.grpc_transport import GrpcTransport
from kraftpy.runtime.ports import Address, Methods

async def echo(request):
    return request

async def silent(request):
    await asyncio.Event().wait()

async def main():
    methods = Methods(unary={"/test.Echo/Echo": echo, "/test.Echo/Silent": silent}, stream={})
    server = await GrpcTransport().serve(Address("127.0.0.1", 0), methods)
    print(server.address.port, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def echo(request: bytes) -> bytes:
    return request


async def silent(request: bytes) -> bytes:
    await asyncio.Event().wait()
    return request


async def broken(request: bytes) -> bytes:
    raise ValueError("a bug")


async def echo_stream(requests: AsyncIterator[bytes], send: Callable[[bytes], Awaitable[None]]) -> None:
    async for request in requests:
        if request == b"end":
            return
        await send(request)


async def broken_stream(requests: AsyncIterator[bytes], send: Callable[[bytes], Awaitable[None]]) -> None:
    async for request in requests:
        raise ValueError(request.decode())


async def endless_stream(requests: AsyncIterator[bytes], send: Callable[[bytes], Awaitable[None]]) -> None:
    while True:
        await send(bytes(1 << 20))


METHODS = Methods(
    unary={ECHO: echo, SILENT: silent, BROKEN: broken},
    stream={STREAM: echo_stream, BROKEN_STREAM: broken_stream, ENDLESS: endless_stream},
)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[GrpcTransport, Server]]:
    transport = GrpcTransport()
    server = await transport.serve(LOOPBACK, METHODS)
    try:
        yield transport, server
    finally:
        await transport.close()
        await server.stop()


def run(story: Callable[[GrpcTransport, Server], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(30), serving() as (transport, server):
            await story(transport, server)

    asyncio.run(whole())


@contextlib.contextmanager
def peer_process() -> Iterator[tuple[subprocess.Popen[str], Address]]:
    with subprocess.Popen([sys.executable, "-c", PEER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, Address("127.0.0.1", int(process.stdout.readline()))
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def test_calls_are_answered_and_share_a_channel() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        assert server.address.port > 0
        calls = [transport.call(server.address, ECHO, b"%d" % index, 5_000) for index in range(200)]
        assert await asyncio.gather(*calls) == [b"%d" % index for index in range(200)]
        assert len(transport._channels) == 1

    run(story)


def test_large_messages_pass_and_oversized_ones_are_refused_in_both_directions() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        large = bytes(48 << 20)
        assert await transport.call(server.address, ECHO, large, 20_000) == large
        with pytest.raises(RemoteFailure, match="RESOURCE_EXHAUSTED"):
            await transport.call(server.address, ECHO, bytes(MESSAGE_BYTES_MAX + 1), 20_000)
        assert await transport.call(server.address, ECHO, b"still here", 5_000) == b"still here"

    run(story)


def test_a_peer_that_accepts_larger_messages_cannot_be_sent_to_us() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        options = [("grpc.max_send_message_length", -1)]
        async with grpc.aio.insecure_channel(str(server.address), options=options) as channel:
            echo: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(ECHO)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await echo(bytes(MESSAGE_BYTES_MAX + 1))
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    run(story)


def test_a_silent_peer_is_a_timeout() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        started = time.monotonic()
        with pytest.raises(TransportTimeout) as caught:
            await transport.call(server.address, SILENT, b"", 100)
        assert 0.09 < time.monotonic() - started < 5
        assert caught.type is TransportTimeout and caught.value.may_have_been_sent

    run(story)


def test_a_peer_that_does_not_speak_has_not_taken_the_call() -> None:
    """As a stopped process, and as one that has no time to hear that nobody listens there."""

    async def story(transport: GrpcTransport, server: Server) -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            for _ in range(2):
                with pytest.raises(ConnectTimeout):
                    await transport.call(Address(*mute.getsockname()), ECHO, b"", 100)

    run(story)


def test_a_cancelled_call_is_cancelled() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        task = asyncio.create_task(transport.call(server.address, SILENT, b"", 10_000))
        await transport.call(server.address, ECHO, b"", 5_000)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(story)


def test_unknown_methods_and_bugs_over_there_are_remote_failures() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        with pytest.raises(RemoteFailure, match="UNIMPLEMENTED"):
            await transport.call(server.address, "/test.Echo/Unknown", b"", 5_000)
        with pytest.raises(RemoteFailure, match="UNIMPLEMENTED"):
            await transport.call(server.address, "nonsense", b"", 5_000)
        with pytest.raises(RemoteFailure, match="ValueError: a bug"):
            await transport.call(server.address, BROKEN, b"", 5_000)

    run(story)


def test_nobody_there_is_unreachable_at_once() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        with socket.socket() as reserved:  # bound, not listening: refused, and nobody else's
            reserved.bind(LOOPBACK)
            nobody = Address(*reserved.getsockname())
            for _ in range(3):
                started = time.monotonic()
                with pytest.raises(Refused):
                    await transport.call(nobody, ECHO, b"", 10_000)
                assert time.monotonic() - started < 2
            stream = await transport.open_stream(nobody, STREAM)
            with pytest.raises(Unreachable):
                await stream.send(b"")
            with pytest.raises(Unreachable):
                await stream.receive()

    run(story)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_closed_port_is_refused_whatever_its_address_is_called(host: str) -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        with socket.socket(socket.AF_INET6) as reserved:
            reserved.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            reserved.bind(("::", 0))
            with pytest.raises(Refused):
                await transport.call(Address(host, reserved.getsockname()[1]), ECHO, b"", 10_000)

    run(story)


@contextlib.contextmanager
def silence(host: str) -> Iterator[int]:
    """The port of an address where the system answers nobody: its queue is full."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as closing:
        try:
            full = closing.enter_context(socket.create_server((host, 0), family=family, backlog=0))
        except OSError as error:
            pytest.skip(f"there is no {host} here: {error}")
        for _ in range(4):  # more than its queue has room for
            waiting = closing.enter_context(socket.socket(family))
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield full.getsockname()[1]


@pytest.mark.parametrize("name", ["itself", "localhost"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_silence_is_never_taken_for_a_refusal(monkeypatch: pytest.MonkeyPatch, host: str, name: str) -> None:
    """gRPC tells of an attempt that met with silence at once, to every later call. Of a name's addresses it
    tells the last: `localhost` is silent at one of its two, and refuses at the other."""
    known = {each[4][0] for each in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)}
    if name == "localhost" and host not in known:
        pytest.skip(f"localhost is not {host} here, but {', '.join(map(str, known))}")
    shorter = [option for option in grpc_transport._CHANNEL_OPTIONS if "min_reconnect" not in option[0]]
    monkeypatch.setattr(grpc_transport, "_CHANNEL_OPTIONS", [*shorter, ("grpc.min_reconnect_backoff_ms", 200)])

    async def story(transport: GrpcTransport, server: Server) -> None:
        with silence(host) as port:
            for _ in range(3 if name == "itself" else 8):
                with pytest.raises((NotConnected, TransportTimeout)) as caught:
                    await transport.call(Address(host if name == "itself" else name, port), ECHO, b"", 700)
                await asyncio.sleep(0.1)
            assert caught.type is NotConnected and not caught.value.may_have_been_sent

    run(story)


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_connection_that_is_closed_before_it_is_used_is_no_refusal(end: str) -> None:
    """As by a server at its limits, or a process that is being killed: somebody looks, and nothing was sent."""

    async def story(transport: GrpcTransport, server: Server) -> None:
        def full(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            getattr(writer.transport, end)()

        for _ in range(8):  # gRPC tells of it in several ways
            async with await asyncio.start_server(full, *LOOPBACK) as door:
                with pytest.raises(Dropped) as caught:
                    await transport.call(Address(*door.sockets[0].getsockname()), ECHO, b"", 10_000)
                assert not caught.value.may_have_been_sent

    run(story)


def test_a_name_without_an_address_says_nothing_about_the_peer() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        for name in ("no-such-host.invalid", "a..b"):
            with pytest.raises(NotConnected):
                await transport.call(Address(name, 1), ECHO, b"", 10_000)

    run(story)


def test_a_peer_that_starts_late_is_found() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        address = server.address
        await server.stop()
        with pytest.raises(Unreachable):
            await transport.call(address, ECHO, b"", 5_000)
        again = await transport.serve(address, METHODS)
        try:
            answer = None
            while answer is None:
                try:
                    answer = await transport.call(address, ECHO, b"back", 5_000)
                except Unreachable:
                    await asyncio.sleep(0.01)
            assert answer == b"back"
        finally:
            await again.stop()

    run(story)


def test_a_killed_peer_breaks_its_calls_at_once_and_a_paused_one_is_silent() -> None:
    async def story() -> None:
        transport = GrpcTransport()
        with peer_process() as (process, address):
            assert await transport.call(address, ECHO, b"x", 5_000) == b"x"
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(TransportTimeout):
                await transport.call(address, ECHO, b"x", 200)
            process.send_signal(signal.SIGCONT)
            assert await transport.call(address, ECHO, b"x", 5_000) == b"x"
            waiting = asyncio.create_task(transport.call(address, SILENT, b"", 30_000))
            assert await transport.call(address, ECHO, b"x", 5_000) == b"x"
            process.kill()
            started = time.monotonic()
            with pytest.raises(Unreachable):
                await waiting
            with pytest.raises(Unreachable):
                await transport.call(address, ECHO, b"x", 30_000)
            assert time.monotonic() - started < 5
        await transport.close()

    asyncio.run(story())


def test_a_port_in_use_is_an_error_that_names_it() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        with pytest.raises(OSError, match=f"127.0.0.1:{server.address.port}.*in use") as caught:
            await transport.serve(server.address, METHODS)
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError, match=r"203\.0\.113\.1:4711") as caught:
            await transport.serve(Address("203.0.113.1", 4711), METHODS)
        assert caught.value.errno == errno.EADDRNOTAVAIL

    run(story)


def test_a_reserved_port_can_be_served_on() -> None:
    """`kraftpy.testing` keeps ports by sockets that are bound and do not listen."""

    async def story(transport: GrpcTransport, server: Server) -> None:
        with socket.socket() as reserved:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserved.bind(LOOPBACK)
            address = Address(*reserved.getsockname())
            for _ in range(2):
                served = await transport.serve(address, METHODS)
                assert served.address == address
                with pytest.raises(OSError, match="in use"):
                    await transport.serve(address, METHODS)
                await served.stop()

    run(story)


def test_garbage_on_the_port_is_closed_and_the_server_serves_on() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 4_096, b"\xff" * 4_096):
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(garbage)
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        assert await transport.call(server.address, ECHO, b"x", 5_000) == b"x"

    run(story)


def test_whoever_makes_no_calls_is_turned_away_with_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    def strangers(peer: Address) -> FrameHandler:
        async def tell(frame: memoryview) -> FrameParts:
            raise ConnectionError(f"{peer.host} said {bytes(frame)!r}")

        return tell

    async def story(transport: GrpcTransport, server: Server) -> None:
        told = await transport.serve(LOOPBACK, METHODS, strangers)
        for door in (server, told):
            reader, writer = await asyncio.open_connection(*door.address)
            writer.write(b"\0\0\0\2hi")
            assert await reader.read() == b""
            writer.close()
            assert await transport.call(door.address, ECHO, b"x", 5_000) == b"x"
        await told.stop()

    run(story)
    reasons = [record.getMessage().split(": ", 1)[1] for record in caplog.records]
    assert reasons == [
        "connection closed: it does not speak gRPC, as everybody does here",
        "connection closed: 127.0.0.1 said b'hi'",
    ]


def test_a_stream_keeps_its_order_and_ends() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        stream = await transport.open_stream(server.address, STREAM)
        for index in range(100):
            await stream.send(b"%d" % index)
        assert [await stream.receive() for _ in range(100)] == [b"%d" % index for index in range(100)]
        await stream.send(b"end")
        assert await stream.receive() is None
        assert await stream.receive() is None
        with pytest.raises(Unreachable):
            while True:  # what is written after the end may first vanish on its way
                await stream.send(b"late")

    run(story)


def test_a_stream_of_which_one_side_is_at_its_end_goes_on_until_the_other_is() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        stream = await transport.open_stream(server.address, STREAM)
        for index in range(100):
            await stream.send(b"%d" % index)
        await stream.end_sending()
        assert [await stream.receive() for _ in range(100)] == [b"%d" % index for index in range(100)]
        assert await stream.receive() is None

    run(story)


def test_a_stream_that_fails_over_there_says_so() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        stream = await transport.open_stream(server.address, BROKEN_STREAM)
        await stream.send(b"a bug")
        with pytest.raises(RemoteFailure, match="ValueError: a bug"):
            await stream.receive()
        with pytest.raises(RemoteFailure, match="ValueError: a bug"):
            await stream.send(b"again")

    run(story)


def test_closing_a_stream_wakes_its_reader_without_cancelling_the_task() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        stream = await transport.open_stream(server.address, STREAM)
        await stream.send(b"x")
        assert await stream.receive() == b"x"
        reader = asyncio.create_task(stream.receive())
        await asyncio.sleep(0)
        stream.close()
        with pytest.raises(Unreachable, match="closed"):
            await reader
        with pytest.raises(Unreachable):
            await stream.send(b"x")

    run(story)


def test_a_cancelled_reader_of_a_stream_is_cancelled() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        stream = await transport.open_stream(server.address, STREAM)
        await stream.send(b"x")
        assert await stream.receive() == b"x"
        reader = asyncio.create_task(stream.receive())
        await asyncio.sleep(0.01)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader

    run(story)


def test_a_slow_reader_holds_the_sender_back() -> None:
    sent = 0

    async def counting(requests: AsyncIterator[bytes], send: Callable[[bytes], Awaitable[None]]) -> None:
        nonlocal sent
        while True:
            await send(bytes(1 << 20))
            sent += 1

    async def story() -> None:
        transport = GrpcTransport()
        server = await transport.serve(LOOPBACK, Methods(unary={}, stream={ENDLESS: counting}))
        stream = await transport.open_stream(server.address, ENDLESS)
        assert await stream.receive() is not None
        before = -1
        while before != sent:  # until nothing moves any more
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 32
        stream.close()
        await transport.close()
        await server.stop()

    asyncio.run(story())


def test_stopping_gives_calls_in_flight_their_grace() -> None:
    release = asyncio.Event()
    arrived = asyncio.Event()

    async def parked(request: bytes) -> bytes:
        arrived.set()
        await release.wait()
        return b"done"

    async def story() -> None:
        transport = GrpcTransport()
        server = await transport.serve(LOOPBACK, Methods(unary={ECHO: parked}, stream={}))
        call = asyncio.create_task(transport.call(server.address, ECHO, b"", 10_000))
        await arrived.wait()
        stopping = asyncio.create_task(server.stop(5_000))
        await asyncio.sleep(0.05)
        release.set()
        assert await call == b"done"
        await stopping
        with pytest.raises(Unreachable):
            await transport.call(server.address, ECHO, b"", 5_000)
        await transport.close()

    asyncio.run(story())


def test_stopping_without_grace_breaks_calls_in_flight() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        call = asyncio.create_task(transport.call(server.address, SILENT, b"", 10_000))
        await transport.call(server.address, ECHO, b"", 5_000)
        await server.stop()
        with pytest.raises(Unreachable):
            await call

    run(story)


def test_calls_of_clients_leave_room_for_those_between_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else as many fetches that wait for records keep voters from electing a leader."""
    monkeypatch.setattr(grpc_transport, "CALLS_MAX", 8)

    served = 0

    async def counted(request: bytes) -> bytes:
        nonlocal served
        served += 1
        try:
            return await silent(request)
        finally:
            served -= 1

    async def story() -> None:
        transport = GrpcTransport()
        methods = Methods(unary={ECHO: echo, SILENT: counted}, stream={}, between_nodes=frozenset([ECHO]))
        server = await transport.serve(LOOPBACK, methods)
        waiting = [asyncio.ensure_future(transport.call(server.address, SILENT, b"", 20_000)) for _ in range(6)]
        await until(lambda: served == 6)
        with pytest.raises(RemoteFailure, match="RESOURCE_EXHAUSTED"):
            await transport.call(server.address, SILENT, b"", 1_000)
        assert await transport.call(server.address, ECHO, b"vote", 1_000) == b"vote"
        for call in waiting:
            call.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await until(lambda: served == 0)
        assert await transport.call(server.address, ECHO, b"again", 1_000) == b"again"
        with pytest.raises(TransportTimeout):
            await transport.call(server.address, SILENT, b"", 100)
        await transport.close()
        await server.stop()

    asyncio.run(story())


def test_streams_of_the_standard_services_leave_room_for_calls_between_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_transport, "CALLS_MAX", 8)
    watch, reflect = "/grpc.health.v1.Health/Watch", f"/{REFLECTION}/ServerReflectionInfo"
    asked = {
        watch: health_pb2.HealthCheckRequest().SerializeToString(),
        reflect: reflection_pb2.ServerReflectionRequest(list_services="*").SerializeToString(),
    }

    async def story() -> None:
        transport = GrpcTransport()
        server = await transport.serve(LOOPBACK, replace(METHODS, between_nodes=frozenset([ECHO])))
        try:
            streams = []
            for method in [watch, reflect] * 3:
                streams.append(await transport.open_stream(server.address, method))
                await streams[-1].send(asked[method])
                assert await streams[-1].receive() is not None
            for method in [watch, reflect] * 3:
                one_more = await transport.open_stream(server.address, method)
                await one_more.send(asked[method])
                with pytest.raises(RemoteFailure, match="RESOURCE_EXHAUSTED"):
                    await one_more.receive()
            with pytest.raises(RemoteFailure, match="6 calls are served"):
                await transport.call(server.address, SILENT, b"", 1_000)
            assert await transport.call(server.address, ECHO, b"vote", 5_000) == b"vote"
            assert await transport.call(server.address, "/grpc.health.v1.Health/Check", b"", 5_000), "it holds no place"
            for stream in streams:
                stream.close()
            while True:  # until the server has heard of it
                try:
                    await transport.call(server.address, SILENT, b"", 100)
                except TransportTimeout:
                    break
                except RemoteFailure:
                    await asyncio.sleep(0.01)
        finally:
            await transport.close()
            await server.stop()

    asyncio.run(story())


def test_options_are_known_to_grpc_which_passes_over_others_in_silence() -> None:
    """Among them how soon a name is looked up again, without which a peer at another address is lost for 30 s."""
    (library,) = (Path(grpc.__file__).parent / "_cython").glob("cygrpc*.so")
    core = library.read_bytes()
    names = [name for name, _ in (*grpc_transport._CHANNEL_OPTIONS, *grpc_transport._SERVER_OPTIONS)]
    assert "grpc.dns_min_time_between_resolutions_ms" in names
    assert [name for name in names if name.encode() not in core] == []


def test_channels_are_bounded_and_a_closed_transport_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_transport, "CHANNELS_MAX", 2)

    async def story(transport: GrpcTransport, server: Server) -> None:
        servers = [server, *[await transport.serve(LOOPBACK, METHODS) for _ in range(3)]]
        for each in servers:
            assert await transport.call(each.address, ECHO, b"x", 5_000) == b"x"
        assert list(transport._channels) == [each.address for each in servers[2:]]
        streams = [await transport.open_stream(each.address, STREAM) for each in servers[2:]]
        with pytest.raises(Unreachable, match="in use"):
            await transport.call(server.address, ECHO, b"x", 5_000)
        streams[0].close()
        while len(transport._channels) == 2 and servers[2].address in transport._channels:
            with contextlib.suppress(Unreachable):
                assert await transport.call(server.address, ECHO, b"x", 5_000) == b"x"
        await transport.close()
        with pytest.raises(Unreachable, match="closed"):
            await transport.call(server.address, ECHO, b"x", 5_000)
        for each in servers[1:]:
            await each.stop()

    run(story)


def test_the_standard_health_and_reflection_services_answer() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        async with grpc.aio.insecure_channel(str(server.address)) as channel:
            check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
            for name in ("", "test.Echo"):
                answer = await check(health_pb2.HealthCheckRequest(service=name).SerializeToString())
                status = health_pb2.HealthCheckResponse.FromString(answer).status
                assert status == health_pb2.HealthCheckResponse.SERVING
            request = reflection_pb2.ServerReflectionRequest(list_services="*").SerializeToString()
            reflect: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
                f"/{REFLECTION}/ServerReflectionInfo"
            )
            stream = reflect()
            await stream.write(request)
            answered = await stream.read()
            assert isinstance(answered, bytes)
            listed = reflection_pb2.ServerReflectionResponse.FromString(answered)
            names = [service.name for service in listed.list_services_response.service]
            assert "test.Echo" in names and "grpc.health.v1.Health" in names
            stream.cancel()

    run(story)


def test_the_task_of_a_call_lasts_until_its_answer_is_taken() -> None:
    """Whoever counts what answers occupy relies on that."""
    over, taking = asyncio.Event(), asyncio.Event()

    async def large(request: bytes) -> bytes:
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: over.set())
        return bytes(32 << 20)

    async def story() -> None:
        transport = GrpcTransport()
        server = await transport.serve(LOOPBACK, Methods({ECHO: large}, {}))
        seen = asyncio.Event()

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, slowly: bool) -> None:
            carried = 0
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(1 << 16):
                    carried += len(data)
                    if slowly and carried > 1 << 20:
                        seen.set()
                        await taking.wait()
                    writer.write(data)
                    await writer.drain()
            writer.close()

        async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ahead = await asyncio.open_connection("127.0.0.1", server.address.port)
            await asyncio.gather(carry(reader, ahead[1], False), carry(ahead[0], writer, True))

        link = await asyncio.start_server(between, "127.0.0.1", 0)
        try:
            asked = transport.call(Address("127.0.0.1", link.sockets[0].getsockname()[1]), ECHO, b"", 60_000)
            call = asyncio.create_task(asked)
            await seen.wait()
            await asyncio.sleep(0.2)
            assert not over.is_set()
            taking.set()
            assert len(await call) == 32 << 20
            await asyncio.wait_for(over.wait(), 10)
        finally:
            await transport.close()
            await server.stop()
            link.close()
            await link.wait_closed()

    asyncio.run(story())


def test_a_transport_that_is_closed_fails_the_calls_in_flight_and_cancels_nobody() -> None:
    async def story(transport: GrpcTransport, server: Server) -> None:
        calling = [asyncio.create_task(transport.call(server.address, SILENT, b"", 30_000)) for _ in range(3)]
        await asyncio.sleep(0.1)
        calling[0].cancel()
        await transport.close()
        outcomes = await asyncio.gather(*calling, return_exceptions=True)
        assert [type(each) for each in outcomes] == [asyncio.CancelledError, Unreachable, Unreachable]
        assert "the transport is closed" in str(outcomes[1])

    run(story)
