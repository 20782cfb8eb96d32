"""The gRPC server on loopback: its port, its limits, its end, and what it says to strangers."""

import asyncio
import contextlib
import errno
import socket
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from kraftpy.runtime import grpc_transport
from kraftpy.runtime.grpc_transport import GrpcTransport
from kraftpy.runtime.ports import (
    Address,
    FrameHandler,
    FrameParts,
    Methods,
    RemoteFailure,
    Server,
    TransportTimeout,
    Unreachable,
)
from tests.runtime.framed import until
from tests.runtime.grpc_echo import ECHO, LOOPBACK, METHODS, REFLECTION, SILENT, echo, run, silent


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
