"""The thread that reads what a run sends, and how long each record was on its way.

Threads: `_run` is this one's own, `acknowledged` and `failed` run on the door's, the rest on the owner's.
"""

import threading
import time

from cli.bench.door import Reader
from cli.bench.histogram import Histogram
from cli.bench.payload import stamp_in
from cli.bench.sending import WARM_UP, Sending

POLL_S = 0.1
SILENCE_S = 10.0  # how long records that were acknowledged are waited for after the last one came


class Receiving:
    """`start` before the sending starts; `finish` after it is over."""

    def __init__(self, reader: Reader, run_id: int) -> None:
        self.latencies = Histogram()  # microseconds from when a record was due until it was handed to the reader
        self.received = 0  # records, each once
        self.duplicated = 0
        self.error: Exception | None = None
        self._reader = reader
        self._run_id = run_id
        self._sending: Sending | None = None
        self._warm = threading.Semaphore(0)
        self._is_acknowledged = bytearray()
        self._is_received = bytearray()
        self._finishing = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bench-reader", daemon=True)

    def start(self, sending: Sending) -> None:
        """`sending` knows when each record was due."""
        self._sending = sending
        self._thread.start()

    def warmed_up(self, records: int, timeout: float) -> bool:
        """Whether so many of the records that only warm up come, each within `timeout` seconds."""
        return all(self._warm.acquire(timeout=timeout) for _ in range(records))

    def finish(self) -> int:
        """Read until everything acknowledged is there, or nothing comes any more. How many are missing.

        Raises what kept the reader from reading.
        """
        self._finishing.set()
        self._thread.join()
        if self.error is not None:
            raise self.error
        return self.missing()

    def close(self) -> None:
        """Read no more."""
        self._given_up.set()
        if self._sending is None:
            self._reader.close()
        else:
            self._thread.join()

    def missing(self) -> int:
        """Records that were acknowledged and have not been read."""
        received = self._is_received.ljust(len(self._is_acknowledged), b"\0")
        return sum([acked and not there for acked, there in zip(self._is_acknowledged, received, strict=False)])

    def acknowledged(self, index: int, due_us: int, now_us: int, partition: int) -> None:
        _mark(self._is_acknowledged, index)

    def failed(self, index: int, due_us: int, now_us: int, partition: int) -> None:
        """It may be there or not."""

    def _run(self) -> None:
        try:
            self._read()
        except Exception as error:  # the top of this thread; the owner tells it
            self.error = error
        finally:
            self._reader.close()

    def _read(self) -> None:
        sending = self._sending
        assert sending is not None
        heard = time.monotonic()
        while not self._given_up.is_set():
            records = self._reader.poll(POLL_S)
            now_us = sending.elapsed_us
            for record in self._reader.seen(records):
                self._note(sending, record.value, now_us)
            if records or not self._finishing.is_set():
                heard = time.monotonic()
            elif time.monotonic() - heard >= SILENCE_S or not self.missing():
                return

    def _note(self, sending: Sending, value: bytes | None, now_us: int) -> None:
        stamp = stamp_in(value)
        if stamp is None or stamp.run_id != self._run_id:
            return  # somebody else's
        if stamp.number == WARM_UP:
            self._warm.release()
            return
        if _mark(self._is_received, stamp.number):
            self.duplicated += 1
            return
        due_us = sending.due_us(stamp.number)
        assert due_us is not None, "end to end is measured at a rate"
        self.latencies.record(now_us - due_us)
        self.received += 1


def _mark(flags: bytearray, index: int) -> bool:
    """Set a record's flag; whether it was set before."""
    if index >= len(flags):
        flags.extend(bytes(index + 1 - len(flags)))
    was_set = bool(flags[index])
    flags[index] = 1
    return was_set
