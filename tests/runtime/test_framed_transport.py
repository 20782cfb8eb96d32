"""Frames over real sockets, on asyncio and uvloop: order, limits, rudeness, and files that are not in memory."""

import asyncio
import errno
import logging
import os
import random
import socket
import struct
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from kraftpy.runtime.disk import LocalDisk, LocalFile
from kraftpy.runtime.framed_server import FramedServer
from kraftpy.runtime.framed_transport import FramedConfig, TcpFramedConnection, TcpFramedTransport
from kraftpy.runtime.ports import (
    Address,
    Buffer,
    FileSlice,
    FrameHandler,
    FrameParts,
    RemoteFailure,
    TransportTimeout,
    Unreachable,
)

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, None]], None]
LOOPBACK = Address("127.0.0.1", 0)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(story: Coroutine[Any, Any, None]) -> None:
        async def limited() -> None:
            async with asyncio.timeout(20):
                await story

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(limited())

    return run


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
    async def to(cls, server: FramedServer, receive_buffer: int | None = None) -> "RawClient":
        connecting = socket.socket(socket.AF_INET6 if ":" in server.address.host else socket.AF_INET)
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


# --- asking and answering --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 100, 65_535, 65_536, 200_000, 262_144, 262_145, 3_000_000])
def test_frames_of_all_sizes_come_back_whole(run: Run, size: int) -> None:
    async def story() -> None:
        async with serving() as (transport, server):
            connection = await transport.connect(server.address, 1000)
            data = random.Random(size).randbytes(size)
            for _ in range(3):
                answer = await connection.request([data[:10], memoryview(data)[10:]], 5000)
                assert bytes(answer) == b"<" + data + b">"
                assert not answer.readonly
            connection.close()

    run(story())


def test_pipelined_requests_are_handled_at_once_and_answered_in_order(run: Run) -> None:
    async def story() -> None:
        gates = [asyncio.Event() for _ in range(10)]
        started: list[int] = []

        async def handler(frame: memoryview) -> FrameParts:
            number = frame[0]
            started.append(number)
            await gates[number].wait()
            return [bytes(frame) * 2]

        async with serving(handler) as (transport, server):
            connection = await transport.connect(server.address, 1000)
            requests = [asyncio.ensure_future(connection.request([bytes([n])], 5000)) for n in range(10)]
            await until(lambda: len(started) == 10)
            assert started == list(range(10))
            finished: list[int] = []
            for number, request in enumerate(requests):
                request.add_done_callback(lambda _, number=number: finished.append(number))
            for gate in reversed(gates):
                gate.set()
            assert [bytes(await request) for request in requests] == [bytes([n, n]) for n in range(10)]
            await asyncio.sleep(0)
            assert finished == list(range(10))
            connection.close()

    run(story())


def test_a_frame_stays_valid_while_others_arrive(run: Run) -> None:
    async def story() -> None:
        go = asyncio.Event()

        async def handler(frame: memoryview) -> FrameParts:
            await go.wait()
            return [frame]

        async with serving(handler) as (_, server):
            client = await RawClient.to(server)
            frames = [bytes([n]) * (n * 7000 + 1) for n in range(30)]
            await client.send(b"".join(map(framed, frames)))
            await asyncio.sleep(0.01)
            go.set()
            for frame in frames:
                assert await client.receive_frame() == frame
            client.close()

    run(story())


def test_an_empty_answer_is_none_at_all(run: Run) -> None:
    async def handler(frame: memoryview) -> FrameParts:
        return [] if frame[0] == 0 else [bytes(frame)]

    async def story() -> None:
        async with serving(handler) as (_, server):
            client = await RawClient.to(server)
            await client.send(framed(b"\0") * 200 + framed(b"\1"))
            assert await client.receive_frame() == b"\1"
            client.close()

    run(story())


def test_frames_that_come_byte_by_byte(run: Run) -> None:
    async def story() -> None:
        async with serving() as (_, server):
            client = await RawClient.to(server)
            for byte in framed(b"slow") + framed(b"slower"):
                await client.send(bytes([byte]))
                await asyncio.sleep(0)
            assert [await client.receive_frame() for _ in range(2)] == [b"<slow>", b"<slower>"]
            client.close()

    run(story())


def test_random_pieces_of_random_frames(run: Run) -> None:
    async def story() -> None:
        chance = random.Random(1)
        frames = [chance.randbytes(chance.choice([0, 3, 4, 1000, 70_000, 300_000, 800_000])) for _ in range(60)]
        stream = b"".join(map(framed, frames))

        async def send(client: RawClient) -> None:
            position = 0
            while position < len(stream):
                size = chance.choice([1, 2, 5, 1000, 65_540, 262_144, 900_000])
                await client.send(stream[position : position + size])
                position += size

        async with serving() as (_, server):
            client = await RawClient.to(server)
            sending = asyncio.ensure_future(send(client))
            for frame in frames:
                assert await client.receive_frame() == b"<" + frame + b">"
            await sending
            client.close()

    run(story())


# --- files -----------------------------------------------------------------------------------------------------------


class ColdFile(LocalFile):
    """A file that claims not to be in memory, and counts who reads it how."""

    cold = True
    reads = 0
    probes = 0

    def is_cached(self, length: int, position: int) -> bool:
        self.probes += 1
        return not self.cold

    def read(self, length: int, position: int) -> bytes:
        self.reads += 1
        return super().read(length, position)


class FileWithoutDescriptor(LocalFile):
    def is_cached(self, length: int, position: int) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError(errno.ENOTSUP, "this file has no descriptor")


@pytest.mark.parametrize("kind", [LocalFile, ColdFile, FileWithoutDescriptor])
def test_ranges_of_files_stand_between_buffers(run: Run, tmp_path: Path, kind: type[LocalFile]) -> None:
    data = random.Random(7).randbytes(4_000_000)
    path = tmp_path / "segment"
    path.write_bytes(data)

    async def story() -> None:
        disk = LocalDisk()
        file = kind(str(path))
        ranges = [(0, 10), (5, 16_384), (100, 16_385), (1000, 3_500_000), (3, 0), (3_999_999, 1), (50, 600_000)]

        async def handler(frame: memoryview) -> FrameParts:
            parts: list[Buffer | FileSlice] = []
            for position, length in ranges:
                parts += [b"[%d]" % length, FileSlice(file, position, length)]
            return [*parts, b"."]

        expected = b"".join(b"[%d]" % length + data[at : at + length] for at, length in ranges) + b"."
        transport = TcpFramedTransport(disk.run)
        server = await transport.serve(LOOPBACK, with_handler(handler))
        connection = await transport.connect(server.address, 1000)
        answers = await asyncio.gather(*[connection.request([b"?"], 5000) for _ in range(3)])
        assert all(answer == expected for answer in answers)
        connection.close()
        await server.stop()
        file.close()
        disk.close()

    run(story())


def test_a_cold_range_stalls_nobody_else(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "segment"
    path.write_bytes(bytes(100_000))

    async def story() -> None:
        file = ColdFile(str(path))
        disk_is_back = asyncio.Event()

        async def slow_disk(work: Callable[[], T]) -> T:
            await disk_is_back.wait()
            return work()

        async def handler(frame: memoryview) -> FrameParts:
            return [FileSlice(file, 0, 100_000)] if bytes(frame) == b"cold" else [b"hot"]

        transport = TcpFramedTransport(slow_disk)
        server = await transport.serve(LOOPBACK, with_handler(handler))
        cold, hot = await transport.connect(server.address, 1000), await transport.connect(server.address, 1000)
        answer = asyncio.ensure_future(cold.request([b"cold"], 5000))
        await until(lambda: file.probes > 0)
        for _ in range(20):
            assert await ask(hot, b"?", 1000) == b"hot"
        assert file.reads == 0 and not answer.done()
        disk_is_back.set()
        assert len(await answer) == 100_000
        cold.close()
        hot.close()
        await server.stop()
        file.close()

    run(story())


@pytest.mark.parametrize("kind", [LocalFile, ColdFile, FileWithoutDescriptor])
@pytest.mark.parametrize("length", [1000, 200_000])
def test_a_range_beyond_the_end_of_its_file_closes_only_that_connection(
    run: Run, tmp_path: Path, kind: type[LocalFile], length: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "segment"
    path.write_bytes(b"short")

    async def story() -> None:
        file = kind(str(path))

        async def handler(frame: memoryview) -> FrameParts:
            return [b"header", FileSlice(file, 0, length)] if bytes(frame) == b"long" else [bytes(frame)]

        async with serving(handler) as (transport, server):
            connection = await transport.connect(server.address, 1000)
            with pytest.raises(Unreachable):
                await connection.request([b"long"], 2000)
            again = await transport.connect(server.address, 1000)
            assert await ask(again, b"fine", 2000) == b"fine"
            again.close()
        file.close()

    run(story())
    assert "ends inside the range" in caplog.text


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("announced", [-1, -(2**31), 1001, 2**31 - 1])
def test_an_announcement_beyond_the_limit_closes_the_connection_with_one_line(
    run: Run, announced: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with serving(frame_bytes_max=1000) as (transport, server):
            client = await RawClient.to(server)
            await client.send(struct.pack(">i", announced) + b"x" * 10)
            assert await client.is_closed_by_peer()
            client.close()
            good = await transport.connect(server.address, 1000)
            assert await good.request([b"x" * 998], 1000)
            good.close()

    run(story())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"a frame of {announced} bytes" in caplog.text


def test_an_announcement_alone_occupies_nothing_and_holds_up_nobody(run: Run) -> None:
    async def story() -> None:
        async with serving() as (transport, server):
            clients = [await RawClient.to(server) for _ in range(20)]
            before_kib = resident_kib()
            for client in clients:
                await client.send(struct.pack(">i", 100 * 2**20) + bytes(70_000))
            await until(lambda: server.reserved_bytes >= 20 * 2**19)
            assert server.reserved_bytes <= 20 * 2**20
            assert resident_kib() - before_kib < 40_000
            good = await transport.connect(server.address, 1000)
            assert len(await ask(good, bytes(50 * 2**20), 10_000)) == 50 * 2**20 + 2
            good.close()
            for client in clients:
                client.close()
            await until(lambda: server.reserved_bytes == 0)

    run(story())


def test_half_received_frames_cannot_block_each_other_for_good(run: Run) -> None:
    async def story() -> None:
        size, halves = 1_000_000, 7
        async with serving(frame_bytes_max=size, receive_bytes_max=3 * size) as (_, server):
            clients = [await RawClient.to(server) for _ in range(halves)]
            data = bytes(size)
            for client in clients:
                await client.send(framed(data)[: size // 2 + 40_000])
            await asyncio.sleep(0.02)
            assert server.reserved_bytes <= 4 * size
            sending = [asyncio.ensure_future(each.send(framed(data)[size // 2 + 40_000 :])) for each in clients]
            for client in reversed(clients):
                assert len(await client.receive_frame()) == size + 2
                assert server.reserved_bytes <= 4 * size
            await asyncio.gather(*sending)
            for client in clients:
                client.close()

    run(story())


def test_beyond_the_requests_in_flight_nothing_is_read(run: Run) -> None:
    async def story() -> None:
        started: list[int] = []
        gate = asyncio.Semaphore(0)

        async def handler(frame: memoryview) -> FrameParts:
            started.append(frame[0])
            await gate.acquire()
            return [bytes(frame)]

        async with serving(handler, in_flight_max=3) as (_, server):
            client = await RawClient.to(server)
            await client.send(b"".join(framed(bytes([n])) for n in range(10)))
            await until(lambda: len(started) == 3)
            await asyncio.sleep(0.02)
            assert started == [0, 1, 2]
            gate.release()
            assert await client.receive_frame() == b"\0"
            await until(lambda: len(started) == 4)
            for _ in range(9):
                gate.release()
            assert [(await client.receive_frame())[0] for _ in range(9)] == list(range(1, 10))
            client.close()

    run(story())


def test_a_slow_reader_stops_the_requests_it_pipelines(run: Run) -> None:
    async def story() -> None:
        started = 0

        async def handler(frame: memoryview) -> FrameParts:
            nonlocal started
            started += 1
            return [bytes(2**20)]

        async with serving(handler, in_flight_max=4) as (transport, server):
            client = await RawClient.to(server, receive_buffer=4096)
            await client.send(framed(b"?") * 200)
            await asyncio.sleep(0.05)
            assert started <= 4 + 1
            other = await transport.connect(server.address, 1000)
            assert len(await other.request([b"?"], 5000)) == 2**20
            other.close()
            for _ in range(20):
                assert len(await client.receive_frame()) == 2**20
            client.close()

    run(story())


def test_large_frames_wait_for_memory_while_small_ones_pass(run: Run) -> None:
    async def story() -> None:
        gate = asyncio.Event()
        large = 0

        async def handler(frame: memoryview) -> FrameParts:
            nonlocal large
            if len(frame) > 1000:
                large += 1
                await gate.wait()
            return [b"%d" % len(frame)]

        async with serving(handler, frame_bytes_max=1_000_000, receive_bytes_max=2_500_000) as (transport, server):
            connections = [await transport.connect(server.address, 1000) for _ in range(6)]
            requests = [asyncio.ensure_future(each.request([bytes(1_000_000)], 10_000)) for each in connections]
            await until(lambda: large == 3)
            await asyncio.sleep(0.02)
            assert large == 3 and server.reserved_bytes <= 3_500_000
            small = await transport.connect(server.address, 1000)
            assert await ask(small, b"hello", 1000) == b"5"
            connections[-1].close()  # one that waits may leave
            gate.set()
            assert [bytes(answer) for answer in await asyncio.gather(*requests[:-1])] == [b"1000000"] * 5
            with pytest.raises(Unreachable):
                await requests[-1]
            for each in (small, *connections):
                each.close()

    run(story())


def test_the_queue_for_memory_survives_connections_that_leave_it_and_handlers_that_fail(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        chance = random.Random(3)

        async def handler(frame: memoryview) -> FrameParts:
            await asyncio.sleep(chance.random() / 100)
            if frame[0] < 40:
                raise ConnectionAbortedError("no")
            return [b"ok"]

        async def client(server: FramedServer, transport: TcpFramedTransport) -> None:
            for _ in range(6):
                connection = await transport.connect(server.address, 5000)
                data = chance.randbytes(1) + bytes(chance.choice([10, 70_000, 400_000, 999_000]))
                requests = [asyncio.ensure_future(connection.request([data], 10_000)) for _ in range(3)]
                if chance.random() < 0.3:
                    await asyncio.sleep(chance.random() / 200)
                    connection.close()
                await asyncio.gather(*requests, return_exceptions=True)
                connection.close()

        async with serving(handler, frame_bytes_max=2**20, receive_bytes_max=2**20, in_flight_max=2) as (
            transport,
            server,
        ):
            await asyncio.gather(*[client(server, transport) for _ in range(8)])
            await until(lambda: server.connection_count == 0 and server.reserved_bytes == 0)

    run(story())


def test_connections_beyond_the_limits_are_closed_at_once(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with serving(connections_max=10, connections_per_address_max=3) as (transport, server):
            kept = [await transport.connect(server.address, 1000) for _ in range(3)]
            for connection in kept:
                await connection.request([b"?"], 1000)
            for _ in range(20):
                refused = await RawClient.to(server)
                assert await refused.is_closed_by_peer()
                refused.close()
            kept.pop().close()
            await until(lambda: server.connection_count == 2)
            again = await transport.connect(server.address, 1000)
            assert await ask(again, b"?", 1000) == b"<?>"
            for connection in (again, *kept):
                connection.close()

    run(story())
    assert caplog.text.count("connections are refused") == 1


def test_who_asks_nothing_for_long_is_closed_but_not_who_waits_for_an_answer(run: Run) -> None:
    async def story() -> None:
        gate = asyncio.Event()

        async def handler(frame: memoryview) -> FrameParts:
            await gate.wait()
            return [b"late"]

        async with serving(handler, idle_ms=80, stall_ms=80) as (transport, server):
            idle = await RawClient.to(server)
            waiting = await transport.connect(server.address, 1000)
            answer = asyncio.ensure_future(waiting.request([b"?"], 5000))
            assert await idle.is_closed_by_peer()
            await asyncio.sleep(0.2)
            gate.set()
            assert bytes(await answer) == b"late"
            waiting.close()
            idle.close()

    run(story())


def test_who_stops_in_the_middle_is_closed(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(frame: memoryview) -> FrameParts:
        return [bytes(20 * 2**20)]

    async def story() -> None:
        async with serving(handler, stall_ms=100) as (_, server):
            half_asked = await RawClient.to(server)
            await half_asked.send(framed(b"12345")[:-1])
            half_large = await RawClient.to(server)
            await half_large.send(framed(bytes(300_000))[:-1])
            half_read = await RawClient.to(server, receive_buffer=4096)
            await half_read.send(framed(b"?"))
            await until(lambda: server.connection_count == 3)
            await until(lambda: server.connection_count == 0)
            assert await half_asked.is_closed_by_peer() and await half_large.is_closed_by_peer()
            for client in (half_asked, half_large, half_read):
                client.close()

    run(story())
    assert caplog.text.count("stopped in the middle") == 3


def test_a_reader_that_is_slow_but_steady_is_not_closed(run: Run) -> None:
    async def handler(frame: memoryview) -> FrameParts:
        return [bytes(1_000_000)]

    async def story() -> None:
        async with serving(handler, stall_ms=200, idle_ms=200, send_buffer_bytes=4096) as (_, server):
            client = await RawClient.to(server, receive_buffer=4096)
            await client.send(framed(b"?"))
            received = 0
            while received < 1_000_004:
                received += len(await client.receive(min(20_000, 1_000_004 - received)))
                await asyncio.sleep(0.02)
            client.close()

    run(story())


# --- rudeness and the end --------------------------------------------------------------------------------------------


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


# --- the asking side -------------------------------------------------------------------------------------------------


def test_nobody_there_is_unreachable(run: Run) -> None:
    async def story() -> None:
        transport = TcpFramedTransport(run_here)
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            with pytest.raises(Unreachable, match="refused"):
                await transport.connect(Address("127.0.0.1", bound.getsockname()[1]), 1000)
        with pytest.raises(Unreachable):
            await transport.connect(Address("no such host.invalid", 1), 5000)

    run(story())


def test_silence_is_a_time_out_and_ends_the_connection(run: Run) -> None:
    async def story() -> None:
        async def handler(frame: memoryview) -> FrameParts:
            await asyncio.get_running_loop().create_future()
            return []

        async with serving(handler) as (transport, server):
            connection = await transport.connect(server.address, 1000)
            patient = asyncio.ensure_future(connection.request([b"?"], 5000))
            with pytest.raises(Unreachable):
                hasty = asyncio.ensure_future(connection.request([b"?"], 30))
                with pytest.raises(TransportTimeout):
                    await hasty
                await patient
            assert connection.is_closed
            with pytest.raises(Unreachable):
                await connection.request([b"?"], 1000)

    run(story())


def test_an_answer_that_came_during_a_stall_of_the_loop_counts(run: Run) -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            transport = TcpFramedTransport(run_here)
            connection = await transport.connect(Address("127.0.0.1", listening.getsockname()[1]), 1000)
            peer, _ = listening.accept()
            answer = asyncio.ensure_future(connection.request([b"?"], 50))
            await asyncio.sleep(0)
            peer.sendall(framed(b"in time"))
            peer.settimeout(0.1)  # the loop stands still in here, until the deadline has passed
            with pytest.raises(TimeoutError):
                while peer.recv(100):
                    pass
            assert bytes(await answer) == b"in time"
            connection.close()
            peer.close()

    run(story())


@pytest.mark.parametrize("rudeness", [b"", b"\0\0", framed(b"half")[:-1], struct.pack(">i", -5), framed(b"1") * 2])
def test_a_peer_that_misbehaves_fails_the_request(run: Run, rudeness: bytes) -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            transport = TcpFramedTransport(run_here)
            connection = await transport.connect(Address("127.0.0.1", listening.getsockname()[1]), 1000)
            peer, _ = listening.accept()
            request = asyncio.ensure_future(connection.request([b"?"], 2000))
            await asyncio.sleep(0)
            peer.sendall(rudeness)
            peer.close()
            if rudeness == framed(b"1") * 2:
                assert bytes(await request) == b"1"  # and the second answer, to nothing, closes the connection
                await until(lambda: connection.is_closed)
            else:
                with pytest.raises((Unreachable, RemoteFailure)):
                    await request
            with pytest.raises((Unreachable, RemoteFailure)):
                await connection.request([b"?"], 1000)

    run(story())


def test_requests_beyond_the_limit_wait_and_a_cancelled_one_keeps_its_place(run: Run) -> None:
    async def story() -> None:
        gate = asyncio.Semaphore(0)
        started = 0

        async def handler(frame: memoryview) -> FrameParts:
            nonlocal started
            started += 1
            await gate.acquire()
            return [bytes(frame)]

        async with serving(handler, in_flight_max=2) as (transport, server):
            connection = await transport.connect(server.address, 1000)
            requests = [asyncio.ensure_future(connection.request([b"%d" % n], 5000)) for n in range(6)]
            await until(lambda: started == 2)
            requests[0].cancel()
            requests[3].cancel()
            hasty = asyncio.ensure_future(connection.request([b"hasty"], 20))
            with pytest.raises(TransportTimeout, match="before this one"):
                await hasty
            assert not connection.is_closed  # it was never sent
            for _ in range(5):
                gate.release()
            assert [bytes(await requests[n]) for n in (1, 2, 4, 5)] == [b"1", b"2", b"4", b"5"]
            waiting = [asyncio.ensure_future(connection.request([b"x"], 5000)) for _ in range(5)]
            await until(lambda: started == 7)
            connection.close()
            for request in waiting:
                with pytest.raises(Unreachable):
                    await request

    run(story())


def test_a_request_larger_than_a_frame_may_be_is_refused_before_it_is_sent(run: Run) -> None:
    async def story() -> None:
        async with serving(frame_bytes_max=1000) as (transport, server):
            connection = await transport.connect(server.address, 1000)
            with pytest.raises(ValueError, match="1001 bytes"):
                await connection.request([bytes(1001)], 1000)
            assert await ask(connection, b"?", 1000) == b"<?>"
            connection.close()

    run(story())


@pytest.mark.parametrize(
    "limits", [{"idle_ms": 0}, {"frame_bytes_max": 2**31}, {"frame_bytes_max": 100, "receive_bytes_max": 99}]
)
def test_limits_that_cannot_be_are_refused_at_the_start(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        FramedConfig(**limits)


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
