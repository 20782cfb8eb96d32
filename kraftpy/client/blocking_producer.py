"""The blocking producer: `kraftpy.Producer`. Threads may share one.

`send` runs entirely on the caller's thread and takes one short lock; the SDK's thread ships. Callbacks run on the SDK's
thread and must not block it: a `send` in a callback never waits, it fails where it would have to. Python runs a handler
of a signal inside of whatever the main thread does, which may hold the lock: there a handler is refused what would take
it once more, or wait for the SDK's thread.
"""

import asyncio
import atexit
import logging
import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from random import Random
from types import TracebackType
from typing import Any, Self, Unpack

from kraftpy.client.async_producer import CLOSE_AFTER_ERROR_S, exhausted
from kraftpy.client.batch import Delivery
from kraftpy.client.cluster_view import TopicView
from kraftpy.client.config import ProducerConfig
from kraftpy.client.group.offsets import Committable, offsets_of
from kraftpy.client.keywords import ProducerKeywords, with_bootstrap
from kraftpy.client.loop_thread import (
    FORKED,
    LoopThread,
    acquire,
    check_waiting,
    is_loop_thread,
    refuse_inside,
    release,
    shared_lock,
)
from kraftpy.client.pipeline import Pipeline, Serialized, checked_headers
from kraftpy.client.producing import Producing
from kraftpy.client.system import client_ports, system_random
from kraftpy.client.values import GroupMetadata, Headers, OnDelivery, ProducerRecord, RecordMetadata
from kraftpy.client.waiting import Waiter
from kraftpy.errors import BufferExhaustedError, CallTimeoutError, ClosedError, ConcurrentUseError, KraftpyError
from kraftpy.runtime.ports import Clock, Transport

AT_EXIT_S = 5.0  # how long a producer that was never closed may still deliver when the program ends

_log = logging.getLogger(__name__)


class DeliveryFuture(Delivery):
    """What `producer.send(...)` gives: `result(timeout)` waits for the metadata, or raises why it was not delivered."""

    __slots__ = ()

    def result(self, timeout: float | None = None) -> RecordMetadata:
        """The metadata. Raises the record's error, or `CallTimeoutError` (a `TimeoutError`) after `timeout` seconds."""
        error = self.exception(timeout)
        if error is not None:
            raise error.with_traceback(None)  # all records of a batch share it: it would grow with each call
        outcome = self._outcome()
        assert isinstance(outcome, RecordMetadata)
        return outcome

    def exception(self, timeout: float | None = None) -> KraftpyError | None:
        """The record's error, or None where it was delivered. Waits as `result` does."""
        if not self.done():
            if is_loop_thread():
                raise ConcurrentUseError("waiting for a delivery inside a callback would stop the SDK's own thread")
            check_waiting()
            waiter = Waiter()
            self.add_done_callback(lambda _metadata, _error: waiter.wake())
            if not waiter.wait(timeout):
                raise CallTimeoutError(f"the record was not delivered within {timeout} s; it still may be")
        outcome = self._outcome()
        return outcome if isinstance(outcome, KraftpyError) else None


class Producer:
    """Publishes records. Threads may share a producer, processes may not: use clients after forking only, or start
    processes by multiprocessing's spawn or forkserver.

    `bootstrap` is one address or several. Settings are keyword arguments (`kraftpy.client.config.ProducerConfig`).

    A `with` that ends without an exception raises the first error of the deliveries that have failed since the last
    `flush`, so that none gets lost: also those whose future has handed it out. A program that has dealt with them all
    calls `flush` in a `try` before the `with` ends.
    """

    def __init__(
        self,
        bootstrap: Any = None,
        *,
        _config: ProducerConfig | None = None,
        _transport: Transport | None = None,
        _clock: Clock | None = None,
        _random: Random | None = None,
        **settings: Unpack[ProducerKeywords],
    ) -> None:
        self._config = _config or ProducerConfig.from_keywords(with_bootstrap(bootstrap, settings))
        self._pipeline = Pipeline(self._config, system_random(_random))
        self._lock = shared_lock()
        self._waiting: list[Waiter] = []  # for room; with the lock
        self._closing = threading.RLock()
        self._is_closing = False
        self._thread: LoopThread | None = acquire()
        try:
            self._producing = self._thread.run(self._make, _transport, _clock, _random)
        except BaseException:
            release(self._thread)
            raise
        self._thread.share(self._lock)
        self._topics = self._producing.metadata
        _open_producers.add(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A producer from Kafka's dotted names: `{"bootstrap.servers": "a:9093", "acks": "all"}`."""
        return cls(_config=ProducerConfig.from_dotted(config))

    def send(
        self,
        topic: str,
        value: Any = None,
        key: Any = None,
        *,
        headers: Headers | None = None,
        partition: int | None = None,
        timestamp: int | None = None,
        on_delivery: OnDelivery | None = None,
    ) -> DeliveryFuture:
        """Hand over one record. Waits only for a topic's first metadata, and for room in buffer_memory.

        `timestamp` is milliseconds since 1970, now by default. `on_delivery(metadata, error)` is called on the SDK's
        thread, once a record and in the partition's order.

        Raises `SerializationError`, `RecordTooLargeError`, `BufferExhaustedError` after max_block_ms without room,
        `UnknownTopicOrPartitionError`, `InvalidTopicError`, `NoBrokersAvailableError`, `ClosedError`.
        """
        if self._lock._is_owned():
            refuse_inside(self._lock)
        producing = self._producing
        pipeline = self._pipeline
        if pipeline.interceptors:
            topic, value, key, headers, partition, timestamp = pipeline.intercept(
                ProducerRecord(topic, value, key, headers or (), partition, timestamp)
            )
            on_delivery = pipeline.listener(on_delivery)
        view = self._topics.view.topics.get(topic)
        if view is None or (partition is not None and partition >= len(view.partitions)):
            view = self._topic(topic, known=view)
        pairs = checked_headers(headers) if headers else ()
        record = pipeline.serialize(topic, key, value, pairs)
        try:
            delivery = producing.append(view, record, pairs, partition, timestamp, on_delivery)
            if delivery is None:
                delivery = self._append_with_room(view, record, pairs, partition, timestamp, on_delivery)
            if producing.accumulator.wake_wanted and producing.take_wake():
                self._wake()
        except BaseException:
            self._wake()  # Ctrl-C may have come when the record was in, and nobody knew
            raise
        assert type(delivery) is DeliveryFuture
        return delivery

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything sent so far is delivered.

        Raises the first error of the deliveries that have failed since the last `flush`, and `CallTimeoutError` after
        `timeout` seconds.
        """
        self._on_thread().run(self._flush, timeout)

    # --- transactions

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """`with producer.transaction():` all of it is committed, or, after an exception, nothing.

        Raises `ProducerFencedError` where another producer has taken the transactional_id over, and what could not be
        delivered. After `CallTimeoutError` from the commit, or Ctrl-C in it, its outcome is not known: call
        `commit_transaction` again, or close, which asks once more.
        """
        self.begin_transaction()
        try:
            yield
        except BaseException as error:
            thread = self._thread
            if thread is not None:  # else a handler of a signal has closed the producer, which aborts
                thread.run(self._producing.end_transaction, error)
            raise
        self._on_thread().run(self._producing.end_transaction, None)

    def begin_transaction(self) -> None:
        """Begin; the first time, take the transactional_id over, which fences whoever had it."""
        self._on_thread().run(self._producing.transactional.begin)

    def commit_transaction(self) -> None:
        """Deliver everything and commit. Raises what could not be delivered: then the transaction must be aborted."""
        self._on_thread().run(self._producing.transactional.commit)

    def abort_transaction(self) -> None:
        """Undo everything since `begin_transaction`."""
        self._on_thread().run(self._producing.transactional.abort)

    def send_offsets(self, offsets: Committable, group: GroupMetadata) -> None:
        """Commit a consumer's offsets as a part of the transaction: records, or offsets by (topic, partition).

        `group` is `consumer.group_metadata()`; that consumer's auto-commit should be off. Raises `CommitFailedError`.
        """
        self._on_thread().run(self._producing.transactional.send_offsets, offsets_of(offsets), group)

    def partitions_for(self, topic: str) -> int:
        """How many partitions a topic has. Raises `UnknownTopicOrPartitionError`."""
        return len(self._on_thread().run(self._producing.topic, topic).partitions)

    def close(self, timeout: float | None = None) -> None:
        """Deliver what is left, for at most `timeout` seconds, and fail the rest with `ClosedError`. Repeatable."""
        thread = self._thread
        if thread is None:
            return
        thread.check()  # first: who closes already waits for the SDK's thread, and that perhaps for the caller
        with self._closing:
            if self._thread is None or self._is_closing:  # a handler of a signal closes what its thread is closing
                return
            self._is_closing = True
            try:
                _open_producers.discard(self)
                thread.run(self._end, timeout)
            finally:
                self._thread = None
                thread.unshare(self._lock)
                release(thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(None if kind is None else CLOSE_AFTER_ERROR_S)
        if kind is None:
            self._producing.raise_failures()

    def _left_behind(self) -> None:
        """This is the copy of the producer in a process that was forked off. What it holds the parent delivers."""
        self._thread = None
        self._closing, self._lock = threading.RLock(), shared_lock()
        self._waiting = []
        self._producing.left_behind(self._lock, FORKED)

    async def _make(self, transport: Transport | None, clock: Clock | None, random: Random | None) -> Producing:
        ports, self._owns_transport = client_ports(transport, clock, random)
        producing = Producing(self._config, ports, self._pipeline, self._lock, DeliveryFuture)
        producing.on_room = self._wake_waiters  # type: ignore[method-assign]
        producing.start()
        return producing

    async def _flush(self, timeout: float | None) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._producing.flush()
        except TimeoutError as error:
            if isinstance(error, KraftpyError):
                raise
            raise CallTimeoutError(f"records are still undelivered after {timeout} s") from None

    async def _end(self, timeout: float | None) -> None:
        try:
            await self._producing.close(None if timeout is None else timeout * 1_000)
        finally:
            if self._owns_transport:
                await self._producing.ports.transport.close()

    def _on_thread(self) -> LoopThread:
        thread = self._thread
        if thread is None:
            raise ClosedError(self._producing.closed_because)
        return thread

    def _wake_waiters(self) -> None:
        """Those who wait for room look again. With the lock."""
        for waiter in self._waiting:
            waiter.wake()
        self._waiting.clear()

    def _wake(self) -> None:
        thread = self._thread
        if thread is not None:
            thread.post(self._producing.sender.wake)

    def _topic(self, topic: str, known: TopicView | None) -> TopicView:
        """The topic's view from the loop: it is new, or should have more partitions than are known."""
        thread = self._on_thread()
        if thread.is_here():
            raise ConcurrentUseError(f"topic {topic} is not known yet, and a callback must not wait for it")
        if known is not None:
            thread.run(self._topics.updated, self._config.max_block_ms)
        return thread.run(self._producing.topic, topic)

    def _append_with_room(
        self,
        view: TopicView,
        record: Serialized,
        headers: Headers,
        partition: int | None,
        timestamp: int | None,
        on_delivery: OnDelivery | None,
    ) -> Delivery:
        thread = self._on_thread()
        if thread.is_here():
            raise BufferExhaustedError("buffer.memory is full, and a callback must not wait for room")
        thread.check()
        clock = self._producing.ports.clock
        ends_ms = clock.monotonic_ms() + self._config.max_block_ms
        with self._lock:
            self._producing.wait_for_room(1)
        self._wake()
        try:
            while True:
                delivery = self._producing.append(view, record, headers, partition, timestamp, on_delivery)
                if delivery is not None:
                    return delivery
                left_ms = ends_ms - clock.monotonic_ms()
                if left_ms <= 0:
                    raise BufferExhaustedError(exhausted(self._config))
                waiter = Waiter()
                with self._lock:
                    if self._producing.has_room(record):
                        continue
                    self._waiting.append(waiter)
                waiter.wait(left_ms / 1_000)
        finally:
            with self._lock:
                self._producing.wait_for_room(-1)


_open_producers: "weakref.WeakSet[Producer]" = weakref.WeakSet()


@atexit.register
def _close_forgotten() -> None:
    """A program that ends without closing its producers still delivers what it has sent."""
    for producer in list(_open_producers):
        try:
            producer.close(AT_EXIT_S)
        except Exception:  # the program is ending: say it and let it
            _log.exception("a producer that was not closed could not be")


def _leave_behind_after_fork() -> None:
    global _open_producers
    producers, _open_producers = list(_open_producers), weakref.WeakSet()
    for producer in producers:
        producer._left_behind()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_behind_after_fork)
