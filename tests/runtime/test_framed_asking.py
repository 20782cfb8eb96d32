"""The asking side of the framed transport: who is not there, who is silent, who answers nonsense."""

import asyncio
import socket
import struct

import pytest

from kraftpy.runtime.framed_transport import FramedConfig, TcpFramedTransport
from kraftpy.runtime.ports import (
    Address,
    FrameParts,
    RemoteFailure,
    TransportTimeout,
    Unreachable,
)
from tests.runtime.framed import (
    Run,
    ask,
    framed,
    run_here,
    serving,
    until,
)


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


def test_an_answer_may_be_larger_than_the_requests_that_are_taken(run: Run) -> None:
    """It was asked for: a follower that falls behind asks for more than socket.request.max.bytes may be."""

    async def story() -> None:
        async def handler(frame: memoryview) -> FrameParts:
            return [bytes(200_000)]

        async with serving(handler, frame_bytes_max=1000) as (transport, server):
            connection = await transport.connect(server.address, 1000)
            assert len(await ask(connection, b"?", 5000)) == 200_000
            connection.close()

    run(story())


@pytest.mark.parametrize(
    "limits",
    [
        {"idle_ms": 0},
        {"frame_bytes_max": 2**31},
        {"frame_bytes_max": 100, "receive_bytes_max": 99},
        {"send_buffer_bytes": -2},
        {"backlog": -1},
    ],
)
def test_limits_that_cannot_be_are_refused_at_the_start(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        FramedConfig(**limits)
