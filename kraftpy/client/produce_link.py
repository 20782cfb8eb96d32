"""One broker's Produce stream: requests out in order, answers in as they come.

A link is idle until it is first used, then open; when the stream breaks, everything unanswered is handed back once and
the link rests for its back-off. It holds at most one request that is not on the stream yet, so that batches keep
gathering while a broker is slow to take them.

    IDLE ──send──► OPEN ──stream broke, silent too long──► RESTING ──back-off over──► IDLE
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from kraftpy.client.batch import Batch
from kraftpy.client.cluster_view import Leader
from kraftpy.client.wire import CLIENT, ClientPorts, as_kraftpy_error, backoff_ms, decode
from kraftpy.errors import KraftpyError, NetworkError
from kraftpy.pb import client_pb2
from kraftpy.runtime.ports import Address, Stream, TransportError


@dataclass(slots=True)
class Shipment:
    """One request and the batches in it, each with the leader it was meant for."""

    correlation_id: int
    payload: bytes
    batches: list[tuple[Batch, Leader]]
    answered: bool  # whether an answer comes (acks other than 0)
    sent_ms: int


@dataclass(frozen=True, slots=True)
class LinkEvents:
    """Whom a link tells. All run on the loop."""

    answered: Callable[["ProduceLink", Shipment, client_pb2.ProduceResponse], None]
    sent: Callable[["ProduceLink", Shipment], None]
    broken: Callable[["ProduceLink", list[Shipment], KraftpyError], None]


class ProduceLink:
    """The stream to one broker at one address."""

    def __init__(
        self,
        address: Address,
        ports: ClientPorts,
        events: LinkEvents,
        *,
        max_in_flight: int,
        reconnect_backoff_ms: int,
        reconnect_backoff_max_ms: int,
    ) -> None:
        self.address = address
        self.heard_ms = 0  # when the last answer came
        self.rests_until_ms = 0
        self._ports = ports
        self._events = events
        self._max_in_flight = max_in_flight
        self._backoff_first_ms = reconnect_backoff_ms
        self._backoff_longest_ms = reconnect_backoff_max_ms
        self._failures = 0
        self._unanswered: dict[int, Shipment] = {}
        self._outbox: Shipment | None = None
        self._more = asyncio.Event()
        self._is_finishing = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def unanswered(self) -> list[Shipment]:
        """What waits for answers, oldest first."""
        return list(self._unanswered.values())

    def is_ready(self, now_ms: int) -> bool:
        """Whether `send` may be called."""
        return self._outbox is None and len(self._unanswered) < self._max_in_flight and now_ms >= self.rests_until_ms

    def silent_since_ms(self) -> int | None:
        """Since when an answer is overdue; None where none is awaited."""
        if not self._unanswered:
            return None
        return max(next(iter(self._unanswered.values())).sent_ms, self.heard_ms)

    def send(self, shipment: Shipment) -> None:
        """Hand over one request; `is_ready` must have said so."""
        assert self._outbox is None
        self._outbox = shipment
        self._unanswered[shipment.correlation_id] = shipment
        self._more.set()
        if not self._tasks:
            self._tasks.append(asyncio.get_running_loop().create_task(self._write()))

    def break_off(self, error: KraftpyError) -> None:
        """Give the stream up: everything unanswered is handed back."""
        tasks, self._tasks = self._tasks, []
        current = asyncio.current_task()
        for task in tasks:
            if task is not current:
                task.cancel()
        self._failures += 1
        pause_ms = backoff_ms(self._failures, self._backoff_first_ms, self._backoff_longest_ms)
        self.rests_until_ms = self._ports.clock.monotonic_ms() + round(self._ports.jittered(pause_ms))
        lost = self.unanswered
        self._unanswered.clear()
        self._outbox = None
        self._more.clear()
        self._events.broken(self, lost, error)

    async def finish(self) -> None:
        """Nothing is sent any more. What was sent without an answer (acks=0) has arrived when the broker, which reads
        in order, ends the stream as well; or it never will, where the stream has broken."""
        tasks = list(self._tasks)
        if tasks:
            self._is_finishing = True
            self._more.set()
            await asyncio.wait(tasks)

    def end(self) -> "list[asyncio.Task[None]]":
        """The producer is closed; the tasks that are ending."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        return tasks

    async def _write(self) -> None:
        stream: Stream | None = None
        try:
            stream = await self._ports.open_stream(self.address, CLIENT + "Produce")
            self._tasks.append(asyncio.get_running_loop().create_task(self._read(stream)))
            while True:
                await self._more.wait()
                self._more.clear()
                shipment = self._outbox
                if shipment is not None:
                    await stream.send(shipment.payload)
                    self._sent(shipment)
                elif self._is_finishing:
                    await stream.end_sending()
        except TransportError as error:
            self._broke(error)
        finally:
            if stream is not None:
                stream.close()

    async def _read(self, stream: Stream) -> None:
        try:
            while (data := await stream.receive()) is not None:
                self._heard(decode(client_pb2.ProduceResponse, data))
        except TransportError as error:
            self._broke(error)
        else:
            self._broke(NetworkError(f"{self.address} ended the stream"))

    def _sent(self, shipment: Shipment) -> None:
        shipment.payload = b""
        self._outbox = None
        if not shipment.answered:
            self._unanswered.pop(shipment.correlation_id, None)
            self._failures = 0
        self._events.sent(self, shipment)

    def _heard(self, answer: client_pb2.ProduceResponse) -> None:
        self._failures = 0
        self.heard_ms = self._ports.clock.monotonic_ms()
        shipment = self._unanswered.pop(answer.correlation_id, None)
        if shipment is not None:
            self._events.answered(self, shipment, answer)

    def _broke(self, error: TransportError | KraftpyError) -> None:
        current = asyncio.current_task()
        if any(task is current for task in self._tasks):  # else another task of this stream was first
            self.break_off(error if isinstance(error, KraftpyError) else as_kraftpy_error(error))
