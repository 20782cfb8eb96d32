"""The asyncio producer: `kraftpy.aio.Producer`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from inspect import signature
from random import Random
from types import TracebackType
from typing import Any, Self, Unpack, cast

from kraftpy.client.batch import Delivery
from kraftpy.client.cluster_view import TopicView
from kraftpy.client.config import ProducerConfig
from kraftpy.client.group.offsets import Committable, offsets_of
from kraftpy.client.home_loop import HomeLoop
from kraftpy.client.keywords import ProducerKeywords, with_bootstrap
from kraftpy.client.pipeline import Pipeline, Serialized, checked_headers
from kraftpy.client.producing import Producing
from kraftpy.client.system import client_ports, system_random
from kraftpy.client.values import GroupMetadata, Headers, OnDelivery, ProducerRecord, RecordMetadata
from kraftpy.errors import BufferExhaustedError, ClosedError, KraftpyError
from kraftpy.runtime.ports import Clock, Transport

CLOSE_AFTER_ERROR_S = 5.0  # how long a `with` that ends in an exception still delivers


@dataclass(frozen=True, slots=True)
class _AsAsyncio:
    """A callback of one argument, the future that is done: what asyncio.wait() adds to all that it waits for."""

    future: "DeliveryFuture"
    callback: Callable[["DeliveryFuture"], object]

    def __call__(self, _metadata: RecordMetadata | None, _error: KraftpyError | None) -> None:
        self.callback(self.future)


class DeliveryFuture(Delivery):
    """What `await producer.send(...)` gives: awaiting it gives the metadata, or raises why it was not delivered.

    `asyncio.wait` and `asyncio.gather` take it as a future.
    """

    __slots__ = ()

    def add_done_callback(self, callback: OnDelivery | Callable[["DeliveryFuture"], object]) -> None:
        """Call `callback(metadata, error)` once: later, or at once where the fate is known.

        One that takes a single argument gets this future, as those of asyncio's futures do. Raises
        `ConcurrentUseError` on another event loop than the producer's.
        """
        self._check_home()
        super().add_done_callback(self._listener(callback))

    def remove_done_callback(self, callback: OnDelivery | Callable[["DeliveryFuture"], object]) -> int:
        """Call it no more; how often it would have been called."""
        return super().remove_done_callback(self._listener(callback))

    def cancelled(self) -> bool:
        """Never: what was sent cannot be taken back."""
        return False

    def _listener(self, callback: Any) -> OnDelivery:
        try:
            signature(callback).bind(None, None)
        except TypeError:
            return _AsAsyncio(self, callback)
        except ValueError:  # written in C, and says nothing of its arguments
            pass
        listener: OnDelivery = callback
        return listener

    def result(self) -> RecordMetadata:
        """The metadata of a record that is done. Raises its error, or `InvalidStateError` while it is under way."""
        if not self.done():
            raise asyncio.InvalidStateError("the record is still under way")
        outcome = self._outcome()
        if isinstance(outcome, KraftpyError):
            raise outcome.with_traceback(None)  # all records of a batch share it: it would grow with each call
        return outcome

    def exception(self) -> KraftpyError | None:
        """The error of a record that is done, or None where it was delivered."""
        if not self.done():
            raise asyncio.InvalidStateError("the record is still under way")
        outcome = self._outcome()
        return outcome if isinstance(outcome, KraftpyError) else None

    def __await__(self) -> Generator[Any, None, RecordMetadata]:
        if not self.done():
            self._check_home()
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def wake(_metadata: RecordMetadata | None, _error: KraftpyError | None) -> None:
                if not done.done():
                    done.set_result(None)

            super().add_done_callback(wake)
            yield from done.__await__()
        return self.result()

    def _check_home(self) -> None:
        """Elsewhere nobody would ever hear of a record that is under way."""
        if not self.done():
            cast("HomeLoop", self._batch.lock).check()


class Producer:
    """Publishes records. Belongs to the event loop on which it is first used; any task may send.

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
        self._world = (_transport, _clock, _random)
        self._pipeline = Pipeline(self._config, system_random(_random))
        self._producing: Producing | None = None
        self._owns_transport = False
        self._room: list[asyncio.Future[None]] = []
        self._closed = False
        self._closing = asyncio.Lock()
        self._home = HomeLoop()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A producer from Kafka's dotted names: `{"bootstrap.servers": "a:9093", "acks": "all"}`."""
        return cls(_config=ProducerConfig.from_dotted(config))

    async def send(
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
        """Hand over one record; waits for the topic's metadata and for room, not for the delivery.

        `timestamp` is milliseconds since 1970, now by default. `on_delivery(metadata, error)` is called on the loop,
        once a record and in the partition's order. Awaiting what is returned waits for the delivery.

        Raises `SerializationError`, `RecordTooLargeError`, `BufferExhaustedError` after max_block_ms without room,
        `UnknownTopicOrPartitionError`, `InvalidTopicError`, `NoBrokersAvailableError`, `ClosedError`.
        """
        producing = self._started()
        pipeline = producing.pipeline
        if pipeline.interceptors:
            topic, value, key, headers, partition, timestamp = pipeline.intercept(
                ProducerRecord(topic, value, key, headers or (), partition, timestamp)
            )
        listener = pipeline.listener(on_delivery)
        view = await self._topic(producing, topic, partition)
        pairs = checked_headers(headers)
        record = pipeline.serialize(topic, key, value, pairs)
        delivery = producing.append(view, record, pairs, partition, timestamp, listener)
        if delivery is None:
            delivery = await self._append_with_room(producing, view, record, pairs, partition, timestamp, listener)
        if producing.take_wake():
            producing.sender.wake()
        assert isinstance(delivery, DeliveryFuture)
        return delivery

    async def flush(self) -> None:
        """Wait until everything sent so far is delivered.

        Raises the first error of the deliveries that have failed since the last `flush`.
        """
        await self._started().flush()

    # --- transactions

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """`async with producer.transaction():` all of it is committed, or, after an exception, nothing.

        Raises `ProducerFencedError` where another producer has taken the transactional_id over, and what could not be
        delivered. After `CallTimeoutError` from the commit, or where it was cancelled, its outcome is not known: call
        `commit_transaction` again, or close, which asks once more.
        """
        await self.begin_transaction()
        producing = self._started()
        try:
            yield
        except BaseException as error:
            await producing.end_transaction(error)
            raise
        await producing.end_transaction(None)

    async def begin_transaction(self) -> None:
        """Begin; the first time, take the transactional_id over, which fences whoever had it."""
        await self._started().transactional.begin()

    async def commit_transaction(self) -> None:
        """Deliver everything and commit. Raises what could not be delivered: then the transaction must be aborted."""
        await self._started().transactional.commit()

    async def abort_transaction(self) -> None:
        """Undo everything since `begin_transaction`."""
        await self._started().transactional.abort()

    async def send_offsets(self, offsets: Committable, group: GroupMetadata) -> None:
        """Commit a consumer's offsets as a part of the transaction: records, or offsets by (topic, partition).

        `group` is `consumer.group_metadata()`; that consumer's auto-commit should be off. Raises `CommitFailedError`.
        """
        await self._started().transactional.send_offsets(offsets_of(offsets), group)

    async def partitions_for(self, topic: str) -> int:
        """How many partitions a topic has. Raises `UnknownTopicOrPartitionError`."""
        return len((await self._started().topic(topic)).partitions)

    async def close(self, timeout: float | None = None) -> None:
        """Deliver what is left, for at most `timeout` seconds, and fail the rest with `ClosedError`. Repeatable.

        Where it is cancelled, the rest has failed already.
        """
        self._home.check()
        self._closed = True
        try:
            async with asyncio.timeout(timeout):
                await self._closing.acquire()
        except TimeoutError:  # another task closes it, and takes longer
            return
        try:
            await self._close(timeout)
        finally:
            self._closing.release()

    async def _close(self, timeout: float | None) -> None:
        producing = self._producing
        if producing is None:
            return
        try:
            await producing.close(None if timeout is None else timeout * 1_000)
        finally:
            if self._owns_transport:
                await producing.ports.transport.close()
            self._producing = None

    async def __aenter__(self) -> Self:
        self._started()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        producing = self._producing
        await self.close(None if kind is None else CLOSE_AFTER_ERROR_S)
        if kind is None and producing is not None:
            producing.raise_failures()

    def _started(self) -> Producing:
        if self._closed:
            raise ClosedError("the producer is closed")
        if self._producing is not None:
            self._home.check()
            return self._producing
        self._home.settle()
        ports, self._owns_transport = client_ports(*self._world)
        self._producing = Producing(self._config, ports, self._pipeline, self._home, DeliveryFuture)
        self._producing.on_room = self._wake_waiters  # type: ignore[method-assign]
        self._producing.start()
        return self._producing

    async def _topic(self, producing: Producing, topic: str, partition: int | None) -> TopicView:
        metadata = producing.metadata
        view = metadata.view.topics.get(topic)
        if view is None or not view.partitions:
            return await producing.topic(topic)
        if partition is not None and partition >= len(view.partitions):
            await metadata.updated(producing.config.max_block_ms)  # the topic may have grown
            view = metadata.view.topics.get(topic, view)
        return view

    async def _append_with_room(
        self,
        producing: Producing,
        view: TopicView,
        record: Serialized,
        headers: Headers,
        partition: int | None,
        timestamp: int | None,
        listener: OnDelivery | None,
    ) -> Delivery:
        config = producing.config
        producing.wait_for_room(1)
        producing.sender.wake()
        try:
            async with asyncio.timeout(config.max_block_ms / 1_000):
                while True:
                    delivery = producing.append(view, record, headers, partition, timestamp, listener)
                    if delivery is not None:
                        return delivery
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._room.append(waiter)
                    await waiter
        except TimeoutError:
            raise BufferExhaustedError(exhausted(config)) from None
        finally:
            producing.wait_for_room(-1)

    def _wake_waiters(self) -> None:
        waiters, self._room = self._room, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def exhausted(config: ProducerConfig) -> str:
    """What to say when there was no room for max_block_ms."""
    return (
        f"buffer.memory ({config.buffer_memory} bytes) is full of undelivered records and stayed so for "
        f"max.block.ms ({config.max_block_ms} ms): slow down, or raise them"
    )
