"""Whoever speaks HTTP/2 to a framed listener is passed on to where calls are taken."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kraftpy.runtime.framed_server import FramedServer
from kraftpy.runtime.framed_transport import FramedConfig, TcpFramedTransport
from kraftpy.runtime.handover import HTTP2_PREFACE, begins_http2
from kraftpy.runtime.ports import Address
from tests.runtime.framed import LOOPBACK, Run, echo, run_here, until, with_handler

FRAME = b"\0\0\0\2hi"


@pytest.mark.parametrize("size", range(len(HTTP2_PREFACE) + 1))
def test_a_preface_is_known_when_it_is_whole_and_anything_else_at_once(size: int) -> None:
    begin = HTTP2_PREFACE[:size]
    assert begins_http2(begin) is (True if size == len(HTTP2_PREFACE) else None)
    assert begins_http2(HTTP2_PREFACE + b"more") is True
    assert begins_http2(begin + b"?") is (size == len(HTTP2_PREFACE))


class Calls:
    """Where calls are taken: remembers what was said, and says it again."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.connections = 0
        self.gone = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(64 * 1024):
                self.heard += piece
                writer.write(piece)
                await writer.drain()
                if piece.endswith(b"bye"):
                    break
        writer.close()
        self.connections -= 1
        self.gone.set()


@asynccontextmanager
async def doors(**limits: int) -> AsyncIterator[tuple[Calls, FramedServer]]:
    calls = Calls()
    taking = await asyncio.start_server(calls.serve, "127.0.0.1", 0)
    port = taking.sockets[0].getsockname()[1]
    transport = TcpFramedTransport(run_here, FramedConfig(**limits))
    server = await transport.serve(LOOPBACK, with_handler(echo), Address("127.0.0.1", port))
    try:
        yield calls, server
    finally:
        await server.stop()
        assert server.connection_count == 0
        taking.close()
        await taking.wait_closed()


async def connect(server: FramedServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", server.address.port)


async def heard_in_the_end(calls: Calls) -> int:
    """How many bytes have come when nothing moves any more, since nobody reads the echo."""
    await until(lambda: len(calls.heard) > 0)
    heard = -1
    while len(calls.heard) != heard:
        heard = len(calls.heard)
        await asyncio.sleep(0.2)
    return heard


def test_everything_is_carried_both_ways_while_frames_are_served(run: Run) -> None:
    async def scenario() -> None:
        async with doors() as (calls, server):
            reader, writer = await connect(server)
            said = HTTP2_PREFACE + bytes(range(256)) * 8_000 + b"bye"
            for at in range(0, 60, 7):  # in small pieces at first
                writer.write(said[at : at + 7])
                await asyncio.sleep(0.001)
            writer.write(said[63:])
            assert await reader.readexactly(len(said)) == said
            assert await reader.read() == b"", "the end of one side is the end of the other"
            assert calls.heard == said
            writer.close()
            kafka_reader, kafka_writer = await connect(server)
            kafka_writer.write(FRAME)
            assert await kafka_reader.readexactly(8) == b"\0\0\0\4<hi>"
            kafka_writer.close()

    run(scenario())


def test_a_client_that_goes_is_gone_on_the_other_side(run: Run) -> None:
    async def scenario() -> None:
        async with doors() as (calls, server):
            reader, writer = await connect(server)
            writer.write(HTTP2_PREFACE)
            assert await reader.readexactly(len(HTTP2_PREFACE)) == HTTP2_PREFACE
            assert (calls.connections, server.connection_count) == (1, 1)
            writer.close()
            async with asyncio.timeout(5):
                await calls.gone.wait()

    run(scenario())


def test_a_connection_that_is_passed_on_has_its_place_and_its_time(run: Run) -> None:
    async def scenario() -> None:
        async with doors(idle_ms=400, stall_ms=100, connections_max=1) as (_, server):
            reader, writer = await connect(server)
            writer.write(HTTP2_PREFACE)
            await reader.readexactly(len(HTTP2_PREFACE))
            refused, other = await connect(server)
            assert await refused.read() == b"", "the listener has room for one connection"
            other.close()
            async with asyncio.timeout(5):
                assert await reader.read() == b"", "it has said nothing for too long"
            writer.close()

    run(scenario())


def test_who_says_nothing_at_all_has_less_time_where_http2_is_spoken(run: Run) -> None:
    async def scenario() -> None:
        async with doors(hello_ms=200) as (_, server):
            silent_reader, silent = await connect(server)
            kafka_reader, kafka = await connect(server)
            kafka.write(FRAME)
            assert await kafka_reader.readexactly(8) == b"\0\0\0\4<hi>"
            async with asyncio.timeout(5):
                assert await silent_reader.read() == b""
            kafka.write(FRAME)
            assert await kafka_reader.readexactly(8) == b"\0\0\0\4<hi>", "it has said something"
            silent.close()
            kafka.close()

    run(scenario())


def test_a_side_that_does_not_read_is_waited_for(run: Run) -> None:
    """More than the sockets between hold is on its way, one piece waits, and in the end everything is there."""
    size = 64 << 20

    async def scenario() -> None:
        async with doors() as (calls, server):
            reader, writer = await connect(server)
            said = bytes(range(256)) * (size // 256)
            writer.write(HTTP2_PREFACE + said)
            assert await heard_in_the_end(calls) < size
            assert (await reader.readexactly(len(HTTP2_PREFACE) + size))[len(HTTP2_PREFACE) :] == said
            writer.close()

    run(scenario())


def test_one_that_is_closed_while_it_is_full_leaves_nothing(run: Run) -> None:
    size = 64 << 20

    async def scenario() -> None:
        async with doors() as (calls, server):
            _, writer = await connect(server)
            writer.write(HTTP2_PREFACE + bytes(size))
            assert await heard_in_the_end(calls) < size
            await server.stop()
            writer.transport.abort()
            async with asyncio.timeout(5):
                await calls.gone.wait()

    run(scenario())


def test_not_too_many_are_passed_on(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with doors(passed_on_max=1) as (calls, server):
            reader, writer = await connect(server)
            writer.write(HTTP2_PREFACE)
            await reader.readexactly(len(HTTP2_PREFACE))
            refused, other = await connect(server)
            other.write(HTTP2_PREFACE)
            assert await refused.read() == b""
            other.close()
            writer.close()
            async with asyncio.timeout(5):
                await calls.gone.wait()
            again, third = await connect(server)
            third.write(HTTP2_PREFACE)
            assert await again.readexactly(len(HTTP2_PREFACE)) == HTTP2_PREFACE
            third.close()

    run(scenario())
    assert "too many connections are passed on" in caplog.text


def test_a_listener_that_stops_ends_them_after_the_grace(run: Run) -> None:
    async def scenario() -> None:
        async with doors() as (_, server):
            reader, writer = await connect(server)
            writer.write(HTTP2_PREFACE)
            await reader.readexactly(len(HTTP2_PREFACE))
            await server.stop(100)
            assert await reader.read() == b""
            writer.close()

    run(scenario())


def test_where_nobody_takes_calls_there_is_one_line(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        transport = TcpFramedTransport(run_here, FramedConfig())
        server = await transport.serve(LOOPBACK, with_handler(echo), Address("127.0.0.1", 1))
        reader, writer = await connect(server)
        writer.write(HTTP2_PREFACE)
        assert await reader.read() == b""
        writer.close()
        await server.stop()

    with caplog.at_level(logging.WARNING):
        run(scenario())
    assert len(caplog.records) == 1 and "could not be passed on to 127.0.0.1:1" in caplog.text


def test_half_a_preface_is_a_peer_that_stopped_in_mid_frame(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with doors(stall_ms=100) as (calls, server):
            reader, writer = await connect(server)
            writer.write(HTTP2_PREFACE[:9])
            assert await reader.read() == b""
            writer.close()
            assert calls.heard == b""

    run(scenario())
    assert "stopped in the middle" in caplog.text
