"""A connection between two simulated hosts: two pipes of messages, in order, that break together.

`Pipe.arrived` grows by one for each arrival event whichever message that event was scheduled for, so order needs no
bookkeeping. An end that has learned of the break raises it from everything once what had arrived before is read.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from kraftpy.runtime.ports import TransportError, Unreachable
from simulation.network import HostState, Network

WINDOW_MESSAGES = 64  # on the way or unread, before a writer waits

END = None  # the message that ends a direction


class Pipe:
    """One direction. The writer and the reader each see the break in their own time."""

    def __init__(self, network: Network, source: str, target: str) -> None:
        self.source = source
        self.target = target
        self.on_arrival: Callable[[], None] | None = None  # called in the world's lane after each arrival
        self._network = network
        self._on_the_way: deque[bytes | Callable[[], None] | None] = deque()
        self._arrived: deque[bytes | None] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._writers: deque[asyncio.Future[None]] = deque()
        self._writer_error: TransportError | None = None
        self._reader_error: TransportError | None = None

    def push(self, message: bytes | None) -> None:
        """Send without waiting for room. Raises once broken at this end."""
        if self._writer_error is not None:
            raise self._writer_error
        self._on_the_way.append(message)
        self._network.send(self.source, self.target, len(message or b""), self._arrive)

    def close(self, learn: Callable[[], None]) -> None:
        """Let `learn` happen over there behind everything that was sent: as TCP's FIN, it overtakes nothing."""
        self._on_the_way.append(learn)
        self._network.send(self.source, self.target, 0, self._arrive)

    async def send(self, message: bytes | None) -> None:
        while self._writer_error is None and len(self._on_the_way) + len(self._arrived) >= WINDOW_MESSAGES:
            room = asyncio.get_running_loop().create_future()
            self._writers.append(room)
            await room
        self.push(message)

    async def receive(self) -> bytes | None:
        """The next message, or None at the end. One reader at a time."""
        while not self._arrived:
            if self._reader_error is not None:
                raise self._reader_error
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self.take()

    @property
    def has_arrived(self) -> bool:
        """Whether there is something to `take`."""
        return bool(self._arrived)

    def take(self) -> bytes | None:
        message = self._arrived.popleft()
        if message is END:
            self._arrived.append(END)  # the end stays the end
        self._wake_writers()
        return message

    def break_writer(self, error: TransportError) -> None:
        self._writer_error = self._writer_error or error
        self._wake_writers()

    def break_reader(self, error: TransportError) -> None:
        self._reader_error = self._reader_error or error
        self._wake_reader()

    def _arrive(self) -> None:
        if self._on_the_way and self._reader_error is None:
            message = self._on_the_way.popleft()
            if callable(message):
                message()
                return
            self._arrived.append(message)
            self._wake_reader()
            if self.on_arrival is not None:
                self.on_arrival()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _wake_writers(self) -> None:
        while self._writers:
            writer = self._writers.popleft()
            if not writer.done():
                writer.set_result(None)


class End:
    """One end of a connection: what it reads, what it writes, and who wants to know that it broke."""

    def __init__(self, host: str, incoming: Pipe, outgoing: Pipe) -> None:
        self.host = host
        self.incoming = incoming
        self.outgoing = outgoing
        self.error: TransportError | None = None
        self.on_break: Callable[[TransportError], None] | None = None

    def fail(self, error: TransportError) -> None:
        if self.error is None:
            self.error = error
            self.incoming.break_reader(error)
            self.outgoing.break_writer(error)
            if self.on_break is not None:
                self.on_break(error)


class Connection:
    """Both ends, and how news of a break travels between them.

    `asks_process`: its keep-alive is answered by the process, as gRPC's is, and not by the kernel, as TCP's.
    """

    def __init__(self, network: Network, client: str, server: str, asks_process: bool) -> None:
        there = Pipe(network, client, server)
        back = Pipe(network, server, client)
        self.client = End(client, back, there)
        self.server = End(server, there, back)
        self._network = network
        self._asks_process = asks_process
        self._number = network.number()
        network.host(client).endings[self._number] = lambda dark: self._host_died(self.client, dark)
        network.host(server).endings[-self._number] = lambda dark: self._host_died(self.server, dark)
        self._watch()

    def close(self, end: End, reason: str) -> None:
        """One end lets go: it is over here at once, and over there when all that was sent and the news have arrived."""
        if end.error is not None:
            return
        other = self.server if end is self.client else self.client
        end.fail(Unreachable(reason))
        self._forget(end)
        if other.error is None:
            end.outgoing.close(lambda: self._learn(other, reason))

    def refuse(self, error: TransportError) -> None:
        """It never came about."""
        for end in (self.client, self.server):
            end.fail(error)
            self._forget(end)

    def maybe_reset(self) -> bool:
        """By chance, break now."""
        network = self._network
        if not network.chance(network.config.reset_rate):
            return False
        network.count("reset")
        self._break_both("connection reset")
        return True

    def _learn(self, end: End, reason: str) -> None:
        end.fail(Unreachable(reason))
        self._forget(end)

    def _host_died(self, end: End, dark: bool) -> None:
        other = self.server if end is self.client else self.client
        end.fail(Unreachable("this host died"))
        if other.error is not None:
            return
        reason = f"{end.host}: connection reset by peer"
        if dark:
            self._network.loop.call_after_us(
                self._network.config.keepalive_ms * 1000,
                lambda: self._learn(other, f"{end.host}: keep-alive timed out"),
            )
        else:
            self._network.send(end.host, other.host, 0, lambda: self._learn(other, reason))

    def _watch(self) -> None:
        """Look now and then whether the ends can still reach each other: what a keep-alive does."""
        interval_us = max(1, self._network.config.keepalive_ms) * 500
        self._network.loop.call_after_us(interval_us, self._probe, interval_us, 0)

    def _probe(self, interval_us: int, missed: int) -> None:
        if self.client.error is not None and self.server.error is not None:
            return
        cut = self._network.is_cut(self.client.host, self.server.host)
        if self._asks_process:
            cut = cut or any(self._network.is_paused(end.host) for end in (self.client, self.server))
        missed = missed + 1 if cut else 0
        if missed >= 2:
            self._break_both("keep-alive timed out")
            return
        self._network.loop.call_after_us(interval_us, self._probe, interval_us, missed)

    def _break_both(self, reason: str) -> None:
        for end in (self.client, self.server):
            self._learn(end, f"{self.client.host} to {self.server.host}: {reason}")

    def _forget(self, end: End) -> None:
        number = self._number if end is self.client else -self._number
        self._network.host(end.host).endings.pop(number, None)


async def connect(
    network: Network,
    source: str,
    target: str,
    accept: Callable[[Connection], TransportError | None],
    *,
    asks_process: bool,
) -> Connection:
    """Open a connection: one round trip. `accept` runs on arrival and gives a reason to refuse, or None.

    Raises `Unreachable` where it is refused; waits for ever where nobody answers (the caller's time-out is its own).
    """
    answer: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
    lane = network.host(source).lane

    def arrive() -> None:
        host = network.host(target)
        if host.state is HostState.DARK or network.host(source).lane is not lane:
            return
        connection = Connection(network, source, target, asks_process)
        refusal = Unreachable(f"{target}: connection refused") if host.state is HostState.DOWN else accept(connection)
        if refusal is not None:
            connection.refuse(refusal)
        network.send(target, source, 0, lambda: _answer(answer, connection))

    network.send(source, target, 0, arrive)
    try:
        return await answer
    except asyncio.CancelledError:
        if answer.done() and not answer.cancelled() and answer.exception() is None:
            answer.result().close(answer.result().client, "closed by the client")
        raise


def _answer(answer: "asyncio.Future[Connection]", connection: Connection) -> None:
    if answer.done():
        connection.close(connection.client, "nobody waits for this connection")
    elif connection.client.error is not None:
        answer.set_exception(connection.client.error)
    else:
        answer.set_result(connection)
