"""The thread that publishes: the input again and again, as fast as the cluster takes it.

So many records are under way and no more (`WINDOW_RECORDS`): a record then waits for the cluster and not for a long
queue before it, and the longest wait around a fault says how long the cluster was away.

Threads: `_run` is the publisher's own, `_told` runs on the SDK's, everything else on the owner's.
"""

import threading
import time
from functools import partial

from cli.demo.ledger import Ledger, id_header
from kraftpy import KraftpyError, Producer, RecordMetadata

CHUNK_RECORDS = 100
WINDOW_RECORDS = 5_000  # about 1.2 MB of the access log: some batches for each partition


class Publisher:
    """Publishes from `start` until `stop`."""

    def __init__(self, bootstrap: str, topic: str, ledger: Ledger) -> None:
        self.ledger = ledger
        self.failed = 0
        self.error: KraftpyError | None = None  # the first that a record met
        self.seconds = 0.0  # how long it published
        self._bootstrap = bootstrap
        self._topic = topic
        self._room = threading.Semaphore(WINDOW_RECORDS // CHUNK_RECORDS)
        self._stopping = threading.Event()
        self._broken_by: Exception | None = None
        self._settled = 0
        self._under_way: dict[int, float] = {}  # id → when it was sent; at most WINDOW_RECORDS
        self._watched_from: float | None = None
        self._longest_wait_s = 0.0
        self._thread = threading.Thread(target=self._run, name="demo-publisher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def watch_waits(self) -> None:
        """From now on remember the longest wait, also of what is under way now."""
        self._watched_from = time.monotonic()

    @property
    def longest_wait_s(self) -> float:
        """Of the records that were acknowledged since `watch_waits`, the longest from send to acknowledgement."""
        return self._longest_wait_s

    def stop(self) -> None:
        """Send nothing more, and wait until the fate of every record is known. Raises what broke the sending itself."""
        self._stopping.set()
        self._thread.join()
        if self._broken_by is not None:
            raise self._broken_by

    def _run(self) -> None:
        started = time.monotonic()
        producer = Producer(self._bootstrap, client_id="kraftpy-demo")
        try:
            while not self._stopping.is_set():
                if self._room.acquire(timeout=0.1):
                    self._send_chunk(producer)
        except Exception as error:  # the top of this thread; `stop` raises it
            self._broken_by = error
        finally:
            producer.close()  # delivers what is left; those that fail have been told
            self.seconds = time.monotonic() - started

    def _send_chunk(self, producer: Producer) -> None:
        for _ in range(CHUNK_RECORDS):
            record_id, line = self.ledger.send()
            self._under_way[record_id] = time.monotonic()
            producer.send(
                self._topic,
                line.value,
                line.key,
                headers=id_header(record_id),
                on_delivery=partial(self._told, record_id),
            )

    def _told(self, record_id: int, metadata: RecordMetadata | None, error: KraftpyError | None) -> None:
        sent_at = self._under_way.pop(record_id)
        if metadata is None:
            self.failed += 1
            self.error = self.error or error
        else:
            self.ledger.acknowledge(record_id)
            if self._watched_from is not None:
                self._longest_wait_s = max(self._longest_wait_s, time.monotonic() - sent_at)
        self._settled += 1
        if self._settled % CHUNK_RECORDS == 0:
            self._room.release()
