"""What one peer of the framed transport can occupy, and for how long."""

import asyncio
import contextlib
import gc
import random
import socket
import struct
import sys
import tracemalloc
from pathlib import Path

import pytest

from kraftpy.runtime.disk import LocalFile
from kraftpy.runtime.framed_config import SYSTEM
from kraftpy.runtime.framed_server import FramedServer
from kraftpy.runtime.framed_transport import TcpFramedTransport
from kraftpy.runtime.ports import (
    FileSlice,
    FrameParts,
    Unreachable,
)
from tests.runtime.framed import (
    RawClient,
    Run,
    ask,
    framed,
    resident_kib,
    serving,
    until,
)


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


def test_a_connection_that_ends_in_mid_frame_gives_its_memory_back_at_once(run: Run) -> None:
    async def story() -> None:
        async with serving() as (_, server):
            before_bytes, _ = tracemalloc.get_traced_memory()
            clients = [await RawClient.to(server) for _ in range(20)]
            for client in clients:
                await client.send(struct.pack(">i", 100 * 2**20) + bytes(70_000))
            await until(lambda: server.reserved_bytes >= 20 * 2**19)
            for client in clients:
                client.close()
            await until(lambda: server.connection_count == 0)
            assert tracemalloc.get_traced_memory()[0] - before_bytes < 2 * 2**20

    gc.disable()  # what is released is free, whatever the collector does
    tracemalloc.start()
    try:
        run(story())
    finally:
        tracemalloc.stop()
        gc.enable()


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


def test_the_kernel_may_choose_the_send_buffer(run: Run) -> None:
    async def story() -> None:
        sizes = []
        for asked in (4096, SYSTEM):
            async with serving(send_buffer_bytes=asked) as (transport, server):
                client = await transport.connect(server.address, 1000)
                await client.request([b"?"], 1000)
                (connection,) = server._connections
                sizes.append(connection._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))
                client.close()
        assert sizes[0] <= 2 * 4096 < sizes[1]

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


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no loopback address but 127.0.0.1")
def test_several_addresses_that_fill_a_server_leave_room_for_the_others(run: Run) -> None:
    async def story() -> None:
        async with serving(connections_max=8, connections_per_address_max=6, crowded_per_address_max=1) as (_, server):
            clients: list[RawClient] = []

            async def is_let_in(source: str) -> bool:
                before = server.connection_count
                clients.append(await RawClient.to(server, source=source))
                await clients[-1].send(framed(b"?"))
                with contextlib.suppress(ConnectionError, struct.error):  # closed at once
                    assert await clients[-1].receive_frame() == b"<?>"
                return bool(server.connection_count > before)

            for source in ("127.0.0.1", "127.0.0.2") * 3:
                assert await is_let_in(source)
            assert not await is_let_in("127.0.0.1")
            assert not await is_let_in("127.0.0.2")
            assert await is_let_in("127.0.0.3")
            assert not await is_let_in("127.0.0.3")
            assert await is_let_in("127.0.0.4")
            assert not await is_let_in("127.0.0.5"), "there is no room at all"
            for client in clients:
                client.close()

    run(story())


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


def test_who_reads_on_late_is_closed_for_idleness_only_unless_its_answers_fill_memory(run: Run, tmp_path: Path) -> None:
    """A consumer that handles records for a minute leaves the next answer, which it asked for ahead, in its socket."""
    size = 4 * 2**20
    (tmp_path / "log").write_bytes(bytes(size))
    file = LocalFile(str(tmp_path / "log"))

    async def handler(frame: memoryview) -> FrameParts:
        return [bytes(size)] if bytes(frame) == b"memory" else [b"of a file", FileSlice(file, 0, size)]

    async def story() -> None:
        async with serving(handler, stall_ms=100, idle_ms=900, send_buffer_bytes=4096) as (_, server):
            late, never, hoarding = [await RawClient.to(server, receive_buffer=4096) for _ in range(3)]
            for client in (late, never):
                await client.send(framed(b"file"))
            await hoarding.send(framed(b"memory"))
            await until(lambda: server.connection_count == 3)
            await until(lambda: server.connection_count == 2)  # who holds memory is gone
            late.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
            assert len(await late.receive_frame()) == size + len(b"of a file")
            late.close()
            await until(lambda: server.connection_count == 0)
            for client in (never, hoarding):
                client.close()

    run(story())
    file.close()


def test_who_takes_no_answer_is_not_kept_by_what_it_sends(run: Run) -> None:
    """Each answer that waits holds files open, whatever was opened since."""

    async def handler(frame: memoryview) -> FrameParts:
        return [bytes(20 * 2**20)]

    async def story() -> None:
        async with serving(handler, stall_ms=200) as (_, server):
            client = await RawClient.to(server, receive_buffer=4096)
            await client.send(framed(b"?"))
            await until(lambda: server.connection_count == 1)
            rest = iter(framed(bytes(1_000)))
            with contextlib.suppress(ConnectionError):
                while server.connection_count:
                    await client.send(bytes([next(rest)]))
                    await asyncio.sleep(0.02)
            await until(lambda: server.connection_count == 0)
            client.close()

    run(story())


def test_a_reader_that_is_slow_but_steady_is_not_closed(run: Run) -> None:
    async def handler(frame: memoryview) -> FrameParts:
        return [bytes(1_000_000)]

    async def story() -> None:
        async with serving(handler, stall_ms=1_000, idle_ms=1_000, send_buffer_bytes=4096) as (_, server):
            client = await RawClient.to(server, receive_buffer=4096)
            await client.send(framed(b"?"))
            received = 0
            while received < 1_000_004:
                received += len(await client.receive(min(20_000, 1_000_004 - received)))
                await asyncio.sleep(0.05)
            client.close()

    run(story())
