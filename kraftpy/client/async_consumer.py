"""The asyncio consumer: `kraftpy.aio.Consumer`."""

import asyncio
import inspect
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from random import Random
from types import TracebackType
from typing import Any, Self, Unpack

from kraftpy.client.config import ConsumerConfig
from kraftpy.client.consuming import Consuming, Deserialization
from kraftpy.client.fetch_position import EARLIEST_MS, LATEST_MS
from kraftpy.client.group.handover import Handover, OnPartitions, RebalanceListener
from kraftpy.client.group.offsets import Committable
from kraftpy.client.group.reading import GroupReading
from kraftpy.client.home_loop import HomeLoop
from kraftpy.client.keywords import ConsumerKeywords, with_bootstrap
from kraftpy.client.system import client_ports
from kraftpy.client.values import (
    ConsumerRecord,
    GroupMetadata,
    OffsetAndMetadata,
    OffsetAndTimestamp,
    OnCommit,
    TopicPartition,
    names_of,
)
from kraftpy.errors import ClosedError, ConcurrentUseError, ConfigurationError, InvalidGroupIdError
from kraftpy.runtime.ports import Clock, Transport

CALL_S = 30.0  # how long questions about offsets may take by default
CLOSE_S = 30.0  # how long close() may take by default
ITERATION_S = 3_600.0  # an iteration waits for ever; this is only how often it looks around


class Consumer:
    """Reads records: with a `group_id` the group's share of its topics, else all their partitions; or exactly the
    partitions that are assigned.

    Belongs to the event loop on which it is first used, and to one task at a time. `async for` over it waits for
    records for ever; `poll` waits for as long as it is told.
    Another task may `close` it: whoever waits in it gets `ClosedError`.
    Partitions change hands inside these two only. Settings are keyword arguments
    (`kraftpy.client.config.ConsumerConfig`).

    What `poll` has returned counts as processed once it is called again, and by `close`: auto-commit goes by that.
    Where an `async with` of it ends by an exception, what the last `poll` returned (of an iteration: its last record)
    is not committed, beyond what the program has committed itself.
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
        self._home = HomeLoop()
        self._owns_transport = False
        self._busy = False
        self._in_hand: tuple[ConsumerRecord, ...] = ()  # handed out last, and perhaps not processed
        self._closed = False
        self._ended = asyncio.Event()  # it is closed, and all of it done
        self._teller: asyncio.Task[Any] | None = None  # runs a callback of a rebalance

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *topics: str) -> Self:
        """A consumer from Kafka's dotted names: `{"bootstrap.servers": "a:9093", "auto.offset.reset": "earliest"}`."""
        return cls(*topics, _config=ConsumerConfig.from_dotted(config))

    async def poll(self, timeout: float = 1.0, max_records: int | None = None) -> list[ConsumerRecord]:
        """Up to `max_records` records (max_poll_records by default), in order within each partition.

        Returns as soon as there are any; an empty list after `timeout` seconds. Raises
        `kraftpy.client.serializers.RecordDeserializationError` at a record that cannot be deserialized,
        `OffsetOutOfRangeError` and `NoOffsetForPartitionError` where auto_offset_reset is none, `CorruptRecordError`,
        `SubscriptionError` where there is nothing to read yet; in a group why it does not take this
        consumer (the next call asks it again; after `FencedInstanceIdError` only `subscribe()` does), and what a
        callback raised.
        """
        with self._alone() as consuming:
            self._in_hand = ()
            count_max = self._config.max_poll_records if max_records is None else max_records
            if count_max < 1:
                raise ValueError(f"max_records is at least 1, not {count_max}")
            records = await self._polled(consuming, max(timeout, 0.0), count_max)
            done, rest, error = self._deserialization.many(records)
            if error is not None and not done:
                raise error
            not_done = deque(rest)
        self._in_hand = tuple(done)  # the list is the program's, to do with as it likes
        consuming.fetcher.taken = not_done  # last, and no place for Ctrl-C behind it: else what is done was lost
        return done

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ConsumerRecord:
        self._in_hand = ()
        consuming = self._consuming
        group = None if consuming is None else consuming.group
        if consuming is None or not consuming.fetcher.taken or (group is not None and group.wants_poll()):
            with self._alone() as consuming:
                while not consuming.fetcher.taken:
                    await self._polled(consuming, ITERATION_S, self._config.max_poll_records)
        elif group is not None:
            group.touched()
        if self._closed:
            raise ClosedError("the consumer is closed")
        fetcher = consuming.fetcher
        record = fetcher.taken[0]
        if self._deserialization.is_needed:
            record = self._deserialization.one(record)
        self._in_hand = (record,)
        del fetcher.taken[0]  # last, as in `poll`
        return record

    def subscribe(
        self,
        topics: str | Iterable[str] = (),
        *,
        pattern: str | re.Pattern[str] | None = None,
        on_assign: OnPartitions | None = None,
        on_revoke: OnPartitions | None = None,
        on_lost: OnPartitions | None = None,
    ) -> None:
        """Read these topics, or all whose names match `pattern` anywhere; replaces an earlier subscription.

        In a group the callbacks are called by `poll` (or the iteration), each with a list of partitions: `on_assign`
        with those that this consumer reads from now on, `on_revoke` with those that it must give up (commit what is
        processed), `on_lost` with those that others have already (`on_revoke` where it is not given). They may be
        coroutine functions, and may use the consumer, but not poll it.

        With group_protocol=consumer the coordinator reads the pattern, in RE2's syntax, and must match whole names.
        Raises `SubscriptionError` while partitions of a group's consumer are assigned by hand.
        """
        names, compiled = subscription_of(topics, pattern)
        self._started().subscribe(names, compiled, RebalanceListener(on_assign, on_revoke, on_lost))

    async def unsubscribe(self) -> None:
        """Read nothing from now on. In a group: commit where that is automatic, hand over, and leave."""
        consuming = self._started()
        await self._leave(consuming, "the consumer has unsubscribed")
        if self._consuming is consuming:  # else a callback has closed it
            consuming.unsubscribe()

    def subscription(self) -> list[str]:
        """The topics that are subscribed to; of a pattern, those that match as far as is known."""
        return self._started().subscription

    def assign(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Read exactly these (topic, partition) pairs from now on. Those that stay keep their positions.

        Raises `InvalidTopicError`, `SubscriptionError` while topics are subscribed to in a group, and `ValueError` or
        `TypeError` for a number that no partition has.
        """
        self._started().assign([TopicPartition(*place) for place in partitions])

    def assignment(self) -> list[TopicPartition]:
        """The partitions that are read; of topics, those known so far."""
        return self._started().assignment

    def seek(self, partition: tuple[str, int], offset: int | OffsetAndMetadata) -> None:
        """Go on at `offset`; where its leader epoch is known, no older leader judges it.

        Raises `NotAssignedError`, and `ValueError` for an offset that no log has.
        """
        self._started().seek(TopicPartition(*partition), offset)

    def seek_to_beginning(self, *partitions: tuple[str, int]) -> None:
        """Go on at the beginning of these partitions, of all without an argument. Raises `NotAssignedError`."""
        self._started().reset([TopicPartition(*place) for place in partitions], to_end=False)

    def seek_to_end(self, *partitions: tuple[str, int]) -> None:
        """Go on at the end of these partitions, of all without an argument. Raises `NotAssignedError`."""
        self._started().reset([TopicPartition(*place) for place in partitions], to_end=True)

    async def position(self, partition: tuple[str, int], timeout: float = CALL_S) -> int:
        """The offset of the next record. Raises `NotAssignedError`, and `CallTimeoutError` after `timeout` seconds."""
        return await self._started().position(TopicPartition(*partition), timeout)

    def pause(self, *partitions: tuple[str, int]) -> None:
        """Hand out nothing from these partitions (all without any) until `resume`. Raises `NotAssignedError`."""
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
        """The first offset of each partition. Raises `CallTimeoutError`, `UnknownTopicOrPartitionError`, and
        `ValueError` or `TypeError` for a number that no partition has."""
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

    # --- the group's offsets

    async def commit(self, offsets: Committable = None, *, timeout: float = CALL_S) -> None:
        """Commit, and wait until it is done: `offsets`, or where this consumer stands in everything that it reads.

        Raises `CommitFailedError` where the group has gone on without this consumer, `RebalanceInProgressError` while
        it is about to, `CallTimeoutError` after `timeout` seconds.
        """
        group = self._group()
        try:
            await group.committing.commit(group.to_commit(offsets), timeout * 1_000)
        finally:
            await self._tell_commits(group)

    def commit_async(self, offsets: Committable = None, callback: OnCommit | None = None) -> None:
        """Commit in the background; an older commit never overwrites a newer one.

        `callback(offsets, error)` is called by a later `poll`, `commit` or `close`; without one, failures are logged.
        """
        group = self._group()
        group.committing.commit_later(group.to_commit(offsets), callback)

    async def committed(
        self, partitions: Iterable[tuple[str, int]], *, timeout: float = CALL_S
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """The group's committed offsets, None where there is none. Raises `CallTimeoutError`.

        With isolation_level=read_committed those that a transaction is about to change are waited for (KIP-447).
        """
        places = [TopicPartition(*place) for place in partitions]
        return await self._group().committing.committed(
            places, timeout * 1_000, require_stable=self._config.isolation > 0
        )

    @property
    def in_group(self) -> bool:
        """Whether this consumer has a group_id, and so may commit."""
        return self._config.group_id is not None

    def group_metadata(self) -> GroupMetadata:
        """Who this consumer is in its group, for `producer.send_offsets`.

        Set enable_auto_commit=False with that, or what an aborted transaction has read is committed all the same; a
        warning says so once.
        """
        return self._group().metadata_for_transaction()

    async def close(self, timeout: float = CLOSE_S) -> None:
        """End: commit where that is automatic, hand over, leave the group; within `timeout` seconds. Repeatable."""
        if self._closed:
            if self._teller is not asyncio.current_task():  # else a callback of the closing itself
                with suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await self._ended.wait()
            return
        consuming = self._consuming
        if consuming is not None:
            self._started().fetcher.give_back()  # what was not handed out is not committed
        self._closed = True
        try:
            if consuming is not None:
                await self._end(consuming, timeout)
        finally:
            self._ended.set()

    async def _end(self, consuming: Consuming, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._leave(consuming, "the consumer is being closed")
        except TimeoutError:
            pass
        finally:
            self._consuming = None
            await consuming.close()
            if self._owns_transport:
                await consuming.ports.transport.close()

    async def __aenter__(self) -> Self:
        self._started()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_reading = self._consuming is not None and self._consuming.group is not None and not self._closed
        try:
            if kind is not None and is_reading:
                self._group().give_up_unprocessed(self._in_hand)
        finally:
            await self.close()

    async def _polled(self, consuming: Consuming, timeout: float, count_max: int) -> list[ConsumerRecord]:
        """Records, with all that is to be done for the group on the way."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout
        if consuming.group is not None:
            await self._tell_commits(consuming.group)
        while isinstance(outcome := await consuming.poll(ends - loop.time(), count_max), Handover):
            assert consuming.group is not None
            await self._hand_over(consuming.group, outcome)
        if consuming.group is not None and not outcome:  # else a callback that raises would take the records with it
            await self._tell_commits(consuming.group)
        return outcome

    async def _hand_over(self, group: GroupReading, handover: Handover) -> None:
        await group.begin(handover)
        try:
            await self._tell(group, handover)
        finally:
            group.end(handover)

    async def _tell(self, group: GroupReading, handover: Handover) -> None:
        """Unless a callback leaves: it knows."""
        task, before = asyncio.current_task(), self._teller
        if before is task:
            return
        self._teller = task
        try:
            await _call(group.listener.callback(handover.change), list(handover.places))
        finally:
            self._teller = before

    async def _leave(self, consuming: Consuming, reason: str) -> None:
        group = consuming.group
        if group is None:
            return
        handover = group.leaving()
        try:
            if handover is not None:
                await group.begin(handover)
                await self._tell(group, handover)
        finally:
            await group.leave(reason)
            await self._tell_commits(group)

    async def _tell_commits(self, group: GroupReading) -> None:
        while group.committing.told:
            callback, offsets, error = group.committing.told.popleft()
            await _call(callback, offsets, error)

    def _group(self) -> GroupReading:
        group = self._started().group
        if group is None:
            raise InvalidGroupIdError("this consumer has no group_id, so there is nobody to commit for")
        return group

    def _started(self) -> Consuming:
        """The parts."""
        consuming = self._consuming
        self._home.check()
        if consuming is None:
            if self._closed:
                raise ClosedError("the consumer is closed")
            self._home.settle()
            ports, self._owns_transport = client_ports(*self._world)
            consuming = self._consuming = Consuming(self._config, ports, self._topics)
            consuming.start()
        return consuming

    @contextmanager
    def _alone(self) -> Iterator[Consuming]:
        if self._busy:
            raise ConcurrentUseError("this consumer is being polled by another task; a consumer belongs to one")
        self._busy = True
        try:
            consuming = self._started()
            consuming.fetcher.give_back()
            yield consuming
        finally:
            self._busy = False


async def _call(callback: Any, *arguments: Any) -> None:
    """A user's function, which may be a coroutine function."""
    if callback is not None:
        result = callback(*arguments)
        if inspect.isawaitable(result):
            await result


def subscription_of(
    topics: str | Iterable[str], pattern: str | re.Pattern[str] | None
) -> tuple[Sequence[str], re.Pattern[str] | None]:
    """Checked: one of the two. Raises `ConfigurationError`."""
    names = names_of(topics)
    if bool(names) == (pattern is not None):
        raise ConfigurationError("subscribe() takes topics or a pattern, one of the two; unsubscribe() ends it")
    try:
        return names, re.compile(pattern) if isinstance(pattern, str) else pattern
    except re.error as error:
        raise ConfigurationError(f"pattern {pattern!r} is no regular expression: {error}") from None
