"""From the bytes of a socket to frames.

    frame: length int32 | that many bytes

All connections of a loop share one receive buffer. What arrives is parsed where it lies and each frame is copied out,
so that its view stays valid for as long as somebody wants it; a frame that is large and not complete gets a buffer of
its own and is received into it directly.

Invariants: a length is judged before anything is allocated for it; a buffer grows with what has arrived, never with
what was announced (an announcement costs nothing to send); after `keep` nothing points into the shared buffer.
"""

import socket
from collections.abc import Callable
from struct import Struct

LENGTH = Struct(">i")
LENGTH_BYTES = 4
RECEIVE_BUFFER_BYTES = 256 * 1024
LARGE_FRAME_BYTES = 64 * 1024
"""From here on a frame counts against the server's memory and, when incomplete, has a buffer of its own."""
_GROWTH_START_BYTES = 512 * 1024

_NOTHING = memoryview(b"")


class FrameRefused(ConnectionError):
    """The announced length is negative or above the limit."""


class FrameReader:
    """The receiving half of one connection.

    `receive`, then `next_frame` until it gives None or the caller wants no more, then `keep`.
    """

    __slots__ = ("_bytes_max", "_data", "_filled", "_frame", "_frame_size", "_held", "_reserve", "_shared", "_socket")

    def __init__(
        self,
        receiving: socket.socket,
        shared: memoryview,
        bytes_max: int,
        reserve: Callable[[int, bool], bool] = lambda size, begins: True,
    ) -> None:
        """`reserve(size, begins)` is asked for memory, before a large frame begins and whenever its buffer has to grow.

        While it says no, the frame waits in `next_frame`, and nothing more may be received.
        """
        self._socket = receiving
        self._shared = shared
        self._bytes_max = bytes_max
        self._reserve = reserve
        self._held = b""  # what has arrived and is no frame yet; at most the receive buffer and a small frame
        self._data = _NOTHING  # what is being parsed: points into the shared buffer only between receive and keep
        self._frame: bytearray | None = None  # a large frame in the making
        self._frame_size = 0
        self._filled = 0  # 0 <= filled <= len(frame) <= frame_size

    @property
    def in_mid_frame(self) -> bool:
        return self._frame is not None or bool(self._held)

    @property
    def in_large_frame(self) -> bool:
        return self._frame is not None

    @property
    def reserved_bytes(self) -> int:
        """What was reserved for the frame in the making."""
        return len(self._frame) if self._frame is not None else 0

    def receive(self) -> bool:
        """Take what the socket has, once. False: the peer has ended the connection.

        Raises `BlockingIOError` where there is nothing, and other `OSError`s of a broken connection.
        """
        frame = self._frame
        if frame is not None:
            with memoryview(frame) as whole, whole[self._filled :] as room:
                received = self._socket.recv_into(room)
            self._filled += received
            return received > 0
        received = self._socket.recv_into(self._shared)
        self._data = self._shared[:received]
        if self._held:
            self._data = memoryview(self._held + self._data)
            self._held = b""
        return received > 0

    def next_frame(self) -> memoryview | None:
        """The next complete frame in a writable buffer of its own; None: more has to be received first.

        Raises `FrameRefused`.
        """
        if self._frame is not None:
            return self._next_large()
        data = self._data
        available = len(data) - LENGTH_BYTES
        if available < 0:
            return None
        (size,) = LENGTH.unpack_from(data)
        if not 0 <= size <= self._bytes_max:
            raise FrameRefused(f"a frame of {size} bytes; at most {self._bytes_max} are accepted")
        if size >= LARGE_FRAME_BYTES:
            held_bytes = size if available >= size else min(size, max(_GROWTH_START_BYTES, available))
            if not self._reserve(held_bytes, True):
                return None
            if available < size:
                self._begin_large(data, size, held_bytes)
                return None
        elif available < size:
            return None
        self._data = data[LENGTH_BYTES + size :]
        return memoryview(bytearray(data[LENGTH_BYTES : LENGTH_BYTES + size]))

    @property
    def unparsed(self) -> bytes:
        """A copy of what is there and is no frame yet, between `receive` and `keep`."""
        return bytes(self._data)

    def keep(self) -> None:
        """Let go of the shared buffer; what is left of it is kept aside until more arrives or `resume`."""
        if len(self._data):
            self._held = bytes(self._data)
        self._data = _NOTHING

    def resume(self) -> None:
        """Go on with what was kept aside, as if it had just been received."""
        if self._frame is None:
            self._data, self._held = memoryview(self._held), b""

    def drop(self) -> None:
        """Forget everything: the connection is over. Whoever still holds it, a cycle for instance, holds no memory."""
        self._frame, self._filled = None, 0
        self._data, self._held = _NOTHING, b""

    def _begin_large(self, data: memoryview, size: int, held_bytes: int) -> None:
        self._frame = frame = bytearray(held_bytes)
        self._filled = len(data) - LENGTH_BYTES
        frame[: self._filled] = data[LENGTH_BYTES:]
        self._frame_size = size
        self._data = _NOTHING

    def _next_large(self) -> memoryview | None:
        frame = self._frame
        assert frame is not None
        if self._filled < len(frame):
            return None
        if len(frame) < self._frame_size:
            more = min(self._frame_size, 2 * len(frame)) - len(frame)
            if self._reserve(more, False):
                frame += bytes(more)
            return None
        self._frame = None
        return memoryview(frame)
