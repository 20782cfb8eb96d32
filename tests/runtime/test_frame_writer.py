"""The sending half of a connection by itself: whatever the socket takes, the same bytes come out."""

import asyncio
import contextlib
import os
import random
import socket
import struct
from pathlib import Path

import pytest

from kraftpy.runtime.disk import LocalFile
from kraftpy.runtime.frame_writer import PIECE_BYTES, SMALL_FRAME_BYTES_MAX, FrameWriter
from kraftpy.runtime.ports import Buffer, FileSlice
from tests.runtime.framed import Run, run_here


class SometimesColdFile(LocalFile):
    """Every third look finds that it is not in memory."""

    looks = 0

    def is_cached(self, length: int, position: int) -> bool:
        self.looks += 1
        return self.looks % 3 != 0


@pytest.mark.parametrize("seed", range(6))
def test_frames_leave_whole_and_in_order_whatever_the_socket_takes(run: Run, tmp_path: Path, seed: int) -> None:
    """Small ones past the queue or behind what is in it, large ones, and ranges of files, hot and cold."""
    chance = random.Random(seed)
    data = chance.randbytes(300_000)
    path = tmp_path / "segment"
    path.write_bytes(data)

    async def story() -> None:
        loop = asyncio.get_running_loop()
        sending, receiving = socket.socketpair()
        sending.setblocking(False)
        receiving.setblocking(False)
        sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
        file = SometimesColdFile(str(path))
        sent, failures = [0], list[Exception]()

        def on_sent(count: int) -> None:
            sent[0] += count

        writer = FrameWriter(sending, loop, run_here, on_sent, failures.append)
        expected, received = bytearray(), bytearray()

        async def read_some() -> None:
            received.extend(await loop.sock_recv(receiving, chance.choice([100, 5_000, 1 << 20])))

        frames = 150
        for _ in range(frames):
            parts: list[Buffer | FileSlice] = []
            body = bytearray()
            for _ in range(chance.randint(0, 4)):
                length = chance.choice([0, 1, 20, 3_000, SMALL_FRAME_BYTES_MAX, 100_000])
                at = chance.randrange(len(data) - length)
                body += data[at : at + length]
                piece = data[at : at + length]
                forms: list[Buffer | FileSlice] = [piece, bytearray(piece), memoryview(piece)]
                parts.append(chance.choice([*forms, FileSlice(file, at, length)]))
            expected += struct.pack(">i", len(body)) + body
            writer.send(parts)
            for _ in range(chance.choice([0, 0, 1, 3])):
                if len(received) < len(expected):
                    await read_some()
        while len(received) < len(expected):
            await read_some()
        assert received == expected and not failures
        assert sent == [frames] and writer.sent_bytes == len(expected) and not writer.is_blocked
        writer.close()
        sending.close()
        receiving.close()
        file.close()

    run(story())


def test_a_peer_that_is_gone_is_told_once(run: Run) -> None:
    async def story() -> None:
        sending, receiving = socket.socketpair()
        sending.setblocking(False)
        receiving.close()
        failures: list[Exception] = []
        writer = FrameWriter(sending, asyncio.get_running_loop(), run_here, lambda count: None, failures.append)
        writer.send([b"small"])
        writer.send([b"small"])
        writer.send([bytes(2 * SMALL_FRAME_BYTES_MAX)])
        assert [type(failure) for failure in failures] == [BrokenPipeError]
        sending.close()

    run(story())


class Watched(LocalFile):
    looks = 0

    def is_cached(self, length: int, position: int) -> bool:
        self.looks += 1
        return super().is_cached(length, position)


def test_the_page_cache_is_probed_once_a_turn_and_piece_however_little_the_socket_takes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "segment"
    path.write_bytes(bytes(2_000_000))
    calls, fulls = [0], [0]
    sendfile = os.sendfile

    def counting(*arguments: int) -> int:
        calls[0] += 1
        try:
            return sendfile(*arguments)
        except BlockingIOError:
            fulls[0] += 1
            raise

    monkeypatch.setattr(os, "sendfile", counting)

    async def story() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as door:
            sending = socket.create_connection(door.getsockname())
            receiving, _ = door.accept()
        sending.setblocking(False)
        receiving.setblocking(False)
        sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 102_400)
        with contextlib.closing(Watched(str(path))) as file, sending, receiving:
            writer = FrameWriter(sending, loop, run_here, lambda count: None, lambda error: None)
            writer.send([FileSlice(file, 0, 2_000_000)])
            size = 0
            while size < 4 + 2_000_000:
                size += len(await loop.sock_recv(receiving, 1 << 20))
            assert writer.sent_bytes == size
            pieces = -(-2_000_000 // PIECE_BYTES)
            assert calls[0] > file.looks > 4 and file.looks <= fulls[0] + pieces

    run(story())
