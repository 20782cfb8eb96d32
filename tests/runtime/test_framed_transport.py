"""Frames over real sockets, on asyncio and uvloop: asking and answering, also with files that are not in memory."""

import asyncio
import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from kraftpy.runtime.disk import LocalDisk, LocalFile
from kraftpy.runtime.framed_transport import TcpFramedTransport
from kraftpy.runtime.ports import (
    Buffer,
    FileSlice,
    FrameParts,
    Unreachable,
)
from tests.runtime.framed import (
    LOOPBACK,
    RawClient,
    Run,
    ask,
    framed,
    serving,
    until,
    with_handler,
)

# --- asking and answering --------------------------------------------------------------------------------------------

T = TypeVar("T")


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
