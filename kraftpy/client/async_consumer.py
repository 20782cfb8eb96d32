"""The asyncio consumer: `kraftpy.aio.Consumer`."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from types import TracebackType
from typing import Any, Self, Unpack

from kraftpy.client.config import ConsumerConfig
from kraftpy.client.consuming import Consuming, Deserialization
from kraftpy.client.fetch_position import EARLIEST_MS, LATEST_MS
from kraftpy.client.keywords import ConsumerKeywords, with_bootstrap
from kraftpy.client.system import client_ports
from kraftpy.client.values import ConsumerRecord, OffsetAndTimestamp, TopicPartition
from kraftpy.errors import ClosedError, ConcurrentUseError
from kraftpy.runtime.ports import Clock, Transport

CALL_S = 30.0  # how long questions about offsets may take by default
ITERATION_S = 3_600.0  # an iteration waits for ever; this is only how often it looks around


class Consumer:
    """Reads records: all partitions of the topics it is given, or exactly the partitions that are assigned.

    Belongs to one task at a time. `for` over it waits for records for ever; `poll` waits for as long as it is told.
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
        self._topics = topics
        self._world = (_transport, _clock, _random)
        self._deserialization = Deserialization(self._config)
        self._consuming: Consuming | None = None
        self._owns_transport = False
        self._unread: deque[ConsumerRecord] = deque()  # taken by an iteration and not handed out yet, as bytes
        self._busy = False
        self._closed = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *topics: str) -> Self:
        """A consumer from Kafka's dotted names: `{"bootstrap.servers": "a:9093", "auto.offset.reset": "earliest"}`."""
        return cls(*topics, _config=ConsumerConfig.from_dotted(config))

    async def poll(self, timeout: float = 1.0, max_records: int | None = None) -> list[ConsumerRecord]:
        """Up to `max_records` records (max_poll_records by default), in order within each partition.

        Returns as soon as there are any; an empty list after `timeout` seconds. Raises
        `kraftpy.client.serializers.RecordDeserializationError` at a record that cannot be deserialized,
        `OffsetOutOfRangeError` and `NoOffsetForPartitionError` where auto_offset_reset is none, `CorruptRecordError`.
        """
        with self._alone() as consuming:
            count_max = max_records or self._config.max_poll_records
            records = await consuming.poll(max(timeout, 0.0), count_max)
            done, rest, error = self._deserialization.many(records)
            if rest:
                consuming.give_back(rest)
            if error is not None and not done:
                raise error
            return done

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ConsumerRecord:
        if not self._unread:
            with self._alone() as consuming:
                while not self._unread:
                    self._unread.extend(await consuming.poll(ITERATION_S, self._config.max_poll_records))
        if self._closed:
            raise ClosedError("the consumer is closed")
        record = self._unread[0]
        if self._deserialization.is_needed:
            record = self._deserialization.one(record)
        self._unread.popleft()
        return record

    def assign(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Read exactly these (topic, partition) pairs from now on. Those that stay keep their positions."""
        self._started().assign([TopicPartition(*place) for place in partitions])

    def assignment(self) -> list[TopicPartition]:
        """The partitions that are read; of topics, those known so far."""
        return self._started().assignment

    def seek(self, partition: tuple[str, int], offset: int) -> None:
        """Go on at `offset`. Raises `NotAssignedError`."""
        self._started().seek(TopicPartition(*partition), offset)

    def seek_to_beginning(self, *partitions: tuple[str, int]) -> None:
        """Go on at the beginning of these partitions, of all without an argument."""
        self._started().reset([TopicPartition(*place) for place in partitions], to_end=False)

    def seek_to_end(self, *partitions: tuple[str, int]) -> None:
        """Go on at the end of these partitions, of all without an argument."""
        self._started().reset([TopicPartition(*place) for place in partitions], to_end=True)

    async def position(self, partition: tuple[str, int], timeout: float = CALL_S) -> int:
        """The offset of the next record. Raises `NotAssignedError`, and `CallTimeoutError` after `timeout` seconds."""
        return await self._started().position(TopicPartition(*partition), timeout)

    def pause(self, *partitions: tuple[str, int]) -> None:
        """Hand out nothing from these partitions (all without an argument) until `resume`."""
        self._started().pause([TopicPartition(*place) for place in partitions], paused=True)

    def resume(self, *partitions: tuple[str, int]) -> None:
        """Go on with these partitions, with all without an argument."""
        self._started().pause([TopicPartition(*place) for place in partitions], paused=False)

    def paused(self) -> list[TopicPartition]:
        """The partitions that are paused."""
        return self._started().paused()

    def high_watermark(self, partition: tuple[str, int]) -> int | None:
        """The end of what may be read, as of the last fetch; None before the first."""
        return self._started().high_watermark(TopicPartition(*partition))

    async def partitions_for(self, topic: str, timeout: float = CALL_S) -> int:
        """How many partitions a topic has. Raises `UnknownTopicOrPartitionError`."""
        return await self._started().partitions_of(topic, timeout)

    async def beginning_offsets(
        self, partitions: Iterable[tuple[str, int]], timeout: float = CALL_S
    ) -> dict[TopicPartition, int]:
        """The first offset of each partition. Raises `CallTimeoutError`, `UnknownTopicOrPartitionError`."""
        wanted = {TopicPartition(*place): EARLIEST_MS for place in partitions}
        return await self._started().offsets(wanted, timeout)

    async def end_offsets(
        self, partitions: Iterable[tuple[str, int]], timeout: float = CALL_S
    ) -> dict[TopicPartition, int]:
        """The offset that each partition's next record will get. Raises as `beginning_offsets`."""
        wanted = {TopicPartition(*place): LATEST_MS for place in partitions}
        return await self._started().offsets(wanted, timeout)

    async def offsets_for_times(
        self, times: Mapping[tuple[str, int], int], timeout: float = CALL_S
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """The first record at or after each time (milliseconds since 1970); None where there is none."""
        wanted = {TopicPartition(*place): time_ms for place, time_ms in times.items()}
        return await self._started().offsets_for_times(wanted, timeout)

    async def close(self) -> None:
        """End. May be repeated."""
        self._closed = True
        self._unread.clear()
        consuming, self._consuming = self._consuming, None
        if consuming is None:
            return
        await consuming.close()
        if self._owns_transport:
            await consuming.ports.transport.close()

    async def __aenter__(self) -> Self:
        self._started()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _started(self) -> Consuming:
        """The parts, with everything that an iteration took and did not hand out given back."""
        consuming = self._consuming
        if consuming is None:
            if self._closed:
                raise ClosedError("the consumer is closed")
            ports, self._owns_transport = client_ports(*self._world)
            consuming = self._consuming = Consuming(self._config, ports, self._topics)
            consuming.start()
        if self._unread:
            consuming.give_back(list(self._unread))
            self._unread.clear()
        return consuming

    @contextmanager
    def _alone(self) -> Iterator[Consuming]:
        if self._busy:
            raise ConcurrentUseError("this consumer is being polled by another task; a consumer belongs to one")
        self._busy = True
        try:
            yield self._started()
        finally:
            self._busy = False
