"""Whether a broker's life is over: only where somebody says so."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from broker.metadata.image import MetadataImage
from broker.metadata.records import GRPC_LISTENER, Endpoint, RegisterBrokerRecord
from broker.rpc import probe
from broker.rpc.control import SERVICE
from broker.rpc.methods import full_name
from broker.rpc.probe import BrokerProbe
from kraftpy.pb import control_pb2 as pb
from kraftpy.runtime import grpc_transport
from kraftpy.runtime.grpc_transport import GrpcTransport
from kraftpy.runtime.ports import Address, Methods, Unreachable
from tests.runtime.grpc_echo import peer_process

LIFE = UUID(int=7)
PING = full_name(SERVICE, "Ping")
LOOPBACK = Address("127.0.0.1", 0)

PEER = """
import asyncio
from kraftpy.runtime.grpc_transport import GrpcTransport
from kraftpy.runtime.ports import Address, Methods
from tests.rpc.test_probe import PING, pong

async def silent(request):
    await asyncio.Event().wait()

async def main():
    server = await GrpcTransport().serve(Address("127.0.0.1", 0), Methods({PING: pong, "/test/Silent": silent}, {}))
    print(server.address.port, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def pong(request: bytes) -> bytes:
    return pb.PingResponse(incarnation_id=LIFE.bytes).SerializeToString()


async def is_there(address: Address, transport: GrpcTransport) -> bool:
    """Whether broker 1, in its life with epoch 5, may be alive."""
    registration = RegisterBrokerRecord(1, LIFE, LIFE, (Endpoint(GRPC_LISTENER, address.host, address.port),))
    broker: Any = SimpleNamespace(epoch=5, registration=registration)
    image = MetadataImage(brokers={1: broker})
    loader: Any = SimpleNamespace(image=image)
    return await BrokerProbe(loader, transport)(1, 5)


def run(story: Callable[[GrpcTransport], Awaitable[None]]) -> None:
    async def whole() -> None:
        transport = GrpcTransport()
        try:
            async with asyncio.timeout(30):
                await story(transport)
        finally:
            await transport.close()

    asyncio.run(whole())


def looked_for(address: Address) -> bool:
    found: list[bool] = []

    async def story(transport: GrpcTransport) -> None:
        found.append(await is_there(address, transport))

    run(story)
    return found[0]


def test_where_nobody_listens_it_is_over() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        assert not looked_for(Address(*reserved.getsockname()))


@pytest.mark.parametrize("name", ["no-such-host.invalid", "a..b"])
def test_a_name_that_cannot_be_looked_up_proves_nothing(name: str) -> None:
    assert looked_for(Address(name, 9093))


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_door_that_is_full_proves_nothing(end: str) -> None:
    """It accepts and closes, as `FramedServer` does at its limits; the system says that kindly, or by a reset."""

    async def story(transport: GrpcTransport) -> None:
        accepted = 0

        def full(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal accepted
            accepted += 1
            getattr(writer.transport, end)()

        async with contextlib.AsyncExitStack() as closing:
            doors = [await closing.enter_async_context(await asyncio.start_server(full, *LOOPBACK)) for _ in range(8)]
            addresses = [Address(*door.sockets[0].getsockname()) for door in doors]  # gRPC tells of it in several ways
            assert all(await asyncio.gather(*[is_there(address, transport) for address in addresses]))
        assert accepted >= 16

    run(story)


def test_a_connection_that_breaks_under_the_question_proves_nothing() -> None:
    async def story(transport: GrpcTransport) -> None:
        asked = 0
        links: list[asyncio.StreamWriter] = []

        async def broken(request: bytes) -> bytes:
            nonlocal asked
            asked += 1
            links.pop().transport.abort()
            await asyncio.Event().wait()
            return b""

        server = await transport.serve(LOOPBACK, Methods({PING: broken}, {}))

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(1 << 16):
                    writer.write(data)
            writer.close()

        async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            links.append(writer)
            ahead = await asyncio.open_connection(*server.address)
            await asyncio.gather(carry(reader, ahead[1]), carry(ahead[0], writer))

        try:
            async with await asyncio.start_server(between, *LOOPBACK) as link:
                assert await is_there(Address(*link.sockets[0].getsockname()), transport)
                assert asked > 1
        finally:
            await server.stop()

    run(story)


def test_a_transport_that_cannot_ask_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_transport, "CHANNELS_MAX", 0)
    assert looked_for(Address("127.0.0.1", 1))


def test_a_killed_process_is_known_within_half_a_second() -> None:
    """Whatever its connections say while the system takes them down."""

    async def story(transport: GrpcTransport) -> None:
        with peer_process(PEER) as (process, address):
            assert await is_there(address, transport)
            waiting = asyncio.create_task(transport.call(address, "/test/Silent", b"", 20_000))
            assert await is_there(address, transport)
            process.kill()
            with pytest.raises(Unreachable):
                await waiting
            assert not await is_there(address, transport)
            assert probe.TIMEOUT_MS == 500, "after which it could not be told"

    run(story)
