"""The smallest coordinator there can be: named counters; and a log in memory that commits when it is told to."""

from collections.abc import Callable
from dataclasses import dataclass

from broker.coordinator.core import Answer, Moment, Producer, Result, Ticket
from kraftpy.errors import InvalidRequestError, KraftpyError, NotLeaderOrFollowerError
from kraftpy.record import BatchBuilder, patch, read_header


@dataclass(frozen=True)
class Add:
    name: str
    amount: int = 1
    effect: str = ""
    crash: bool = False


@dataclass(frozen=True)
class WaitFor:
    """Answered once the counter is that high."""

    name: str
    at_least: int


@dataclass(frozen=True)
class Counted:
    name: str
    value: int


class Counters:
    """A core. Time: every second `ticks` goes up by one."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.pending: dict[int, list[Counted]] = {}
        self.refusals: list[KraftpyError] = []
        self.waiting: list[tuple[int, Ticket, str]] = []
        self.ticks = 0
        self.next_tick_ms: int | None = None

    def replay(self, record: Counted, producer: Producer | None) -> None:
        if producer is not None:
            self.pending.setdefault(producer.producer_id, []).append(record)
        else:
            self.values[record.name] = record.value

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        for record in self.pending.pop(producer_id, []):
            if committed:
                self.values[record.name] = record.value

    def loaded(self, now: Moment) -> Result[Counted]:
        self.next_tick_ms = now.monotonic_ms + 1_000
        return Result()

    def handle(self, ticket: Ticket, command: Add | WaitFor, now: Moment) -> Result[Counted]:
        if isinstance(command, WaitFor):
            self.waiting.append((command.at_least, ticket, command.name))
            return Result()
        assert not command.crash, "told to crash"
        if command.amount < 0:
            raise InvalidRequestError("counters only grow")
        value = self.values.get(command.name, 0) + command.amount
        if command.amount == 0:
            return Result(answers=(Answer(ticket, value),))
        ready = [each for each in self.waiting if each[2] == command.name and each[0] <= value]
        self.waiting = [each for each in self.waiting if each not in ready]
        answers = [Answer(ticket, value)] + [Answer(waiter, value) for _, waiter, _ in ready]
        effects = (command.effect,) if command.effect else ()
        return Result((Counted(command.name, value),), tuple(answers), effects)

    def refused(self, result: Result[Counted], error: KraftpyError, now: Moment) -> Result[Counted]:
        self.refusals.append(error)
        return Result(answers=tuple(Answer(answer.ticket, error) for answer in result.answers))

    def next_deadline_ms(self) -> int | None:
        return self.next_tick_ms

    def tick(self, now: Moment) -> Result[Counted]:
        self.ticks += 1
        self.next_tick_ms = now.monotonic_ms + 1_000
        return Result()


class CountedCodec:
    def encode(self, record: Counted) -> tuple[bytes, bytes | None]:
        return record.name.encode(), b"%d" % record.value

    def decode(self, key: bytes, value: bytes | None) -> Counted | None:
        return None if value is None else Counted(key.decode(), int(value))


class MemoryLog:
    """A log whose appends are committed by `commit`, or at once where `commits_at_once`."""

    name = "counters-0"
    start_offset = 0

    def __init__(self, commits_at_once: bool = True) -> None:
        self.batches: list[bytes] = []
        self.end_offset = 0
        self.committed = 0
        self.commits_at_once = commits_at_once
        self.refusal: KraftpyError | None = None
        self.leads = True
        self.reads = 0
        self.suspected: list[int] = []
        self._waiting: list[tuple[int, Callable[[KraftpyError | None], None]]] = []

    async def read(self, offset: int, bytes_max: int) -> bytes:
        self._check()
        self.reads += 1
        for batch in self.batches:
            if read_header(batch).end_offset > offset:
                return batch
        return b""

    def suspect(self, offset: int) -> None:
        self.suspected.append(offset)

    def append(self, batch: bytearray, *, bumps_epoch: bool = False) -> int:
        self._check()
        self.bumps_epoch = bumps_epoch
        if self.refusal is not None:
            raise self.refusal
        patch(batch, 0, self.end_offset, 1)
        self.batches.append(bytes(batch))
        self.end_offset = read_header(batch).end_offset
        if self.commits_at_once:
            self.committed = self.end_offset
        return self.end_offset

    def call_committed(self, end_offset: int, call: Callable[[KraftpyError | None], None]) -> Callable[[], None]:
        if end_offset <= self.committed:
            call(None)
        else:
            self._waiting.append((end_offset, call))
        return lambda: self._forget(call)

    def _forget(self, call: Callable[[KraftpyError | None], None]) -> None:
        self._waiting = [each for each in self._waiting if each[1] is not call]

    def commit(self, end_offset: int | None = None, error: KraftpyError | None = None) -> None:
        self.committed = self.end_offset if end_offset is None else end_offset
        ready = [call for offset, call in self._waiting if offset <= self.committed]
        self._waiting = [each for each in self._waiting if each[0] > self.committed]
        for call in ready:
            call(error)

    def _check(self) -> None:
        if not self.leads:
            raise NotLeaderOrFollowerError("another leads")


def batch(*records: Counted, producer_id: int = -1) -> bytearray:
    builder = BatchBuilder()
    for record in records:
        builder.append(0, record.name.encode(), b"%d" % record.value)
    return builder.build(producer_id=producer_id, producer_epoch=0, transactional=producer_id >= 0)
