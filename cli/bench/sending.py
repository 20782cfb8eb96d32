"""The thread that sends, and what becomes of its records.

With a rate every record that is due is sent, however late, even where the time of the run is over meanwhile: those that
nobody could send while the cluster stood still are the ones that a measurement must not leave out.

Threads: `_run` is this one's own, `_told` runs on the door's, the rest on the owner's. Each field has one writer.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from cli.bench.door import Door, Sender, SenderSettings
from cli.bench.histogram import Histogram
from cli.bench.schedule import Schedule
from kraftpy.client.values import Headers
from kraftpy.errors import KraftpyError

WARM_UP = -1
FLUSH_STEP_S = 0.5
SETTLE_S = 10.0  # how long fates are waited for once somebody wants to end


class Outgoing(NamedTuple):
    """A record to be sent."""

    value: bytes
    key: bytes | None = None
    headers: Headers | None = None


class Listener(Protocol):
    """Hears of each record, on the door's thread. Times are microseconds since the start."""

    def acknowledged(self, index: int, due_us: int, now_us: int, partition: int) -> None: ...

    def failed(self, index: int, due_us: int, now_us: int, partition: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Load:
    """How much is sent, and how fast. Of `records` and `seconds` one is given, or both; whichever is met ends it."""

    records: int | None
    seconds: float | None
    rate: float  # records a second; 0: as fast as they are taken

    @property
    def schedule(self) -> Schedule | None:
        return Schedule(self.rate) if self.rate else None

    @property
    def count_max(self) -> int | None:
        """How many records there will be; None where the time alone says when to end."""
        schedule = self.schedule
        if schedule is None or self.seconds is None:
            return self.records
        due = schedule.count_in(self.seconds)
        return due if self.records is None else min(due, self.records)


class Sending:
    """`start`, then `wait` until it is over. Counts are of records."""

    def __init__(
        self,
        door: Door,
        topic: str,
        settings: SenderSettings,
        load: Load,
        make: Callable[[int], Outgoing],
        listener: Listener | None = None,
    ) -> None:
        self.latencies = Histogram()  # microseconds from when a record was due until it was acknowledged
        self.sent = 0
        self.acknowledged = 0
        self.failed = 0
        self.error: KraftpyError | None = None  # the first that a record met
        self.seconds = 0.0  # from the start to the last acknowledgement
        self._load = load
        self._schedule = load.schedule
        self._make = make
        self._listener = listener
        self._due_us: dict[int, int] = {}  # of the records under way, where there is no schedule
        self._warm = threading.Semaphore(0)
        self._stopping = threading.Event()
        self._given_up = threading.Event()
        self._stopped_us: int | None = None
        self._broken_by: Exception | None = None
        self._start_us = 0
        self._sender: Sender = door.sender(topic, settings, self._told)
        self._thread = threading.Thread(target=self._run, name="bench-sender", daemon=True)

    def warm_up(self, partitions: int, outgoing: Outgoing, timeout: float) -> None:
        """Send one record to each partition and wait: connections and metadata are then there. Raises its error."""
        for partition in range(partitions):
            self._sender.send(WARM_UP, outgoing.value, outgoing.key, outgoing.headers, partition)
        self._sender.flush(timeout)
        for _ in range(partitions):
            if not self._warm.acquire(timeout=timeout):
                break
        if self.error is not None:
            raise self.error

    def start(self) -> None:
        self._start_us = _now_us()
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more, and wait only so long for what is under way."""
        if not self._stopping.is_set():
            self._stopped_us = self.elapsed_us
            self._stopping.set()

    def wait(self, timeout: float) -> bool:
        """Whether it is over; waits so many seconds for that."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Give up what is left, if anything is."""
        self.stop()
        self._given_up.set()
        if self._thread.ident is None:
            self._sender.close()
        else:
            self._thread.join()

    @property
    def start_us(self) -> int:
        """The start, by this process's monotonic clock."""
        return self._start_us

    @property
    def elapsed_us(self) -> int:
        return _now_us() - self._start_us

    @property
    def broken_by(self) -> Exception | None:
        """What made sending impossible, or else the first error of a record."""
        return self._broken_by or self.error

    @property
    def unsent(self) -> int:
        """Records that were due when somebody ended it, or when sending became impossible, and had not been sent."""
        if self._schedule is None or self._stopped_us is None:
            return 0
        due = self._schedule.due_by(self._stopped_us)
        count_max = self._load.count_max
        return max((due if count_max is None else min(due, count_max)) - self.sent, 0)

    def due_us(self, index: int) -> int | None:
        """When a record is due, where there is a schedule."""
        return None if self._schedule is None else self._schedule.due_us(index)

    def _run(self) -> None:
        try:
            self._send_all()
        except Exception as error:  # the top of this thread; whoever waits tells it
            self._stopped_us = self.elapsed_us
            self._broken_by = error
        try:
            self._settle()
        finally:
            self._sender.close()

    def _send_all(self) -> None:
        count_max = self._load.count_max
        while not self._stopping.is_set() and (count_max is None or self.sent < count_max):
            index = self.sent
            if self._schedule is None:
                due_us = self.elapsed_us
                if self._load.seconds is not None and due_us >= self._load.seconds * 1e6:
                    return
                self._due_us[index] = due_us
            else:
                early_us = self._schedule.due_us(index) - self.elapsed_us
                if early_us > 0 and self._stopping.wait(early_us / 1e6):
                    return
            value, key, headers = self._make(index)
            self._sender.send(index, value, key, headers, None)
            self.sent = index + 1

    def _settle(self) -> None:
        until: float | None = None
        while self.acknowledged + self.failed < self.sent and not self._given_up.is_set():
            if self._stopping.is_set():
                until = until or time.monotonic() + SETTLE_S
                if time.monotonic() >= until:
                    return
            self._sender.flush(FLUSH_STEP_S)

    def _told(self, index: int, partition: int, error: KraftpyError | None) -> None:
        if index == WARM_UP:
            self.error = self.error or error
            self._warm.release()
            return
        now_us = self.elapsed_us
        due_us = self._due_us.pop(index) if self._schedule is None else self._schedule.due_us(index)
        if error is None:
            self.latencies.record(now_us - due_us)
            self.seconds = now_us / 1e6
            if self._listener is not None:
                self._listener.acknowledged(index, due_us, now_us, partition)
            self.acknowledged += 1
        else:
            self.error = self.error or error
            if self._listener is not None:
                self._listener.failed(index, due_us, now_us, partition)
            self.failed += 1


def _now_us() -> int:
    return time.monotonic_ns() // 1_000
