"""Streams of the gRPC transport on loopback: their order, their end, and who waits for whom."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from kraftpy.runtime.grpc_transport import RECEIVE_WINDOW_BYTES, GrpcTransport
from kraftpy.runtime.ports import Methods, RemoteFailure, Server, Unreachable
from tests.runtime.grpc_echo import BROKEN_STREAM, ENDLESS, LOOPBACK, STREAM, run


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


def test_a_server_takes_little_from_a_sender_that_it_does_not_read_from() -> None:
    """gRPC's guess, which grows with the time that an answer takes, may come to 80 MB where processors are busy."""
    read = 0
    message = bytes(100_000)

    async def story() -> None:
        standstill = asyncio.Event()

        async def halting(requests: AsyncIterator[bytes], send: Callable[[bytes], Awaitable[None]]) -> None:
            nonlocal read
            async for _ in requests:
                read += 1
                if read == 1_000:
                    await standstill.wait()

        transport = GrpcTransport()
        server = await transport.serve(LOOPBACK, Methods(unary={}, stream={ENDLESS: halting}))
        stream = await transport.open_stream(server.address, ENDLESS)
        sent = 0

        async def pour() -> None:
            nonlocal sent
            while True:
                await stream.send(message)
                sent += 1

        pouring = asyncio.create_task(pour())
        before = -1
        while before != sent or read < 1_000:  # until nothing moves any more
            before = sent
            await asyncio.sleep(0.3)
        assert (sent - read) * len(message) < 2 * RECEIVE_WINDOW_BYTES
        pouring.cancel()
        stream.close()
        await transport.close()
        await server.stop()

    asyncio.run(story())
