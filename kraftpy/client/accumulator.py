"""Gathers records into batches, one open batch a partition, and counts the bytes that wait. Pure.

The producer's lock is held by every caller: in the sync client, `append` runs on the user's threads and all else on the
SDK's. `append` also decides whether the sender must be woken, because waking costs a system call: only when a batch has
become full, or a new one is due before the sender wakes by itself.

Invariants: used_bytes is the sum of `reserved_bytes` of all batches that are not DONE, 0 <= it <= buffer_memory; at
most the last batch of a queue is OPEN; `active` holds exactly the queues that are not empty.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from kraftpy.client.batch import Batch, BatchState, Delivery, MakeDelivery, ProducerIdentity
from kraftpy.client.config import ProducerConfig
from kraftpy.client.partition_queue import PartitionQueue
from kraftpy.client.values import Headers, OnDelivery
from kraftpy.errors import KraftpyError
from kraftpy.record import HEADER_BYTES, BatchBuilder, Compression

RECORD_BYTES = 24  # a record beside its key, value and headers: lengths, deltas, attributes
HEADER_ENTRY_BYTES = 6


def record_bytes(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """How much of buffer_memory and of a batch one record takes."""
    size = RECORD_BYTES + (len(key) if key is not None else 0) + (len(value) if value is not None else 0)
    for name, content in headers:
        size += HEADER_ENTRY_BYTES + len(name) * 3 + (len(content) if content is not None else 0)
    return size


class Accumulator:
    """All batches of one producer."""

    def __init__(
        self,
        config: ProducerConfig,
        lock: AbstractContextManager[object],
        make_delivery: MakeDelivery,
        room_freed: Callable[[], None],
    ) -> None:
        self.active: dict[tuple[str, int], PartitionQueue] = {}
        self.used_bytes = 0
        self.hurry = 0  # while above 0 nothing lingers: somebody flushes, closes or waits for room
        self.sleeping_until_ms = 0  # when the sender wakes by itself; 0 while it is awake
        self.wake_wanted = False  # set by `append`, cleared by whoever wakes the sender
        self.failed_records = 0  # since they were last asked for
        self.first_failure: KraftpyError | None = None
        self.transaction_failure: KraftpyError | None = None  # the first since the transaction began
        self._queues: dict[tuple[str, int], PartitionQueue] = {}
        self._lock = lock
        self._make_delivery = make_delivery
        self._room_freed = room_freed
        self._batch_size = config.batch_size
        self._buffer_memory = config.buffer_memory
        self._linger_ms = config.linger_ms
        self._compression = Compression[config.compression_type.upper()]
        self._idempotent = config.idempotent
        self._transactional = config.transactional_id is not None
        self._max_in_flight = config.max_in_flight
        self._retries = config.retries

    def has_room(self, size: int) -> bool:
        return self.used_bytes + size <= self._buffer_memory

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        on_delivery: OnDelivery | None,
        size: int,
        now_ms: int,
    ) -> Delivery:
        """Add one record of `size` bytes, as `record_bytes` counts them, for which there is room."""
        place = (topic, partition)
        queue = self.active.get(place)
        batch = queue.pending[-1] if queue is not None and queue.pending else None
        if batch is None or batch.state is not BatchState.OPEN or batch.reserved_bytes + size > self._batch_size:
            batch = self._open_batch(place, batch, timestamp_ms, key, value, headers, size, now_ms)
            index = 0
        else:
            assert batch.builder is not None
            batch.builder.append(timestamp_ms, key, value, headers)
            index = batch.record_count  # no call from here on: Ctrl-C would leave a record that is not counted
            batch.record_count = index + 1
            batch.reserved_bytes += size
            self.used_bytes += size
        if on_delivery is not None:
            batch.listeners.append((index, timestamp_ms, on_delivery))
        if batch.reserved_bytes >= self._batch_size:
            batch.state = BatchState.CLOSED
            self.wake_wanted = self.sleeping_until_ms > 0
        return self._make_delivery(batch, index, timestamp_ms)

    def ripe_at_ms(self, batch: Batch) -> int:
        """When a batch that nothing holds up should leave; 0: now."""
        if batch.state is not BatchState.OPEN or self.hurry > 0:
            return 0
        return batch.created_ms + self._linger_ms

    def settle(self, queue: PartitionQueue) -> list[Batch]:
        """Take what is done out of `queue` and free its memory; the caller tells the listeners without the lock."""
        settled = queue.settle()
        for batch in settled:
            self.used_bytes -= batch.reserved_bytes
            if batch.error is not None:
                self.failed_records += batch.record_count
                self.first_failure = self.first_failure or batch.error
                self.transaction_failure = self.transaction_failure or batch.error
        if settled:
            self._room_freed()
            if queue.is_empty:
                self.active.pop((queue.topic, queue.partition), None)
        return settled

    def last_batches(self) -> list[Batch]:
        """The last batch of every queue that is not empty: when they are DONE, all that was appended so far is."""
        return [queue.pending[-1] if queue.pending else queue.unresolved[-1] for queue in self.active.values()]

    def take_failures(self) -> tuple[int, KraftpyError | None]:
        """How many records have failed since the last call, and the first of their errors."""
        failures = (self.failed_records, self.first_failure)
        self.failed_records, self.first_failure = 0, None
        return failures

    def drop_unsent(self, error: KraftpyError) -> list[Batch]:
        """Fail what was never sent; the settled, to be told."""
        settled: list[Batch] = []
        for queue in list(self.active.values()):
            queue.drop_pending(error)
            settled += self.settle(queue)
        return settled

    def disown(self, error: KraftpyError) -> None:
        """Another process delivers all this; whoever waits here learns `error`, and no listener is told."""
        for queue in list(self.active.values()):
            for batch in [*queue.unresolved, *queue.pending]:
                batch.disown(error)
        self.active.clear()

    def renew(self, identity: ProducerIdentity | None) -> None:
        """A transaction has ended; the next one is numbered under `identity`."""
        self.transaction_failure = None
        for queue in self._queues.values():
            queue.renew(identity)

    def queue(self, topic: str, partition: int) -> PartitionQueue:
        return self._queues[topic, partition]

    def rotate(self, queues: Sequence[PartitionQueue]) -> None:
        """Let these come last in the next round."""
        for queue in queues:
            place = (queue.topic, queue.partition)
            if self.active.pop(place, None) is not None:
                self.active[place] = queue

    def part(self, whole: Batch, builder: BatchBuilder, record_count: int, reserved_bytes: int) -> Batch:
        """A batch that takes over some records of `whole`."""
        batch = Batch(whole.topic, whole.partition, builder, whole.created_ms, self._lock)
        batch.record_count = record_count
        batch.reserved_bytes = reserved_bytes
        return batch

    @property
    def compression(self) -> Compression:
        return self._compression

    def _activate(self, place: tuple[str, int]) -> PartitionQueue:
        queue = self._queues.get(place)
        if queue is None:
            queue = self._queues[place] = PartitionQueue(
                *place,
                idempotent=self._idempotent,
                max_in_flight=self._max_in_flight,
                retries=self._retries,
                transactional=self._transactional,
            )
        self.active[place] = queue
        return queue

    def _open_batch(
        self,
        place: tuple[str, int],
        last: Batch | None,
        timestamp_ms: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        size: int,
        now_ms: int,
    ) -> Batch:
        """A batch with its first record. Nothing has changed where the record is refused."""
        batch = Batch(*place, BatchBuilder(self._compression), now_ms, self._lock)
        assert batch.builder is not None
        batch.builder.append(timestamp_ms, key, value, headers)
        if last is not None and last.state is BatchState.OPEN:
            last.state = BatchState.CLOSED
            self.wake_wanted = self.sleeping_until_ms > 0
        if self.sleeping_until_ms > now_ms + (0 if self.hurry else self._linger_ms):
            self.wake_wanted = True
        queue = self.active.get(place) or self._activate(place)
        batch.record_count = 1
        batch.reserved_bytes = HEADER_BYTES + size
        self.used_bytes += HEADER_BYTES + size
        queue.pending.append(batch)  # the last call, behind which Ctrl-C may come
        return batch
