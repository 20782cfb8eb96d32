"""From answers to the bytes of a socket, without carrying file contents through Python where that can be helped.

Buffers leave by `sendmsg`, ranges of files by `sendfile`, in the order in which they were handed over. A range that is
not in the page cache would stall the whole loop in `sendfile`; it is read on a disk thread first, a piece at a time.
A small frame that finds nothing before it leaves as one piece, past the queue: most do, and what the queue does for
large ones would cost more than the rest of a small request.

Invariants: one connection's bytes leave in order; one turn sends no more than `TURN_BYTES_MAX`, so that a fast reader
does not starve the other connections; of a cold range at most one piece is in memory.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from kraftpy.runtime.frame_reader import LENGTH
from kraftpy.runtime.ports import Buffer, FileSlice, FrameParts

T = TypeVar("T")

TURN_BYTES_MAX = 1024 * 1024
PIECE_BYTES = 512 * 1024
"""How far ahead the page cache is probed, and how much of a cold range is read at once."""
COPIED_SLICE_BYTES_MAX = 16 * 1024
"""A hot range up to here is read and joined to the buffers around it, which saves a system call."""
SMALL_FRAME_BYTES_MAX = 16 * 1024
_BUFFERS_MAX = 64
_MORE = getattr(socket, "MSG_MORE", 0)
_FRAME_BYTES_MAX = 2**31 - 1


class RunOnDisk(Protocol):
    """`Disk.run`: blocking work off the loop."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


class _EndOfFrame:
    """Stands in the queue behind the last byte of a frame."""


_END = _EndOfFrame()


class FrameWriter:
    """The sending half of one connection."""

    __slots__ = (
        "_closed",
        "_frames_sent",
        "_loop",
        "_on_failed",
        "_on_sent",
        "_queue",
        "_reading",
        "_run",
        "_socket",
        "_watching",
        "sent_bytes",
    )

    def __init__(
        self,
        sending: socket.socket,
        loop: asyncio.AbstractEventLoop,
        run: RunOnDisk,
        on_sent: Callable[[int], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        """`on_sent(count)` is told how many frames more have been handed to the kernel, `on_failed` at most once that
        nothing more can be sent. Both may be called before `send` returns."""
        self._socket = sending
        self._loop = loop
        self._run = run
        self._on_sent = on_sent
        self._on_failed = on_failed
        self._queue: deque[memoryview | FileSlice | _EndOfFrame] = deque()
        self._frames_sent = 0  # not told yet
        self.sent_bytes = 0  # all in all
        self._watching = False  # the loop tells when the socket takes more
        self._reading: asyncio.Task[None] | None = None  # a cold piece is on its way
        self._closed = False

    @property
    def is_blocked(self) -> bool:
        """Something waits for the peer to read."""
        return self._watching

    @property
    def unsent_bytes(self) -> int:
        """In memory; ranges of files are not."""
        return sum(len(part) for part in self._queue if isinstance(part, memoryview))

    def send(self, parts: FrameParts) -> None:
        """Queue one frame and send what the socket takes now.

        Raises `ValueError` for a frame that no length can express.
        """
        if not self._queue and self._send_small(parts):
            return
        size = sum(part.length if isinstance(part, FileSlice) else memoryview(part).nbytes for part in parts)
        if size > _FRAME_BYTES_MAX:
            raise ValueError(f"an answer of {size} bytes does not fit into a frame")
        queue = self._queue
        idle = not queue
        queue.append(memoryview(LENGTH.pack(size)))
        for part in parts:
            if isinstance(part, FileSlice):
                if part.length:
                    queue.append(part)
            elif len(part):
                queue.append(memoryview(part).cast("B"))
        queue.append(_END)
        if idle:
            self._turn()

    def _send_small(self, parts: FrameParts) -> bool:
        """Send a frame as one piece, and queue what the socket does not take. False: it is to be queued as it is."""
        try:
            frame = _joined(parts)
            if frame is None:
                return False
            sent = self._socket.send(frame)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._fail(error)
            return True
        self.sent_bytes += sent
        if sent == len(frame):
            self._on_sent(1)
        else:
            self._queue += (memoryview(frame)[sent:], _END)
            self._watch(True)
        return True

    def close(self) -> None:
        """Forget everything; the caller closes the socket."""
        self._closed = True
        self._queue.clear()
        self._watch(False)
        if self._reading is not None:
            self._reading.cancel()

    def _turn(self) -> None:
        """Send until the socket is full, the queue empty, a cold range in the way or the turn over."""
        try:
            self._send_some()
        except (BlockingIOError, InterruptedError):
            self._watch(True)
        except OSError as error:
            self._fail(error)
        if self._frames_sent and not self._closed:
            count, self._frames_sent = self._frames_sent, 0
            self._on_sent(count)

    def _fail(self, error: Exception) -> None:
        if not self._closed:
            self.close()
            self._on_failed(error)

    def _send_some(self) -> None:
        room = TURN_BYTES_MAX
        queue = self._queue
        while queue:
            first = queue[0]
            if room <= 0:
                self._watch(True)
                return
            if isinstance(first, _EndOfFrame):
                queue.popleft()
                self._frames_sent += 1
            elif isinstance(first, memoryview):
                room -= self._send_buffers()
            elif not first.file.is_cached(min(first.length, PIECE_BYTES), first.position):
                self._watch(False)
                self._reading = self._loop.create_task(self._read_cold(first))
                return
            elif first.length <= COPIED_SLICE_BYTES_MAX:
                queue[0] = memoryview(_read(first))
            else:
                room -= self._send_slice(first)
        self._watch(False)

    def _send_buffers(self) -> int:
        """Send the buffers at the head of the queue, and the small hot ranges between them, in one call."""
        buffers: list[memoryview] = []
        flags = 0
        for index in range(min(len(self._queue), _BUFFERS_MAX)):
            part = self._queue[index]
            if isinstance(part, FileSlice):
                if part.length > COPIED_SLICE_BYTES_MAX:
                    flags = _MORE
                    break
                if not part.file.is_cached(part.length, part.position):
                    break
                part = self._queue[index] = memoryview(_read(part))
            if isinstance(part, memoryview):
                buffers.append(part)
        sent = self._socket.sendmsg(buffers, (), flags)
        self.sent_bytes += sent
        self._drop(sent)
        return sent

    def _drop(self, sent: int) -> None:
        queue = self._queue
        while sent:
            part = queue[0]
            if isinstance(part, memoryview):
                if sent < len(part):
                    queue[0] = part[sent:]
                    return
                sent -= len(part)
            queue.popleft()
            if isinstance(part, _EndOfFrame):
                self._frames_sent += 1

    def _send_slice(self, part: FileSlice) -> int:
        """Send one probed piece of a hot range. Raises `BlockingIOError` once the socket is full."""
        count = min(part.length, PIECE_BYTES)
        try:
            descriptor = part.file.fileno()
        except OSError:  # a file without a descriptor
            self._replace_head(part, part.file.read(count, part.position))
            return 0
        socket_descriptor = self._socket.fileno()
        sent = 0
        try:
            while sent < count:
                taken = os.sendfile(socket_descriptor, descriptor, part.position + sent, count - sent)
                if taken == 0:
                    raise OSError(f"{part.file.path} ends inside the range that is being sent")
                sent += taken
        finally:
            self.sent_bytes += sent
            if sent == part.length:
                self._queue.popleft()
            else:
                self._queue[0] = FileSlice(part.file, part.position + sent, part.length - sent)
        return sent

    async def _read_cold(self, part: FileSlice) -> None:
        try:
            data = await self._run(lambda: part.file.read(min(part.length, PIECE_BYTES), part.position))
            self._reading = None
            self._replace_head(part, data)
        except Exception as error:  # the top of a task: whatever it is, this connection cannot go on
            self._fail(error)
        else:
            self._turn()

    def _replace_head(self, part: FileSlice, data: bytes) -> None:
        """Put `data` in the place of the beginning of `part`, which is the head of the queue."""
        if not data:
            raise OSError(f"{part.file.path} ends inside the range that is being sent")
        queue = self._queue
        queue.popleft()
        if len(data) < part.length:
            queue.appendleft(FileSlice(part.file, part.position + len(data), part.length - len(data)))
        queue.appendleft(memoryview(data))

    def _watch(self, wanted: bool) -> None:
        if wanted != self._watching:
            self._watching = wanted
            if wanted:
                self._loop.add_writer(self._socket.fileno(), self._turn)
            else:
                self._loop.remove_writer(self._socket.fileno())


def _joined(parts: FrameParts) -> bytes | None:
    """A small frame in one piece; None where it is not small, or a part of it not in memory."""
    size = 0
    for part in parts:
        size += part.length if isinstance(part, FileSlice) else memoryview(part).nbytes
        if size > SMALL_FRAME_BYTES_MAX:
            return None
    pieces: list[Buffer] = [LENGTH.pack(size)]
    for part in parts:
        if not isinstance(part, FileSlice):
            pieces.append(part)
        elif part.file.is_cached(part.length, part.position):
            pieces.append(_read(part))
        else:
            return None
    return b"".join(pieces)


def _read(part: FileSlice) -> bytes:
    data = part.file.read(part.length, part.position)
    if len(data) != part.length:
        raise OSError(f"{part.file.path} ends inside the range that is being sent")
    return data
