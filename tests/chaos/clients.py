"""Producers and consumers that write down what they did and saw, for the log checker of the simulation.

    with Clients(cluster.bootstrap, "chaos", partitions=6) as clients:
        clients.wait_acknowledged(500)
        …
        report = clients.finish()

Every producer is what the SDK gives by default (idempotent, acks=all), with a bounded number of records on their way.
Consumers read all partitions from the first offset on, each at its own pace.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from kraftpy import Consumer, Producer
from kraftpy.client.values import RecordMetadata
from kraftpy.errors import KraftpyError
from simulation.checkers.history import End, Event, Outcome, Poll, Send
from simulation.checkers.log_checker import LogReport, check_log
from tests.cluster.load import LoadError

PRODUCERS, CONSUMERS = 3, 2
IN_FLIGHT_MAX = 30  # of one producer
WAIT_S = 90.0
PADDING = b"." * 200
_NUMBERS = 1 << 40  # a value is producer * this + number


class Clients:
    """See the module's docstring. Belongs to one thread; its own end with the `with`."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._partitions = [(topic, partition) for partition in range(partitions)]
        self._changed = threading.Condition()
        self._running = self._producing = True
        self._events: list[Event] = []
        self._error: BaseException | None = None
        self._longest_wait_s = 0.0
        self._waiting: dict[int, None] = {}  # values without an answer
        self.sent = self.acknowledged = self.given_up = 0
        self._read = [0] * CONSUMERS
        self._rooms = [threading.Semaphore(IN_FLIGHT_MAX) for _ in range(PRODUCERS)]
        self._producers = [Producer(bootstrap) for _ in range(PRODUCERS)]
        self._consumers = [Consumer(bootstrap=bootstrap, auto_offset_reset="earliest") for _ in range(CONSUMERS)]
        self._writing = [threading.Thread(target=self._guard, args=(self._produce, n)) for n in range(PRODUCERS)]
        self._reading = [threading.Thread(target=self._guard, args=(self._consume, n)) for n in range(CONSUMERS)]

    def __enter__(self) -> Self:
        for thread in (*self._writing, *self._reading):
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running = False
        self._stop_producing()
        for thread in self._reading:
            thread.join()
        for producer in self._producers:
            producer.close(0)
        for consumer in self._consumers:
            consumer.close(1)

    def wait_acknowledged(self, more: int, timeout: float = WAIT_S) -> None:
        """Wait until this many more records have been acknowledged, and read by every consumer, than have been now."""
        with self._changed:
            acknowledged, read = self.acknowledged + more, [count + more for count in self._read]
        self._wait(lambda: self.acknowledged >= acknowledged, timeout, f"{more} more records are acknowledged")
        self._wait(
            lambda: all(now >= then for now, then in zip(self._read, read, strict=True)),
            timeout,
            f"{more} more records are read by everybody",
        )

    def wait_answered(self, timeout: float = WAIT_S) -> None:
        """Wait until every record that has been sent so far is answered."""
        with self._changed:
            waiting = [*self._waiting]
        self._wait(lambda: not any(value in self._waiting for value in waiting), timeout, "what was sent is answered")

    def hold(self, seconds: float) -> None:
        """Let so much time pass. Raises what stopped a client meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None, seconds)
        self.check()

    def take_longest_wait_s(self) -> float:
        """The longest that a record waited for its acknowledgement since the last call."""
        with self._changed:
            longest, self._longest_wait_s = self._longest_wait_s, 0.0
        return longest

    def check(self) -> None:
        """Raise what stopped a client."""
        if self._error is not None:
            raise LoadError(f"a client has stopped: {type(self._error).__name__}: {self._error}") from self._error

    def finish(self) -> LogReport:
        """Stop sending, wait for every answer, read everything once more from the beginning, and judge."""
        self._stop_producing()
        for producer in self._producers:
            producer.flush(WAIT_S)
        self._wait(lambda: self.acknowledged + self.given_up == self.sent, WAIT_S, "every record is answered")
        with Consumer(bootstrap=self._bootstrap, auto_offset_reset="earliest") as last:
            ends = {place.partition: end for place, end in last.end_offsets(self._partitions, WAIT_S).items()}
            self._read_all(last, dict(ends))
        for partition, end in ends.items():
            self._events.append(End(self._name(partition), 0, end, "last"))
        return check_log(self._events)

    def _read_all(self, consumer: Consumer, ends: dict[int, int]) -> None:
        consumer.assign(self._partitions)
        positions = dict.fromkeys(ends, 0)
        deadline_s = time.monotonic() + WAIT_S
        while any(positions[partition] < end for partition, end in ends.items()):
            if time.monotonic() > deadline_s:
                raise LoadError(f"waited {WAIT_S:g} s to read up to {ends}, came to {positions}")
            self._poll(consumer, "last", positions)

    def _poll(self, consumer: Consumer, process: str, positions: dict[int, int]) -> int:
        """One poll, noted; how many records it brought."""
        invoked_us = _now_us()
        records = consumer.poll(0.5)
        for record in records:
            positions[record.partition] = record.offset + 1
        seen = tuple((self._name(record.partition), record.offset, _number_in(record.value)) for record in records)
        self._events.append(Poll(process, 1, invoked_us, _now_us(), seen))
        return len(records)

    def _stop_producing(self) -> None:
        self._producing = False
        for room in self._rooms:
            room.release()
        for thread in self._writing:
            if thread.is_alive():
                thread.join()

    def _wait(self, happened: Callable[[], bool], timeout: float, what: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or happened(), timeout)
            self.check()
            if not happened():
                raise LoadError(
                    f"waited {timeout:g} s until {what}; sent {self.sent}, acknowledged {self.acknowledged}, "
                    f"given up {self.given_up}, read {self._read}"
                )

    def _guard(self, work: Callable[[int], None], index: int) -> None:
        try:
            work(index)
        except BaseException as error:  # the top of a thread: told to whoever waits
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _produce(self, index: int) -> None:
        number = 0
        while True:
            self._rooms[index].acquire()
            if not self._producing:
                return
            partition = number % len(self._partitions)
            value = index * _NUMBERS + number
            with self._changed:
                self.sent += 1
                self._waiting[value] = None
            self._producers[index].send(
                self._topic,
                b"%d" % value + PADDING,
                partition=partition,
                on_delivery=self._answered(index, partition, value, number),
            )
            number += 1

    def _answered(
        self, index: int, partition: int, value: int, number: int
    ) -> Callable[[RecordMetadata | None, KraftpyError | None], None]:
        invoked_us = _now_us()

        def answered(metadata: RecordMetadata | None, _error: KraftpyError | None) -> None:
            self._rooms[index].release()
            now_us = _now_us()
            known = metadata is not None
            offset = metadata.offset if metadata is not None and metadata.offset >= 0 else None
            outcome = Outcome.OK if known else Outcome.UNKNOWN
            completed_us = now_us if known else None
            process = f"producer-{index}"
            with self._changed:
                del self._waiting[value]
                self._events.append(
                    Send(process, self._name(partition), value, number, invoked_us, completed_us, outcome, offset)
                )
                self._longest_wait_s = max(self._longest_wait_s, (now_us - invoked_us) / 1e6)
                self.acknowledged += known
                self.given_up += not known
                self._changed.notify_all()

        return answered

    def _consume(self, index: int) -> None:
        consumer = self._consumers[index]
        consumer.assign(self._partitions)
        positions: dict[int, int] = {}
        while self._running:
            count = self._poll(consumer, f"consumer-{index}", positions)
            with self._changed:
                self._read[index] += count
                self._changed.notify_all()

    def _name(self, partition: int) -> str:
        return f"{self._topic}-{partition}"


def _number_in(value: bytes | None) -> int:
    return int((value or b"").split(b".", 1)[0])


def _now_us() -> int:
    return time.monotonic_ns() // 1_000
