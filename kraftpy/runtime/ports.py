"""The ports: everything through which kraftpy touches the world.

A core imports none of this; a shell is handed one `Ports` and uses nothing else. Each port has a real adapter beside
this file (`clock`, `disk`, `grpc_transport`, `framed_transport`) and a simulated one in `simulation/`, so the same
shells run on sockets and on virtual time.

Waiting itself is not a port: shells use asyncio (`sleep`, `Future`, tasks), and the simulation brings its own loop.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from asyncio import Future
    from random import Random  # a type only: the codecs and pure functions that name a Buffer import no chance

Buffer = bytes | bytearray | memoryview
T = TypeVar("T")


class Address(NamedTuple):
    """Where a process listens. `port` 0 asks the system for a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Clock(Protocol):
    """Two clocks: one that never goes back, for time-outs, and the wall's, for timestamps only."""

    def monotonic_ms(self) -> int: ...

    def wall_ms(self) -> int: ...


# --- disk ------------------------------------------------------------------------------------------------------------


class File(Protocol):
    """An open file. Positions and lengths are bytes. Every failure is an `OSError`, never a signal."""

    @property
    def path(self) -> str: ...

    def size(self) -> int: ...

    def write(self, buffers: Sequence[Buffer], position: int) -> None:
        """Write all `buffers` one after the other at `position` (pwritev); complete, or an error."""

    def read(self, length: int, position: int) -> bytes:
        """Up to `length` bytes; shorter only at the end of the file."""

    def is_cached(self, length: int, position: int) -> bool:
        """Whether the range can be read without waiting for the device (true where the system cannot tell)."""

    def allocate(self, length: int) -> None:
        """Reserve blocks so that the file is at least `length` bytes and writes inside it cannot meet a full disk."""

    def truncate(self, length: int) -> None: ...

    def sync(self) -> None:
        """Make what was written durable (fdatasync). Blocks: use `Disk.sync`, or run it by `Disk.run`."""

    def map(self, length: int, *, writable: bool = False) -> "MappedRange":
        """Map the first `length` bytes, which must exist."""

    def fileno(self) -> int:
        """The descriptor, for sendfile. A simulated file has none and raises `OSError`."""

    def close(self) -> None: ...


class MappedRange(Protocol):
    """A mapped range of a file."""

    @property
    def view(self) -> memoryview: ...

    def sync(self) -> None: ...

    def close(self) -> None:
        """Unmap. Every slice taken from `view` must have been released."""


class Lock(Protocol):
    def release(self) -> None: ...


class Disk(Protocol):
    """The file system below one node. Paths are absolute strings."""

    def open(self, path: str, *, create: bool = False) -> File: ...

    def exists(self, path: str) -> bool: ...

    def list(self, path: str) -> list[str]:
        """The names in a directory, sorted."""

    def size(self, path: str) -> int: ...

    def make_directory(self, path: str) -> None:
        """With parents; no error where it exists."""

    def remove(self, path: str) -> None: ...

    def remove_tree(self, path: str) -> None: ...

    def rename(self, old: str, new: str) -> None:
        """Atomic; not durable before `sync_directory` of the parent."""

    def sync_directory(self, path: str) -> None: ...

    def sync_file_system(self, path: str) -> bool:
        """Make durable, at once, everything that was written to the file system of the locked directory `path`.

        False where that cannot be had, or could not tell of a failed write: then each file and directory has to be
        synced. Blocks: run it by `Disk.run`. Raises `OSError`.
        """

    def read_bytes(self, path: str) -> bytes: ...

    def write_atomically(self, path: str, data: bytes) -> None:
        """Temporary file, fsync, rename, fsync of the directory (KAFKA-16541): the old content or the new, durable."""

    def space(self, path: str) -> tuple[int, int]:
        """Bytes of the file system that `path` is on: (in all, usable)."""

    def lock(self, path: str) -> Lock:
        """Take the lock file at `path`, or raise `BlockingIOError` at once where another process holds it."""

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking disk work off the loop. It must not touch what the loop is using."""

    async def sync(self, files: Sequence[File]) -> None:
        """Make what was written to these durable, off the loop. They must stay open until then.

        Raises `OSError`, after which nothing may count on any of them.
        """

    def mutex(self) -> AbstractContextManager[object]:
        """For what the loop and such work must use both: whoever is in its `with` is alone there."""


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Bytes of a file that are to be sent without passing through Python."""

    file: File
    position: int
    length: int


# --- network ---------------------------------------------------------------------------------------------------------


class TransportError(Exception):
    """A call did not get an answer. Whether the peer acted on it is unknown, unless `may_have_been_sent` says no."""

    may_have_been_sent = True
    """False: nothing was sent, so that asking again, or somebody else, repeats nothing."""


class Unreachable(TransportError):
    """Nobody listens there, or the connection broke: reason to look at the peer at once, not to wait."""


class Refused(Unreachable):
    """Nobody listens there: a machine that answers says so."""

    may_have_been_sent = False


class Dropped(Unreachable):
    """The connection broke before anything was sent: the process there has just died, or has too many connections."""

    may_have_been_sent = False


class NotConnected(TransportError):
    """No connection came about, and why says nothing about the peer: silence, or a name without an address."""

    may_have_been_sent = False


class ConnectTimeout(NotConnected):
    """None was there when the deadline passed, which one that broke at that very moment would look like, too."""

    may_have_been_sent = True


class TransportTimeout(TransportError):
    """The deadline passed in silence."""


class RemoteFailure(TransportError):
    """The peer answered, but not with a response: unknown method, oversized message, a bug over there."""


class BadRequest(Exception):
    """Raised by a handler whose request cannot be read: the caller is told so (`RemoteFailure`), and nothing is wrong
    over here."""


class Stream(Protocol):
    """A call of many messages in both directions, in order."""

    async def send(self, message: bytes) -> None:
        """Hand over one message; waits for room. Raises `TransportError` once the stream is broken."""

    async def receive(self) -> bytes | None:
        """The next message; None when the peer has ended the stream. Raises `TransportError` when it broke."""

    async def end_sending(self) -> None:
        """No `send` follows: the peer learns so behind all that was sent. Raises `TransportError` where it broke."""

    def close(self) -> None:
        """Give it up, with whatever is still on its way."""


class Server(Protocol):
    @property
    def address(self) -> Address:
        """As bound: port 0 has become a number."""

    async def stop(self, grace_ms: int = 0) -> None: ...


UnaryHandler = Callable[[bytes], Awaitable[bytes]]
"""Runs in a task of its own, which ends when the answer has been handed to the connection."""
StreamHandler = Callable[[AsyncIterator[bytes], Callable[[bytes], Awaitable[None]]], Awaitable[None]]
"""Called once a stream with (requests, send); the stream ends when it returns."""


@dataclass(frozen=True, slots=True)
class Methods:
    """What a node serves by calls: full method names (`/kraftpy.pb.Quorum/Vote`) to handlers of serialized messages."""

    unary: Mapping[str, UnaryHandler]
    stream: Mapping[str, StreamHandler]
    between_nodes: frozenset[str] = frozenset()
    """Those by which nodes speak with each other: however many other calls there are, these find room."""


FrameParts = Sequence[Buffer | FileSlice]
"""One response frame in pieces, without its length prefix; empty: nothing is answered (Produce with acks=0)."""

FrameHandler = Callable[[memoryview], Awaitable[FrameParts]]
"""Called with each request frame of a connection, in order; may be pending on several at once; answers leave in
request order. The view is valid until the handler has answered. An exception closes the connection."""

OpenHandler = Callable[[Address], FrameHandler]
"""Called once a connection, with its peer; gives the handler of its frames."""


class Transport(Protocol):
    """Calls between nodes and from clients (gRPC in the real world). Channels are kept and shared by address."""

    async def call(self, address: Address, method: str, request: bytes, timeout_ms: int) -> bytes:
        """One request, one response. Raises `TransportError`."""

    async def open_stream(self, address: Address, method: str) -> Stream: ...

    async def serve(self, address: Address, methods: Methods, strangers: OpenHandler | None = None) -> Server:
        """`strangers(peer)` gives the handler of the first frame of a connection that makes no calls; what it raises is
        why the connection is closed, for the log. Where no stranger could come, it is not looked at.

        Raises `OSError` where the address cannot be bound.
        """

    async def close(self) -> None: ...


class FramedConnection(Protocol):
    async def request(self, frame: Sequence[Buffer], timeout_ms: int) -> memoryview:
        """Send one frame and wait for its answer. Requests may be pipelined. Raises `TransportError`."""

    def ask(self, frame: Sequence[Buffer], timeout_ms: int) -> "Future[memoryview]":
        """The same for whoever waits for several things at once, and would need a task: for a few requests, which find
        room. The answer fails by `TransportError`; raises that where the connection is closed already."""

    def close(self) -> None: ...


class FramedTransport(Protocol):
    """Length-prefixed frames over TCP (int32, big endian, as Kafka's protocol)."""

    async def connect(self, address: Address, timeout_ms: int) -> FramedConnection: ...

    async def serve(self, address: Address, open_handler: OpenHandler, calls: Address | None = None) -> Server:
        """`calls`: where this node takes calls, to which whoever speaks HTTP/2 is passed on; where nobody could, it is
        not looked at."""


@dataclass(frozen=True, slots=True)
class Ports:
    """All that one node needs of the world."""

    clock: Clock
    random: "Random"
    disk: Disk
    transport: Transport
    framed: FramedTransport
