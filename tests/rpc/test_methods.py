"""Typed handlers over both transports: answered, and garbage is the caller's fault, without a word in our log."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from broker.rpc.methods import decode, full_name, merged, unary
from kraftpy.pb.control_pb2 import PingRequest, PingResponse, ReportUnreachableRequest
from kraftpy.runtime.grpc_transport import GrpcTransport
from kraftpy.runtime.ports import Address, Methods, Ports, RemoteFailure, Transport
from simulation.world import World

PING = full_name("Control", "Ping")
STREAM = full_name("Control", "Stream")
GARBAGE = b"\xff\xff\xff"


async def ping(request: PingRequest) -> PingResponse:
    return PingResponse(node_id=7)


async def stream(requests: AsyncIterator[bytes], send: Callable[[bytes], Awaitable[None]]) -> None:
    async for data in requests:
        decode(ReportUnreachableRequest, data)
        await send(data)


METHODS = merged(Methods(unary("Control", {"Ping": (PingRequest, ping)}), {}), Methods({}, {STREAM: stream}))


async def garbage_is_refused(transport: Transport, address: Address) -> None:
    answer = await transport.call(address, PING, PingRequest().SerializeToString(), 5_000)
    assert PingResponse.FromString(answer).node_id == 7
    with pytest.raises(RemoteFailure, match=r"3 bytes that are no PingRequest \(INVALID_ARGUMENT\)"):
        await transport.call(address, PING, GARBAGE, 5_000)
    opened = await transport.open_stream(address, STREAM)
    await opened.send(ReportUnreachableRequest(broker_id=1).SerializeToString())
    assert await opened.receive() is not None
    await opened.send(GARBAGE)
    with pytest.raises(RemoteFailure, match=r"no ReportUnreachableRequest \(INVALID_ARGUMENT\)"):
        await opened.receive()


def test_over_grpc(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        transport = GrpcTransport()
        server = await transport.serve(Address("127.0.0.1", 0), METHODS)
        try:
            await garbage_is_refused(transport, server.address)
        finally:
            await transport.close()
            await server.stop()

    with caplog.at_level(logging.INFO):
        asyncio.run(story())
    assert not caplog.records


def test_in_the_simulation_it_fails_no_run() -> None:
    address = Address("n1", 9093)

    async def serve(ports: Ports) -> None:
        await ports.transport.serve(address, METHODS)
        await asyncio.get_running_loop().create_future()

    async def scenario(world: World) -> None:
        world.start("n1", serve)
        client = world.open_life("c1")

        async def ask() -> None:
            await asyncio.sleep(0.1)
            await garbage_is_refused(client.ports.transport, address)

        await world.run_in(client, ask())

    World(1).run(scenario)


def test_a_method_is_served_once() -> None:
    once = Methods(unary("Control", {"Ping": (PingRequest, ping)}), {})
    with pytest.raises(AssertionError):
        merged(once, once)
