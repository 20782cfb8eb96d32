"""The blocking consumer: `kraftpy.Consumer`. It belongs to one thread at a time, and says so when it does not."""

import asyncio
import re
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from kraftpy.client.async_consumer import CALL_S, CLOSE_S, ITERATION_S, subscription_of
from kraftpy.client.config import ConsumerConfig
from kraftpy.client.consuming import Consuming, Deserialization
from kraftpy.client.fetch_position import EARLIEST_MS, LATEST_MS
from kraftpy.client.group.handover import Handover, OnPartitions, RebalanceListener
from kraftpy.client.group.offsets import Committable
from kraftpy.client.group.reading import GroupReading
from kraftpy.client.keywords import ConsumerKeywords, with_bootstrap
from kraftpy.client.loop_thread import LoopThread, acquire, release
from kraftpy.client.system import client_ports
from kraftpy.client.values import (
    ConsumerRecord,
    GroupMetadata,
    OffsetAndMetadata,
    OffsetAndTimestamp,
    OnCommit,
    TopicPartition,
)
from kraftpy.errors import ClosedError, ConcurrentUseError, InvalidGroupIdError
from kraftpy.runtime.ports import Clock, Transport

GOODBYE_S = 0.5  # for leaving the group, also where the time is used up: else others wait until the session ends

T = TypeVar("T")


class Consumer:
    """Reads records: with a `group_id` the group's share of its topics, else all their partitions; or exactly the
    partitions that are assigned.

    Belongs to one thread at a time: a call while another thread is inside one raises `ConcurrentUseError`. `for` over
    it waits for records for ever; `poll` waits for as long as it is told. Deserializers run on the caller's thread.
    Settings are keyword arguments (`kraftpy.client.config.ConsumerConfig`).

    What `poll` has returned counts as processed once it is called again, and by `close`: auto-commit goes by that.
    Where a `with` of it ends by an exception (Ctrl-C is one), what the last `poll` returned (of an iteration: its last
    record) is not committed, beyond what the program has committed itself.
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
        self._user = threading.RLock()  # held by the thread that is inside a call; its callbacks may call again
        self._in_hand: tuple[ConsumerRecord, ...] = ()  # handed out last, and perhaps not processed
        self._is_polling = False
        self._is_telling = False  # a callback of a rebalance runs
        self._is_closing = False
        self._thread: LoopThread | None = acquire()
        try:
            self._consuming = self._thread.run(self._make, topics, _transport, _clock, _random)
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
        `OffsetOutOfRangeError` and `NoOffsetForPartitionError` where auto_offset_reset is none, `CorruptRecordError`,
        `SubscriptionError` where there is nothing to read yet; in a group why it does not take this
        consumer (the next call asks it again; after `FencedInstanceIdError` only `subscribe()` does), and what a
        callback raised.
        """
        with self._alone() as thread:
            self._in_hand = ()
            count_max = self._config.max_poll_records if max_records is None else max_records
            if count_max < 1:
                raise ValueError(f"max_records is at least 1, not {count_max}")
            records = self._poll(thread, max(timeout, 0.0), count_max)
            done, rest, error = self._deserialization.many(records)
            if error is not None and not done:
                raise error
            not_done = deque(rest)
        self._in_hand = tuple(done)  # the list is the program's, to do with as it likes
        self._consuming.fetcher.taken = not_done  # last, and no place for Ctrl-C behind it: else what is done was lost
        return done

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ConsumerRecord:
        with self._alone() as thread:
            self._in_hand = ()
            group, fetcher = self._consuming.group, self._consuming.fetcher
            if group is not None and fetcher.taken:
                if group.wants_poll():
                    thread.run(self._returned)
                else:
                    group.touched()
            while not fetcher.taken:
                self._poll(thread, ITERATION_S, self._config.max_poll_records)
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

        In a group the callbacks are called by `poll` (or the iteration), on the thread that polls, each with a list of
        partitions: `on_assign` with those that this consumer reads from now on, `on_revoke` with those that it must
        give up (commit what is processed), `on_lost` with those that others have already (`on_revoke` where it is not
        given). They may use the consumer, but not poll it.

        With group_protocol=consumer the coordinator reads the pattern, in RE2's syntax, and must match whole names.
        Raises `SubscriptionError` while partitions of a group's consumer are assigned by hand.
        """
        names, compiled = subscription_of(topics, pattern)
        listener = RebalanceListener(on_assign, on_revoke, on_lost)
        self._do(lambda consuming: consuming.subscribe(names, compiled, listener))

    def unsubscribe(self) -> None:
        """Read nothing from now on. In a group: commit where that is automatic, hand over, and leave."""
        with self._alone() as thread:
            self._leave(thread, "the consumer has unsubscribed")
            if self._thread is not None:  # else a callback has closed it
                self._do(lambda consuming: consuming.unsubscribe())

    def subscription(self) -> list[str]:
        """The topics that are subscribed to; of a pattern, those that match as far as is known."""
        return self._do(lambda consuming: consuming.subscription)

    def assign(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Read exactly these (topic, partition) pairs from now on. Those that stay keep their positions.

        Raises `InvalidTopicError`, `SubscriptionError` while topics are subscribed to in a group, and `ValueError` or
        `TypeError` for a number that no partition has.
        """
        places = [TopicPartition(*place) for place in partitions]
        self._do(lambda consuming: consuming.assign(places))

    def assignment(self) -> list[TopicPartition]:
        """The partitions that are read; of topics, those known so far."""
        return self._do(lambda consuming: consuming.assignment)

    def seek(self, partition: tuple[str, int], offset: int | OffsetAndMetadata) -> None:
        """Go on at `offset`; where its leader epoch is known, no older leader judges it.

        Raises `NotAssignedError`, and `ValueError` for an offset that no log has.
        """
        self._do(lambda consuming: consuming.seek(TopicPartition(*partition), offset))

    def seek_to_beginning(self, *partitions: tuple[str, int]) -> None:
        """Go on at the beginning of these partitions, of all without an argument. Raises `NotAssignedError`."""
        places = [TopicPartition(*place) for place in partitions]
        self._do(lambda consuming: consuming.reset(places, to_end=False))

    def seek_to_end(self, *partitions: tuple[str, int]) -> None:
        """Go on at the end of these partitions, of all without an argument. Raises `NotAssignedError`."""
        places = [TopicPartition(*place) for place in partitions]
        self._do(lambda consuming: consuming.reset(places, to_end=True))

    def position(self, partition: tuple[str, int], timeout: float = CALL_S) -> int:
        """The offset of the next record. Raises `NotAssignedError`, and `CallTimeoutError` after `timeout` seconds."""
        return self._ask(lambda consuming: consuming.position(TopicPartition(*partition), timeout))

    def pause(self, *partitions: tuple[str, int]) -> None:
        """Hand out nothing from these partitions (all without any) until `resume`. Raises `NotAssignedError`."""
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
        """The first offset of each partition. Raises `CallTimeoutError`, `UnknownTopicOrPartitionError`, and
        `ValueError` or `TypeError` for a number that no partition has."""
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

    # --- the group's offsets

    def commit(self, offsets: Committable = None, *, timeout: float = CALL_S) -> None:
        """Commit, and wait until it is done: `offsets`, or where this consumer stands in everything that it reads.

        Raises `CommitFailedError` where the group has gone on without this consumer, `RebalanceInProgressError` while
        it is about to, `CallTimeoutError` after `timeout` seconds.
        """

        def work(consuming: Consuming) -> Coroutine[Any, Any, None]:
            group = _group(consuming)
            return group.committing.commit(group.to_commit(offsets), timeout * 1_000)

        with self._alone():
            try:
                self._ask(work)
            finally:
                self._tell_commits()

    def commit_async(self, offsets: Committable = None, callback: OnCommit | None = None) -> None:
        """Commit in the background; an older commit never overwrites a newer one.

        `callback(offsets, error)` is called by a later `poll`, `commit` or `close`, on the caller's thread; without
        one, failures are logged.
        """

        def work(consuming: Consuming) -> None:
            group = _group(consuming)
            group.committing.commit_later(group.to_commit(offsets), callback)

        self._do(work)

    def committed(
        self, partitions: Iterable[tuple[str, int]], *, timeout: float = CALL_S
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """The group's committed offsets, None where there is none. Raises `CallTimeoutError`.

        With isolation_level=read_committed those that a transaction is about to change are waited for (KIP-447).
        """
        places = [TopicPartition(*place) for place in partitions]
        return self._ask(
            lambda consuming: _group(consuming).committing.committed(
                places, timeout * 1_000, require_stable=self._config.isolation > 0
            )
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
        return self._do(lambda consuming: _group(consuming).metadata_for_transaction())

    def close(self, timeout: float = CLOSE_S) -> None:
        """End: commit where that is automatic, hand over, leave the group; within `timeout` seconds. Repeatable.

        Leaving has half a second in any case, also where the rest has used them up.
        """
        if self._thread is None:
            return
        with self._alone() as thread:
            if self._is_closing:
                return  # and a callback says so again
            thread.check()  # else it was refused all that a close does, and closed nevertheless
            self._is_closing = True
            try:
                thread.run(self._returned)  # what was not handed out is not committed
                self._leave(thread, "the consumer is being closed", timeout)
            finally:
                try:
                    thread.run(self._end)
                finally:
                    self._thread = None
                    release(thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None and self._thread is not None and self.in_group:
                in_hand = self._in_hand
                self._do(lambda consuming: _group(consuming).give_up_unprocessed(in_hand))
        finally:
            self.close()

    async def _make(
        self, topics: tuple[str, ...], transport: Transport | None, clock: Clock | None, random: Random | None
    ) -> Consuming:
        ports, self._owns_transport = client_ports(transport, clock, random)
        consuming = Consuming(self._config, ports, topics)
        consuming.start()
        return consuming

    def _poll(self, thread: LoopThread, timeout: float, count_max: int) -> list[ConsumerRecord]:
        """Records, with all that is to be done for the group on the way; callbacks run here, on the user's thread."""
        if self._is_polling:
            raise ConcurrentUseError("a callback of a rebalance must not poll the consumer that calls it")
        self._tell_commits()
        clock = self._consuming.ports.clock
        ends_ms = clock.monotonic_ms() + timeout * 1_000
        try:
            self._is_polling = True
            while isinstance(outcome := thread.run(self._polled, timeout, count_max), Handover):
                self._hand_over(thread, outcome)
                if self._thread is None:
                    raise ClosedError("the consumer was closed by its own callback")
                timeout = max(ends_ms - clock.monotonic_ms(), 0) / 1_000
        finally:
            self._is_polling = False
        if not outcome:  # else a callback that raises would take the records with it
            self._tell_commits()
        return outcome

    def _hand_over(self, thread: LoopThread, handover: Handover) -> None:
        group = self._consuming.group
        assert group is not None
        thread.run(group.begin, handover)

        async def end() -> None:
            group.end(handover)

        try:
            self._tell(group, handover)
        finally:
            if self._thread is not None:
                thread.run(end)

    def _tell(self, group: GroupReading, handover: Handover) -> None:
        """Unless a callback leaves: it knows."""
        callback = group.listener.callback(handover.change)
        if callback is None or self._is_telling:
            return
        self._is_telling = True
        try:
            callback(list(handover.places))
        finally:
            self._is_telling = False

    def _leave(self, thread: LoopThread, reason: str, timeout: float | None = None) -> None:
        group = self._consuming.group
        if group is None:
            return

        clock = self._consuming.ports.clock
        ends_ms = None if timeout is None else clock.monotonic_ms() + timeout * 1_000

        def left_s(at_least_s: float = 0) -> float | None:
            return None if ends_ms is None else max((ends_ms - clock.monotonic_ms()) / 1_000, at_least_s)

        async def begin() -> Handover | None:
            handover = group.leaving()
            if handover is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left_s()):
                        await group.begin(handover)
            return handover

        async def leave() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s(GOODBYE_S)):
                    await group.leave(reason)

        try:
            handover = thread.run(begin)
            if handover is not None:
                self._tell(group, handover)
        finally:
            if self._thread is not None:
                thread.run(leave)
                self._tell_commits()

    def _tell_commits(self) -> None:
        group = self._consuming.group
        while group is not None and group.committing.told:
            callback, offsets, error = group.committing.told.popleft()
            callback(offsets, error)

    async def _polled(self, timeout: float, count_max: int) -> list[ConsumerRecord] | Handover:
        self._consuming.fetcher.give_back()
        return await self._consuming.poll(timeout, count_max)

    async def _returned(self) -> None:
        """What was taken and not handed out waits to be taken again."""
        self._consuming.fetcher.give_back()

    async def _end(self) -> None:
        await asyncio.shield(self._end_parts())  # Ctrl-C ends the wait for it, and no more

    async def _end_parts(self) -> None:
        await self._consuming.close()
        if self._owns_transport:
            await self._consuming.ports.transport.close()

    def _do(self, work: Callable[[Consuming], T]) -> T:
        async def on_loop() -> T:
            return work(self._consuming)

        with self._alone() as thread:
            return thread.run(on_loop)

    def _ask(self, work: Callable[[Consuming], Coroutine[Any, Any, T]]) -> T:
        async def on_loop() -> T:
            return await work(self._consuming)

        with self._alone() as thread:
            return thread.run(on_loop)

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


def _group(consuming: Consuming) -> GroupReading:
    if consuming.group is None:
        raise InvalidGroupIdError("this consumer has no group_id, so there is nobody to commit for")
    return consuming.group
