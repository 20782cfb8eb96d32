"""The blocking consumer: `kraftpy.Consumer`. It belongs to one thread at a time, and says so when it does not."""

import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from kraftpy.client.async_consumer import CALL_S, ITERATION_S
from kraftpy.client.config import ConsumerConfig
from kraftpy.client.consuming import Consuming, Deserialization
from kraftpy.client.fetch_position import EARLIEST_MS, LATEST_MS
from kraftpy.client.keywords import ConsumerKeywords, with_bootstrap
from kraftpy.client.loop_thread import LoopThread, acquire, release
from kraftpy.client.system import client_ports
from kraftpy.client.values import ConsumerRecord, OffsetAndTimestamp, TopicPartition
from kraftpy.errors import ClosedError, ConcurrentUseError
from kraftpy.runtime.ports import Clock, Transport

T = TypeVar("T")


class Consumer:
    """Reads records: all partitions of the topics it is given, or exactly the partitions that are assigned.

    Belongs to one thread at a time: a call while another thread is inside one raises `ConcurrentUseError`. `for` over
    it waits for records for ever; `poll` waits for as long as it is told. Deserializers run on the caller's thread.
    Settings are keyword arguments (`kraftpy.client.config.ConsumerConfig`).
    """

    def __init__(
        self,
        *topics: str,
        bootstrap: Any = None,
        _config: ConsumerConfig | None = None,
        _transport: Transport | None = None,
        _clock: Clock | None = None,
        _random: Random | None = None,
        **settings: Unpack[ConsumerKeywords],
    ) -> None:
        self._config = _config or ConsumerConfig.from_keywords(with_bootstrap(bootstrap, settings))
        self._deserialization = Deserialization(self._config)
        self._unread: deque[ConsumerRecord] = deque()  # taken by an iteration and not handed out yet, as bytes
        self._user = threading.Lock()  # held by whoever is inside a call
        self._thread: LoopThread | None = acquire()
        try:
            self._consuming = self._thread.run(self._make(topics, _transport, _clock, _random))
        except BaseException:
            release(self._thread)
            raise

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *topics: str) -> Self:
        """A consumer from Kafka's dotted names: `{"bootstrap.servers": "a:9093", "auto.offset.reset": "earliest"}`."""
        return cls(*topics, _config=ConsumerConfig.from_dotted(config))

    def poll(self, timeout: float = 1.0, max_records: int | None = None) -> list[ConsumerRecord]:
        """Up to `max_records` records (max_poll_records by default), in order within each partition.

        Returns as soon as there are any; an empty list after `timeout` seconds. Raises
        `kraftpy.client.serializers.RecordDeserializationError` at a record that cannot be deserialized,
        `OffsetOutOfRangeError` and `NoOffsetForPartitionError` where auto_offset_reset is none, `CorruptRecordError`.
        """
        with self._alone() as thread:
            count_max = max_records or self._config.max_poll_records
            records = thread.run(self._polled(max(timeout, 0.0), count_max))
            done, rest, error = self._deserialization.many(records)
            self._unread.extend(rest)  # given back with the next call
            if error is not None and not done:
                raise error
            return done

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ConsumerRecord:
        with self._alone() as thread:
            while not self._unread:
                self._unread.extend(thread.run(self._polled(ITERATION_S, self._config.max_poll_records)))
            record = self._unread[0]
            if self._deserialization.is_needed:
                record = self._deserialization.one(record)
            self._unread.popleft()
            return record

    def assign(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Read exactly these (topic, partition) pairs from now on. Those that stay keep their positions."""
        places = [TopicPartition(*place) for place in partitions]
        self._do(lambda consuming: consuming.assign(places))

    def assignment(self) -> list[TopicPartition]:
        """The partitions that are read; of topics, those known so far."""
        return self._do(lambda consuming: consuming.assignment)

    def seek(self, partition: tuple[str, int], offset: int) -> None:
        """Go on at `offset`. Raises `NotAssignedError`."""
        self._do(lambda consuming: consuming.seek(TopicPartition(*partition), offset))

    def seek_to_beginning(self, *partitions: tuple[str, int]) -> None:
        """Go on at the beginning of these partitions, of all without an argument."""
        places = [TopicPartition(*place) for place in partitions]
        self._do(lambda consuming: consuming.reset(places, to_end=False))

    def seek_to_end(self, *partitions: tuple[str, int]) -> None:
        """Go on at the end of these partitions, of all without an argument."""
        places = [TopicPartition(*place) for place in partitions]
        self._do(lambda consuming: consuming.reset(places, to_end=True))

    def position(self, partition: tuple[str, int], timeout: float = CALL_S) -> int:
        """The offset of the next record. Raises `NotAssignedError`, and `CallTimeoutError` after `timeout` seconds."""
        return self._ask(lambda consuming: consuming.position(TopicPartition(*partition), timeout))

    def pause(self, *partitions: tuple[str, int]) -> None:
        """Hand out nothing from these partitions (all without an argument) until `resume`."""
        places = [TopicPartition(*place) for place in partitions]
        self._do(lambda consuming: consuming.pause(places, paused=True))

    def resume(self, *partitions: tuple[str, int]) -> None:
        """Go on with these partitions, with all without an argument."""
        places = [TopicPartition(*place) for place in partitions]
        self._do(lambda consuming: consuming.pause(places, paused=False))

    def paused(self) -> list[TopicPartition]:
        """The partitions that are paused."""
        return self._do(lambda consuming: consuming.paused())

    def high_watermark(self, partition: tuple[str, int]) -> int | None:
        """The end of what may be read, as of the last fetch; None before the first."""
        return self._do(lambda consuming: consuming.high_watermark(TopicPartition(*partition)))

    def partitions_for(self, topic: str, timeout: float = CALL_S) -> int:
        """How many partitions a topic has. Raises `UnknownTopicOrPartitionError`."""
        return self._ask(lambda consuming: consuming.partitions_of(topic, timeout))

    def beginning_offsets(
        self, partitions: Iterable[tuple[str, int]], timeout: float = CALL_S
    ) -> dict[TopicPartition, int]:
        """The first offset of each partition. Raises `CallTimeoutError`, `UnknownTopicOrPartitionError`."""
        wanted = {TopicPartition(*place): EARLIEST_MS for place in partitions}
        return self._ask(lambda consuming: consuming.offsets(wanted, timeout))

    def end_offsets(self, partitions: Iterable[tuple[str, int]], timeout: float = CALL_S) -> dict[TopicPartition, int]:
        """The offset that each partition's next record will get. Raises as `beginning_offsets`."""
        wanted = {TopicPartition(*place): LATEST_MS for place in partitions}
        return self._ask(lambda consuming: consuming.offsets(wanted, timeout))

    def offsets_for_times(
        self, times: Mapping[tuple[str, int], int], timeout: float = CALL_S
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """The first record at or after each time (milliseconds since 1970); None where there is none."""
        wanted = {TopicPartition(*place): time_ms for place, time_ms in times.items()}
        return self._ask(lambda consuming: consuming.offsets_for_times(wanted, timeout))

    def close(self) -> None:
        """End. May be repeated."""
        if self._thread is None:
            return
        with self._alone() as thread:
            self._unread.clear()
            try:
                thread.run(self._end())
            finally:
                self._thread = None
                release(thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _make(
        self, topics: tuple[str, ...], transport: Transport | None, clock: Clock | None, random: Random | None
    ) -> Consuming:
        ports, self._owns_transport = client_ports(transport, clock, random)
        consuming = Consuming(self._config, ports, topics)
        consuming.start()
        return consuming

    async def _polled(self, timeout: float, count_max: int) -> list[ConsumerRecord]:
        self._give_back()
        return await self._consuming.poll(timeout, count_max)

    async def _end(self) -> None:
        await self._consuming.close()
        if self._owns_transport:
            await self._consuming.ports.transport.close()

    def _do(self, work: Callable[[Consuming], T]) -> T:
        async def on_loop() -> T:
            self._give_back()
            return work(self._consuming)

        with self._alone() as thread:
            return thread.run(on_loop())

    def _ask(self, work: Callable[[Consuming], Coroutine[Any, Any, T]]) -> T:
        async def on_loop() -> T:
            self._give_back()
            return await work(self._consuming)

        with self._alone() as thread:
            return thread.run(on_loop())

    def _give_back(self) -> None:
        """What an iteration took and did not hand out belongs to the fetcher again. On the loop."""
        if self._unread:
            self._consuming.give_back(list(self._unread))
            self._unread.clear()

    @contextmanager
    def _alone(self) -> Iterator[LoopThread]:
        if not self._user.acquire(blocking=False):
            raise ConcurrentUseError("this consumer is in use by another thread; give each thread its own")
        try:
            thread = self._thread
            if thread is None:
                raise ClosedError("the consumer is closed")
            yield thread
        finally:
            self._user.release()
