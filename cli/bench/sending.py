"""The thread that sends, and what becomes of its records.

With a rate every record that is due is sent, however late, even where the time of the run is over meanwhile: those that
nobody could send while the cluster stood still are the ones that a measurement must not leave out.

Threads: `_run` is this one's own, `_told` runs on the door's, the rest on the owner's. Each field has one writer. What
is done for each record is measured with it, so it is little: a few microseconds.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, monotonic_ns
from typing import NamedTuple, Protocol

from cli.bench.door import Door, Sender, SenderSettings
from cli.bench.histogram import Histogram
from cli.bench.schedule import Schedule
from kraftpy.client.values import Headers
from kraftpy.errors import CallTimeoutError, KraftpyError

WARM_UP = -1
FLUSH_STEP_S = 0.5
SETTLE_S = 10.0  # how long fates are waited for once somebody wants to end
CLOSE_S = 2.0


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
        self._load = load
        self._schedule = load.schedule
        self._make = make
        self._listener = listener
        assert listener is None or self._schedule is not None, "without a rate records have no numbers to be told by"
        self._record_latency = self.latencies.record
        self._last_us = 0  # when the last acknowledgement came
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
        told = all(self._warm.acquire(timeout=timeout) for _ in range(partitions))
        if self.error is not None:
            raise self.error
        if not told:
            raise CallTimeoutError(f"the first records were not acknowledged within {timeout:.0f} s")

    def start(self) -> None:
        self._start_us = monotonic_ns() // 1_000
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more, and wait only so long for what is under way."""
        if self._stopped_us is None:
            self._stopped_us = self.elapsed_us
        self._stopping.set()

    def wait(self, timeout: float) -> bool:
        """Whether it is over; waits so many seconds for that. Over is also what has not ended long after `stop`."""
        self._thread.join(timeout)
        if not self._thread.is_alive():
            return True
        stopped_us = self._stopped_us
        return stopped_us is not None and self.elapsed_us - stopped_us > (SETTLE_S + FLUSH_STEP_S) * 1e6

    def close(self) -> None:
        """Give up what is left, if anything is: also a `send` that waits for room in a client that nobody empties."""
        self.stop()
        self._given_up.set()
        if self._thread.ident is None:
            self._sender.close()
        else:
            self._thread.join(CLOSE_S)

    @property
    def elapsed_us(self) -> int:
        return monotonic_ns() // 1_000 - self._start_us

    @property
    def seconds(self) -> float:
        """From the start to the last acknowledgement."""
        return self._last_us / 1e6

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
        ends_us = None if self._load.seconds is None else round(self._load.seconds * 1e6)
        make, send, schedule, is_stopping = self._make, self._sender.send, self._schedule, self._stopping.is_set
        index = 0
        while (count_max is None or index < count_max) and not is_stopping():
            now_us = monotonic_ns() // 1_000 - self._start_us
            if schedule is None:
                if ends_us is not None and now_us >= ends_us:
                    return
                tag = now_us
            else:
                tag = index
                early_us = schedule.due_us(index) - now_us
                if early_us > 0 and self._stopping.wait(early_us / 1e6):
                    return
            value, key, headers = make(index)
            send(tag, value, key, headers, None)
            index += 1
            self.sent = index

    def _settle(self) -> None:
        until: float | None = None
        while self.acknowledged + self.failed < self.sent and not self._given_up.is_set():
            if self._stopping.is_set():
                until = until or monotonic() + SETTLE_S
                if monotonic() >= until:
                    return
            self._sender.flush(FLUSH_STEP_S)

    def _told(self, tag: int, partition: int, error: KraftpyError | None) -> None:
        """`tag` is the record's number; without a schedule, when it was sent."""
        now_us = monotonic_ns() // 1_000 - self._start_us
        if tag == WARM_UP:
            self.error = self.error or error
            self._warm.release()
            return
        schedule = self._schedule
        due_us = tag if schedule is None else schedule.due_us(tag)
        listener = self._listener
        if error is None:
            self._record_latency(now_us - due_us)
            self._last_us = now_us
            if listener is not None:
                listener.acknowledged(tag, due_us, now_us, partition)
            self.acknowledged += 1
        else:
            self.error = self.error or error
            if listener is not None:
                listener.failed(tag, due_us, now_us, partition)
            self.failed += 1
