"""The gRPC transport on loopback, where nobody answers: refused, silent or dropped, and never taken for one another."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from kraftpy.runtime import grpc_transport
from kraftpy.runtime.grpc_transport import GrpcTransport
from kraftpy.runtime.ports import (
    Address,
    ConnectTimeout,
    Dropped,
    NotConnected,
    Refused,
    Server,
    TransportTimeout,
    Unreachable,
)
from tests.runtime.grpc_echo import ECHO, LOOPBACK, METHODS, STREAM, run


def test_a_peer_that_does_not_speak_has_not_taken_the_call() -> None:
    """As a stopped process, and as one that has no time to hear that nobody listens there."""

    async def story(transport: GrpcTransport, server: Server) -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            for _ in range(2):
                with pytest.raises(ConnectTimeout):
                    await transport.call(Address(*mute.getsockname()), ECHO, b"", 100)

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
