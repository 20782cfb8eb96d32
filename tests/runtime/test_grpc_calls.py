"""Calls of the gRPC transport on loopback, and every way in which they end without an answer."""

import asyncio
import contextlib
import signal
import time

import grpc.aio
import pytest

from kraftpy.runtime import grpc_transport
from kraftpy.runtime.grpc_transport import MESSAGE_BYTES_MAX, GrpcTransport
from kraftpy.runtime.ports import Address, Methods, RemoteFailure, Server, TransportTimeout, Unreachable
from tests.runtime.grpc_echo import BROKEN, ECHO, LOOPBACK, METHODS, SILENT, STREAM, peer_process, run


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
