"""Serving fetches: look, and where there is too little, wait until partitions move or the time is over.

A fetch is answered at once when it found `min_bytes`, or more than it has room for, an error, a divergence, or may not
wait. Else it is parked with its reader; a partition that moves wakes it (`sessions.Interest`), and the look is taken
after everything else that is ready in the loop: so one answer carries all that one Produce request wrote, to however
many partitions.

Invariants
- The first batch found is sent even where it is larger than every limit; after it the limits hold. What did not fit
  stays marked and comes before what was served, so in its turn it is the first. A reader that asks from where there
  is nothing more, and only such a one, is unmarked.
- A look costs by the marked partitions of the reader. A follower's position is noted once a fetch, before the look.
- A follower out of sync that is throttled (KIP-73) gets no records while its share is spent; they wait likewise.
- The number of parked fetches is bounded; beyond it a fetch is answered with what is there.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from broker.replication.fetch_types import (
    NEW_SESSION_EPOCH,
    TURN_PARTITIONS,
    CurrentLeader,
    FetchAnswer,
    FetchedPartition,
    FetchQuery,
    FetchTarget,
    IsolationLevel,
)
from broker.replication.partition import Partition
from broker.replication.purgatory import Deadline, Deadlines
from broker.replication.selecting import RackOf, nearer_replica
from broker.replication.sessions import Find, Interest, Reader, Sessions
from broker.replication.throttle import Throttle
from kraftpy.errors import (
    CorruptRecordError,
    FencedLeaderEpochError,
    KraftpyError,
    NotLeaderOrFollowerError,
    OffsetNotAvailableError,
    OffsetOutOfRangeError,
)
from kraftpy.runtime.ports import Clock, Disk
from log_store.fence import is_unreadable

NO_REPLICA = -1

Hint = Callable[[UUID | None, str, int], CurrentLeader | None]
"""Who leads (topic id, else topic name; partition), as far as metadata knows."""


@dataclass(slots=True)
class Look:
    """What one look found."""

    found: list[tuple[Interest, FetchedPartition]]
    size_bytes: int = 0
    is_full: bool = False  # it has something, and something else that is there has to come later
    is_urgent: bool = False  # an error, or a divergence: the reader must know now

    def is_enough(self, query: FetchQuery) -> bool:
        """Whether to answer with it, rather than to wait for more."""
        return self.is_urgent or self.is_full or self.size_bytes >= query.min_bytes

    def answer(self, reader: Reader, fetch_number: int) -> FetchAnswer:
        """Tell it, as the answer to the reader's fetch of that number. Only now does it count as told."""
        for interest, partition in self.found:
            watermark = partition.high_watermark if partition.error is None else -1
            interest.told(fetch_number, watermark, partition.log_start_offset)
        return FetchAnswer([partition for _, partition in self.found], reader.session_id)


class Reading:
    """All fetches that this broker serves."""

    def __init__(
        self,
        find: Find,
        hint: Hint,
        sessions: Sessions,
        clock: Clock,
        disk: Disk,
        deadlines: Deadlines,
        parked_max: int,
        watermark_news_delay_ms: int,
        throttle: Throttle,
        rack_of: RackOf | None = None,
    ) -> None:
        """`rack_of`: consumers are sent to a replica in their rack; None: leaders serve everybody."""
        self._find = find
        self._hint = hint
        self._sessions = sessions
        self._clock = clock
        self._disk = disk
        self._deadlines = deadlines
        self._parked_max = parked_max
        self._throttle = throttle
        self._rack_of = rack_of
        self.watermark_news_delay_ms = watermark_news_delay_ms
        self.parked: dict[Parking, None] = {}

    async def fetch(self, query: FetchQuery) -> FetchAnswer:
        """Answer a fetch, waiting up to `query.max_wait_ms` for `query.min_bytes`."""
        now_ms = self._clock.monotonic_ms()
        try:
            reader = self._sessions.admit(query, now_ms)
        except KraftpyError as error:
            return FetchAnswer([], error=type(error))
        fetch_number = reader.fetch_count
        is_large = len(query.partitions) > TURN_PARTITIONS
        try:
            if is_large:
                await asyncio.sleep(0)
            self._find_partitions(reader, query)
            if is_large:
                await asyncio.sleep(0)
            await self._bring_in(reader, query)
            look = self.look(reader, query)
            if (
                look.is_enough(query)
                or query.max_wait_ms <= 0
                or not reader.interests
                or len(self.parked) >= self._parked_max
            ):
                return look.answer(reader, fetch_number)
            look = await self._park(reader, query, now_ms + query.max_wait_ms)
            return look.answer(reader, fetch_number)
        finally:
            if not reader.session_id:
                reader.close()

    async def _park(self, reader: Reader, query: FetchQuery, due_ms: int) -> Look:
        parking = Parking(self, reader, query)
        parking.deadline = self._deadlines.add(due_ms, parking.release)
        self.parked[parking] = None
        reader.parked = parking
        try:
            return await parking.future
        finally:
            parking.deadline.cancel()
            self.parked.pop(parking, None)
            if reader.parked is parking:
                reader.parked = None

    def hasten(self, parking: "Parking") -> None:
        """Let a parked fetch end soon."""
        due_ms = self._clock.monotonic_ms() + self.watermark_news_delay_ms
        assert parking.deadline is not None
        if due_ms < parking.deadline.due_ms:
            parking.deadline.cancel()
            parking.deadline = self._deadlines.add(due_ms, parking.release)

    def release_all(self) -> None:
        """The broker stops: answer everybody with what is there."""
        for parking in list(self.parked):
            parking.release()

    async def _bring_in(self, reader: Reader, query: FetchQuery) -> None:
        """Let a disk thread read what is not in memory: cold data must not stall the loop."""
        left = query.max_bytes
        for interest in list(reader.marked):
            partition = interest.partition
            if left <= 0:
                return
            if partition is None or interest.target.offset >= partition.log.end_offset:
                continue
            if reader.is_follower and self._is_held_back(partition, query.replica_id):
                continue
            try:
                replica_id = query.replica_id if reader.is_follower else NO_REPLICA
                prefetch = partition.prefetch(interest.target, left, query.any_replica, replica_id)
                left -= min(interest.target.max_bytes, left)
                if prefetch is not None:
                    partition.found_damage(prefetch, await self._disk.run(prefetch))
            except (KraftpyError, OSError):
                continue  # the look meets it again, and tells it

    # --- looking -----------------------------------------------------------------------------------------------------

    def _find_partitions(self, reader: Reader, query: FetchQuery) -> None:
        """Find those that are marked, and note a follower's positions."""
        for interest in list(reader.marked):
            try:
                partition = interest.find(self._find)
                if reader.is_follower:
                    partition.note_fetch(query.replica_id, query.replica_epoch, interest.target)
            except KraftpyError:
                continue  # the look meets it again, and tells it

    def look(self, reader: Reader, query: FetchQuery) -> Look:
        """Look at everything marked (in a new session or without one: at everything), within the query's limits."""
        tells_all = not reader.session_id or query.session_epoch == NEW_SESSION_EPOCH
        look = Look([])
        for interest in list(reader.interests.values() if tells_all else reader.marked):
            left = query.max_bytes - look.size_bytes
            if left <= 0 and not tells_all:
                break
            found = self._read(interest, reader, query, max(0, left), look)
            has_news = _has_news(interest, found)
            if has_news or tells_all:
                look.found.append((interest, found))
            if found.size_bytes:
                look.size_bytes += found.size_bytes
                if interest.is_marked:
                    reader.to_the_end(interest)
            elif _leaves_some(interest, reader, query):
                look.is_full |= look.size_bytes > 0
            elif not has_news and interest.is_marked and _may_rest(interest):
                reader.unmark(interest)
        return look

    def _read(self, interest: Interest, reader: Reader, query: FetchQuery, left: int, look: Look) -> FetchedPartition:
        target, partition = interest.target, None
        try:
            partition = interest.find(self._find)
            is_throttled = False
            if reader.is_follower:
                partition.replica(query.replica_id, query.replica_epoch, target)
                is_throttled = self._is_throttled(partition, query.replica_id)
                if is_throttled and self._throttle.wait_ms(self._clock.monotonic_ms()):
                    left = 0
            committed = query.isolation_level is IsolationLevel.READ_COMMITTED
            nothing_yet = look.size_bytes == 0
            nearer = self._nearer_replica(partition, query, target)
            if nearer is not None:
                left = 0
            found = partition.read(target, reader.is_follower, committed, left, nothing_yet, query.any_replica)
            if nearer is not None and found.diverging is None:
                found = found._replace(preferred_read_replica=nearer)
            look.is_urgent |= found.diverging is not None or found.preferred_read_replica >= 0
            if reader.is_follower and partition.start_waits:
                look.is_urgent |= found.log_start_offset != interest.sent_log_start  # somebody waits for it to follow
            if is_throttled and found.size_bytes:
                self._throttle.take(found.size_bytes, self._clock.monotonic_ms())
            return found
        except KraftpyError as error:
            # A leader that does not know yet what is committed will know soon: that alone is worth waiting for.
            look.is_urgent |= not isinstance(error, OffsetNotAvailableError)
            if partition is not None and (isinstance(error, CorruptRecordError) or is_unreadable(error)):
                partition.suspect(target.offset)
            moved = isinstance(error, NotLeaderOrFollowerError | FencedLeaderEpochError) and not _is_deserted(partition)
            outside = isinstance(error, OffsetOutOfRangeError)  # its reader is told where the log begins and ends
            return FetchedPartition(
                target=target,
                error=type(error),
                high_watermark=partition.high_watermark if partition is not None and outside else -1,
                log_start_offset=-1 if partition is None else partition.log.start_offset,
                leader=self._hint(target.topic_id, target.topic, target.partition) if moved else None,
            )

    def _is_throttled(self, partition: Partition, replica_id: int) -> bool:
        """Whether that follower is out of sync and on the list of those that take no more than their share."""
        if not self._throttle.concerns(partition.topic, partition.key.partition, replica_id):
            return False
        return partition.leadership is not None and replica_id not in partition.leadership.in_sync.committed

    def _is_held_back(self, partition: Partition, replica_id: int) -> bool:
        return self._is_throttled(partition, replica_id) and self._throttle.wait_ms(self._clock.monotonic_ms()) > 0

    def _nearer_replica(self, partition: Partition, query: FetchQuery, target: FetchTarget) -> int | None:
        """Whom this consumer is to ask instead."""
        if self._rack_of is None or not query.any_replica or partition.leadership is None:
            return None
        return nearer_replica(partition.leadership, target.offset, query.rack, self._rack_of)


def _is_deserted(partition: Partition | None) -> bool:
    """Then metadata here does not know who leads."""
    return partition is not None and partition.leadership is not None and partition.leadership.is_deserted


def _may_rest(interest: Interest) -> bool:
    """A follower's rest counts from the position that its leader has of it. There is none yet where the leadership
    began after its fetch had come, which was too early to count: the next one of its session does."""
    reader, partition = interest.reader, interest.partition
    return not reader.is_follower or partition is None or partition.knows(reader.replica_id, interest.target.offset)


def _has_news(interest: Interest, found: FetchedPartition) -> bool:
    return (
        found.size_bytes > 0
        or found.error is not None
        or found.diverging is not None
        or found.preferred_read_replica >= 0
        or found.high_watermark != interest.sent_watermark
        or found.log_start_offset != interest.sent_log_start
    )


def _leaves_some(interest: Interest, reader: Reader, query: FetchQuery) -> bool:
    """Whether there is something to read, for which there was no room or no share."""
    partition = interest.partition
    if partition is None:
        return False
    if reader.is_follower:
        end_offset = partition.log.end_offset
    elif query.isolation_level is IsolationLevel.READ_COMMITTED:
        end_offset = partition.last_stable_offset
    else:
        end_offset = partition.high_watermark
    return interest.target.offset < end_offset


class Parking:
    """One fetch that waits. Whatever wakes it, the look is taken once, after what else is ready."""

    def __init__(self, reading: Reading, reader: Reader, query: FetchQuery) -> None:
        loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Look] = loop.create_future()
        self.deadline: Deadline | None = None
        self._reading = reading
        self._reader = reader
        self._query = query
        self._is_awake = False
        self._is_hastened = False

    def wake(self) -> None:
        if not self._is_awake and not self.future.done():
            self._is_awake = True
            asyncio.get_running_loop().call_soon(self._look)

    def hasten(self) -> None:
        if not self._is_hastened and not self.future.done():
            self._is_hastened = True
            self._reading.hasten(self)

    def release(self) -> None:
        if not self.future.done():
            self.future.set_result(self._reading.look(self._reader, self._query))

    def _look(self) -> None:
        self._is_awake = False
        if self.future.done():
            return
        look = self._reading.look(self._reader, self._query)
        if look.is_enough(self._query):
            self.future.set_result(look)
