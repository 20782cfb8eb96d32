"""A producer and a consumer that run while a cluster is hurt, each on a thread, with one ledger for both.

    with Load(cluster.bootstrap, "lines", partitions=6) as load:
        load.wait_acknowledged(500)
        …
        findings = load.finish()

The producer is what the SDK gives by default (idempotent, acks=all) and has a bounded number of records on their way,
so that a cluster that stands still stops it. It is as fast as the cluster lets it be, or sends in bursts, so many
records a second: enough where the load is there to notice a loss and not to press, and the processor is left to the
nodes. All waits are for something that happens, with a generous deadline.
"""

import threading
import time
from collections.abc import Callable
from math import inf
from types import TracebackType
from typing import Self

from kraftpy import Consumer, Producer
from kraftpy.client.values import RecordMetadata
from kraftpy.errors import KraftpyError
from tests.cluster.ledger import Ledger, key_of, number_in

KEYS = 24
IN_FLIGHT_MAX = 100
BURST_RECORDS = 50
STEADY = 1_000  # records a second: a burst every 50 ms
WAIT_S = 90.0  # how long anything may take; a healthy cluster needs a few seconds at most


class LoadError(AssertionError):
    """Producer or consumer stopped, or nothing happened for too long."""


class Load:
    """See the module's docstring. Belongs to one thread; its own two end with the `with`."""

    def __init__(
        self, bootstrap: str, topic: str, partitions: int, linger_ms: int = 0, records_per_s: float = inf
    ) -> None:
        self.ledger = Ledger(KEYS)
        self._bootstrap = bootstrap
        self._topic = topic
        self._partitions = [(topic, partition) for partition in range(partitions)]
        self._changed = threading.Condition()
        self._producing = self._consuming = True
        self._room = threading.Semaphore(IN_FLIGHT_MAX)
        self._burst_s = BURST_RECORDS / records_per_s
        self._longest_wait_s = 0.0
        self._error: BaseException | None = None
        self._producer = Producer(bootstrap, linger_ms=linger_ms)
        self._consumer = Consumer(bootstrap=bootstrap, auto_offset_reset="earliest")
        self._threads = [threading.Thread(target=self._guard, args=(work,)) for work in (self._produce, self._consume)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._producing = self._consuming = False
        self._room.release()
        for thread in self._threads:
            thread.join()
        self._producer.close(0)
        self._consumer.close()

    def wait_acknowledged(self, more: int, timeout: float = WAIT_S) -> None:
        """Wait until this many more records have been acknowledged and read than have been now."""
        with self._changed:
            acknowledged, read = self.ledger.acknowledged + more, self.ledger.read + more
        self._wait(lambda: self.ledger.acknowledged >= acknowledged, timeout, f"{more} more records are acknowledged")
        self._wait(lambda: self.ledger.read >= read, timeout, f"{more} more records are read")

    def take_longest_wait_s(self) -> float:
        """The longest that a record waited for its acknowledgement since the last call."""
        with self._changed:
            longest, self._longest_wait_s = self._longest_wait_s, 0.0
        return longest

    def finish(self) -> list[str]:
        """Stop sending, wait for every answer, read to the end, and judge: everything that is wrong."""
        self._producing = False
        self._room.release()
        self._threads[0].join()
        self._producer.flush(WAIT_S)
        self._wait(lambda: self._settled() == self.ledger.sent, WAIT_S, "every record is answered")
        with Consumer(bootstrap=self._bootstrap, auto_offset_reset="earliest") as again:
            ends = {place.partition: end for place, end in again.end_offsets(self._partitions, WAIT_S).items()}
            self._wait(lambda: self.ledger.has_read_up_to(ends), WAIT_S, f"everything is read, up to {ends}")
            self._read_again(again, sum(ends.values()))
        return self.ledger.judge()

    def _read_again(self, consumer: Consumer, count: int) -> None:
        consumer.assign(self._partitions)
        deadline_s = time.monotonic() + WAIT_S
        while count > 0:
            if time.monotonic() > deadline_s:
                raise LoadError(f"waited {WAIT_S:g} s until everything is read again, {count} records are missing")
            for record in consumer.poll(1.0):
                count -= 1
                self.ledger.confirm(record.partition, record.offset, record.key, record.value)

    def check(self) -> None:
        """Raise what stopped the producer or the consumer."""
        if self._error is not None:
            raise LoadError(f"the load has stopped: {type(self._error).__name__}: {self._error}") from self._error

    def _settled(self) -> int:
        return self.ledger.acknowledged + self.ledger.failed

    def _wait(self, happened: Callable[[], bool], timeout: float, what: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or happened(), timeout)
            self.check()
            if not happened():
                ledger = self.ledger
                raise LoadError(
                    f"waited {timeout:g} s until {what}; sent {ledger.sent}, acknowledged {ledger.acknowledged}, "
                    f"failed {ledger.failed}, read {ledger.read}; found: {ledger.findings}"
                )

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # the top of a thread: told to whoever waits
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _produce(self) -> None:
        turn, due_s = 0, time.monotonic()
        while self._producing:
            if turn % BURST_RECORDS == 0:
                time.sleep(max(due_s - time.monotonic(), 0.0))
                due_s = time.monotonic() + self._burst_s
            self._room.acquire()
            key, turn = turn % KEYS, turn + 1
            with self._changed:
                value = self.ledger.send(key)
            self._producer.send(self._topic, value, key_of(key), on_delivery=self._answered(key, number_in(value)))

    def _answered(self, key: int, number: int) -> Callable[[RecordMetadata | None, KraftpyError | None], None]:
        sent_s = time.monotonic()

        def answered(metadata: RecordMetadata | None, error: KraftpyError | None) -> None:
            self._room.release()
            with self._changed:
                self._longest_wait_s = max(self._longest_wait_s, time.monotonic() - sent_s)
                if metadata is None:
                    self.ledger.fail(key, number)
                else:
                    self.ledger.acknowledge(key, number, metadata.partition, metadata.offset)
                self._changed.notify_all()

        return answered

    def _consume(self) -> None:
        self._consumer.assign(self._partitions)
        while self._consuming:
            records = self._consumer.poll(0.5)
            with self._changed:
                for record in records:
                    self.ledger.see(record.partition, record.offset, record.key, record.value)
                self._changed.notify_all()
