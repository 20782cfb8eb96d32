"""What the tests of the framed transport share: a server with a transport, and a peer that may be rude."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from kraftpy.runtime.framed_server import FramedServer
from kraftpy.runtime.framed_transport import FramedConfig, TcpFramedConnection, TcpFramedTransport
from kraftpy.runtime.ports import (
    Address,
    FrameHandler,
    FrameParts,
)

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, None]], None]
LOOPBACK = Address("127.0.0.1", 0)


async def run_here(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, work)


async def echo(frame: memoryview) -> FrameParts:
    return [b"<", frame, b">"]


def with_handler(handler: FrameHandler) -> Callable[[Address], FrameHandler]:
    return lambda peer: handler


@asynccontextmanager
async def serving(handler: FrameHandler = echo, **limits: int) -> Any:
    """A server and a transport to reach it with."""
    transport = TcpFramedTransport(run_here, FramedConfig(**limits))
    server = await transport.serve(LOOPBACK, with_handler(handler))
    try:
        yield transport, server
    finally:
        await server.stop()
        assert server.connection_count == 0
        assert server.reserved_bytes == 0


class RawClient:
    """A peer that may be rude."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected

    @classmethod
    async def to(
        cls, server: FramedServer, receive_buffer: int | None = None, source: str | None = None
    ) -> "RawClient":
        """`source`: the address that it comes from."""
        connecting = socket.socket(socket.AF_INET6 if ":" in server.address.host else socket.AF_INET)
        if source:
            connecting.bind((source, 0))
        if receive_buffer:
            connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connecting.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connecting, tuple(server.address))
        return cls(connecting)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = await asyncio.get_running_loop().sock_recv(self.socket, size - len(data))
            if not piece:
                break
            data += piece
        return data

    async def receive_frame(self) -> bytes:
        (size,) = struct.unpack(">i", await self.receive(4))
        return await self.receive(size)

    async def is_closed_by_peer(self) -> bool:
        try:
            return await asyncio.get_running_loop().sock_recv(self.socket, 1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()


def framed(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


async def ask(connection: TcpFramedConnection, frame: bytes, timeout_ms: int) -> bytes:
    return bytes(await connection.request([frame], timeout_ms))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for happens in the kernel and rings no bell
        await asyncio.sleep(0.001)


def resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
