"""What the tests of the gRPC transport share: a peer that answers, fails or keeps silent, here or as a process."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from kraftpy.runtime.grpc_transport import GrpcTransport
from kraftpy.runtime.ports import Address, Methods, Server

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
def peer_process(source: str = PEER) -> Iterator[tuple[subprocess.Popen[str], Address]]:
    """A process that runs `source`, which prints the port that it serves on."""
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, Address("127.0.0.1", int(process.stdout.readline()))
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
