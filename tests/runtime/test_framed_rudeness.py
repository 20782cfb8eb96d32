"""Peers and handlers of the framed transport that misbehave, and how its listeners begin and end."""

import asyncio
import errno
import logging
import os
import random
import socket
import struct
from typing import Any

import pytest

from kraftpy.runtime.framed_transport import TcpFramedTransport
from kraftpy.runtime.ports import (
    Address,
    FrameParts,
    Unreachable,
)
from tests.runtime.framed import (
    LOOPBACK,
    RawClient,
    Run,
    ask,
    echo,
    framed,
    run_here,
    serving,
    until,
    with_handler,
)


def test_a_peer_that_dies_in_mid_frame_has_its_handlers_cancelled(run: Run) -> None:
    async def story() -> None:
        cancelled = asyncio.Event()

        async def handler(frame: memoryview) -> FrameParts:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                cancelled.set()
                raise
            return []

        async with serving(handler) as (_, server):
            client = await RawClient.to(server)
            await client.send(framed(b"parked") + framed(bytes(500_000))[:-7])
            await until(lambda: server.reserved_bytes > 0)
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()  # a reset, as a killed process may leave
            await cancelled.wait()
            await until(lambda: server.connection_count == 0 and server.reserved_bytes == 0)

    run(story())


@pytest.mark.parametrize("failure", [ValueError("a bug"), ConnectionAbortedError("unwelcome")])
def test_a_handler_that_raises_closes_its_connection(
    run: Run, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(frame: memoryview) -> FrameParts:
        if bytes(frame) == b"bad":
            raise failure
        return [bytes(frame)]

    async def story() -> None:
        async with serving(handler) as (transport, server):
            connection = await transport.connect(server.address, 1000)
            good, bad, after = [
                asyncio.ensure_future(connection.request([data], 2000)) for data in (b"good", b"bad", b"after")
            ]
            assert await good == b"good"
            for request in (bad, after):
                with pytest.raises(Unreachable):
                    await request
            assert connection.is_closed

    run(story())
    assert len(caplog.records) == 1
    assert (caplog.records[0].exc_info is not None) == isinstance(failure, ValueError)


def test_an_answer_of_nonsense_parts_closes_the_connection(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(frame: memoryview) -> FrameParts:
        return ["text"]  # type: ignore[list-item]

    async def story() -> None:
        async with serving(handler) as (transport, server):
            connection = await transport.connect(server.address, 1000)
            with pytest.raises(Unreachable):
                await connection.request([b"?"], 2000)

    run(story())
    assert len(caplog.records) == 1 and caplog.records[0].exc_info


def test_stopping_lets_requests_finish_within_the_grace(run: Run) -> None:
    async def story() -> None:
        gate = asyncio.Event()
        started: list[bytes] = []

        async def handler(frame: memoryview) -> FrameParts:
            started.append(bytes(frame))
            if bytes(frame) != b"never":
                await gate.wait()
            else:
                await asyncio.get_running_loop().create_future()
            return [b"done"]

        async with serving(handler) as (transport, server):
            first, second = [await transport.connect(server.address, 1000) for _ in range(2)]
            answer = asyncio.ensure_future(first.request([b"?"], 5000))
            never = asyncio.ensure_future(second.request([b"never"], 5000))
            await until(lambda: len(started) == 2)
            stopping = asyncio.ensure_future(server.stop(grace_ms=200))
            await asyncio.sleep(0.02)
            gate.set()
            assert bytes(await answer) == b"done"
            with pytest.raises(Unreachable):
                await never
            await stopping
            with pytest.raises(Unreachable):
                await transport.connect(server.address, 1000)

    run(story())


def test_a_port_in_use_is_an_error_that_names_it(run: Run) -> None:
    async def story() -> None:
        async with serving() as (transport, server):
            assert server.address.port > 0
            with pytest.raises(OSError, match=str(server.address.port)) as failure:
                await transport.serve(server.address, with_handler(echo))
            assert failure.value.errno == errno.EADDRINUSE

    run(story())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "::", "0.0.0.0"])
def test_listening_on_names_and_both_families(run: Run, host: str) -> None:
    async def story() -> None:
        transport = TcpFramedTransport(run_here)
        server = await transport.serve(Address(host, 0), with_handler(echo))
        assert server.address.host == host
        hosts = {"::": ["127.0.0.1", "::1"], "0.0.0.0": ["127.0.0.1"]}.get(host, [host])
        for each in hosts:
            connection = await transport.connect(Address(each, server.address.port), 1000)
            assert await ask(connection, b"?", 1000) == b"<?>"
            connection.close()
        await server.stop()

    run(story())


def test_a_listener_that_restarts_gets_its_port_back(run: Run) -> None:
    async def story() -> None:
        address = LOOPBACK
        transport = TcpFramedTransport(run_here)
        for _ in range(3):
            server = await transport.serve(address, with_handler(echo))
            address = server.address
            connection = await transport.connect(address, 1000)
            await connection.request([b"?"], 1000)
            await server.stop()
            connection.close()

    run(story())


def test_out_of_descriptors_connections_wait_instead_of_spinning(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with serving() as (transport, server):
            attempts = 0
            accept = socket.socket.accept

            def exhausted(self: socket.socket) -> tuple[socket.socket, Any]:
                nonlocal attempts
                attempts += 1
                if attempts <= 2:
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                return accept(self)

            monkeypatch.setattr(socket.socket, "accept", exhausted)
            connection = await transport.connect(server.address, 1000)
            assert await ask(connection, b"?", 5000) == b"<?>"
            assert attempts <= 5
            monkeypatch.undo()
            connection.close()

    run(story())
    assert caplog.text.count("out of resources") == 1


def test_garbage_never_stops_the_service(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        chance = random.Random(11)
        async with serving(frame_bytes_max=100_000) as (transport, server):
            good = await transport.connect(server.address, 1000)
            for _ in range(100):
                client = await RawClient.to(server)
                try:
                    await client.send(chance.randbytes(chance.choice([1, 3, 4, 5, 100, 20_000])))
                except ConnectionError:
                    pass
                client.close()
                assert await ask(good, b"?", 1000) == b"<?>"
            good.close()
            await until(lambda: server.connection_count == 0)

    with caplog.at_level(logging.DEBUG):
        run(story())
    assert all(record.exc_info is None for record in caplog.records if record.name.startswith("kraftpy"))
