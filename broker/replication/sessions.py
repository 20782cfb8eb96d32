"""Readers, and what they remember between fetches (incremental sessions, KIP-227). The leader's side.

A reader has one `Interest` for each partition that it reads. A partition that moves marks the interests of its readers;
a fetch in a session looks at marked ones only, so it costs by the partitions that moved, and a thousand idle ones cost
nothing. A fetch without a session is a reader that lives for that fetch.

Invariants
- An interest is marked unless its last look found nothing: no records, not even such as had to wait for another fetch,
  no error, no news. What was sent stays marked until the reader asks from further on, so records lost on the way are
  sent again.
- Marked interests are looked at in the order in which they were marked; one that was served goes to the end. So a busy
  partition cannot starve others (the turn of KIP-227).
- A follower's unmarked interest stands at the end of the log, and its leader has counted it there. Its session's
  fetches vouch for it (`rested_until`).
- A follower has one session. The number of sessions is bounded: a full cache evicts the longest unused one that is idle
  for two minutes; for a follower, the longest unused consumer; else a new reader goes on without a session.
- So is the number of partitions of one reader, well above what there are: one that is unknown is told at every fetch.
"""

from collections.abc import Callable, Iterable
from random import Random
from typing import Protocol

from broker.replication.fetch_types import (
    NEW_SESSION_EPOCH,
    NO_SESSION,
    NO_SESSION_EPOCH,
    FetchQuery,
    FetchTarget,
    ForgottenPartition,
)
from broker.replication.partition import Partition
from broker.replication.surroundings import Watcher
from kraftpy.errors import FetchSessionIdNotFoundError, InvalidFetchSessionEpochError, InvalidRequestError

EVICTABLE_AFTER_MS = 120_000
EPOCH_MAX = 2**31 - 1
PARTITIONS_MAX = 10_000
"""Of one reader; or twice as many as the cluster has, where that is more."""

Find = Callable[[FetchTarget], Partition]
"""The partition of a target, or why there is none here: `UnknownTopicIdError`, `NotLeaderOrFollowerError`, …"""

Name = tuple[object, int]


def name_of(target: FetchTarget | ForgottenPartition) -> Name:
    """What a reader calls a partition: by topic id where it, or this broker, knows one."""
    return (target.topic_id or target.topic, target.partition)


class ParkedFetch(Protocol):
    """A fetch that waits for more."""

    def wake(self) -> None:
        """There may be records, or an error: look."""

    def hasten(self) -> None:
        """There is a new high watermark, which is worth less waiting than the whole wait, and more than none."""

    def release(self) -> None:
        """Answer at once, with what is there."""


class Interest(Watcher):
    """One partition of one reader: the position it last asked from, and what it was last told."""

    __slots__ = ("asked_by", "is_marked", "name", "partition", "reader", "sent_log_start", "sent_watermark", "target")

    def __init__(self, reader: "Reader", name: Name, target: FetchTarget) -> None:
        self.reader = reader
        self.name = name
        self.target = target
        self.asked_by = 0  # the number of the fetch that named it last
        self.partition: Partition | None = None  # as last found; it has this among its watchers
        self.is_marked = False
        self.sent_watermark = -1
        self.sent_log_start = -1

    def find(self, find: Find) -> Partition:
        """The partition as it stands now, which is watched from now on. Raises what `find` raises."""
        partition = find(self.target)
        if partition is not self.partition:
            self.drop()
            self.partition = partition
            partition.watchers[self] = None
        return partition

    def asked(self, target: FetchTarget) -> None:
        """The reader asks from here on. What it says that it knows counts, not what it was told: a follower passes over
        answers to fetches that were on their way when its log moved, and would never hear of it again."""
        self.target = target
        self.asked_by = self.reader.fetch_count
        if target.high_watermark >= 0:
            self.sent_watermark = min(self.sent_watermark, target.high_watermark)
        if target.log_start_offset >= 0:
            self.sent_log_start = min(self.sent_log_start, target.log_start_offset)

    def told(self, fetch_number: int, high_watermark: int, log_start_offset: int) -> None:
        """An answer to that fetch says so. What a later fetch named meanwhile does not count as told: it may say that
        the follower's log has moved, and then this answer is one of those that it passes over."""
        if self.asked_by <= fetch_number:
            self.sent_watermark = high_watermark
            self.sent_log_start = log_start_offset

    def log_end_moved(self) -> None:
        if self.reader.is_follower:
            self._wake()

    def watermark_moved(self) -> None:
        if not self.reader.is_follower:
            self._wake()
            return
        self.reader.mark(self)
        if self.reader.parked is not None and self.target.high_watermark >= 0:
            self.reader.parked.hasten()

    def changed(self) -> None:
        self._wake()

    def vouch(self) -> None:
        if self.reader.is_follower and not self.is_marked and self.partition is not None:
            self.partition.rested_until(self.reader.replica_id, self.reader.last_fetch_ms)

    def _wake(self) -> None:
        self.reader.mark(self)
        if self.reader.parked is not None:
            self.reader.parked.wake()

    def drop(self) -> None:
        """Watch nothing any more."""
        if self.partition is not None:
            self.partition.watchers.pop(self, None)
            self.partition = None


class Reader:
    """One consumer or follower, for one fetch or for a session of fetches."""

    def __init__(self, query: FetchQuery) -> None:
        self.session_id = NO_SESSION
        self.next_epoch = 1
        self.fetch_count = 0  # the number of its latest fetch, which never begins anew as epochs do
        self.replica_id = query.replica_id
        self.is_follower = query.replica_id >= 0
        self.last_fetch_ms = 0
        self.interests: dict[Name, Interest] = {}
        self.marked: dict[Interest, None] = {}
        self.parked: ParkedFetch | None = None  # while a fetch of this reader waits

    def update(self, targets: Iterable[FetchTarget], forgotten: Iterable[ForgottenPartition] = ()) -> None:
        """What changed since the last fetch, by the next one."""
        self.fetch_count += 1
        for target in targets:
            name = name_of(target)
            interest = self.interests.get(name)
            if interest is None:
                interest = self.interests[name] = Interest(self, name, target)
            interest.asked(target)
            self.mark(interest)
        for each in forgotten:
            dropped = self.interests.pop(name_of(each), None)
            if dropped is not None:
                self.marked.pop(dropped, None)
                dropped.drop()

    def mark(self, interest: Interest) -> None:
        """Look at this partition in the next fetch."""
        if interest.is_marked:
            return
        interest.vouch()
        interest.is_marked = True
        self.marked[interest] = None

    def unmark(self, interest: Interest) -> None:
        """It had nothing to say, and nothing is left to look at."""
        interest.is_marked = False
        self.marked.pop(interest, None)

    def to_the_end(self, interest: Interest) -> None:
        """It was served: everybody else who is marked comes first now."""
        self.marked[interest] = self.marked.pop(interest, None)

    def close(self) -> None:
        for interest in self.interests.values():
            interest.drop()
        self.interests.clear()
        self.marked.clear()
        if self.parked is not None:
            self.parked.release()


class Sessions:
    """The sessions that this broker keeps, by id."""

    def __init__(self, random: Random, sessions_max: int, partition_count: Callable[[], int]) -> None:
        """`partition_count()`: of the cluster, as far as this broker knows."""
        self._random = random
        self._sessions_max = sessions_max
        self._partition_count = partition_count
        self._sessions: dict[int, Reader] = {}  # in order of last use, the longest unused first
        self._follower_sessions: dict[int, int] = {}  # replica id -> its last session

    def __len__(self) -> int:
        return len(self._sessions)

    def admit(self, query: FetchQuery, now_ms: int) -> Reader:
        """The reader that `query` belongs to, brought up to date with it: a new one where it begins anew.

        That ends the session which it gives up, and another one where room is wanted. Raises
        `FetchSessionIdNotFoundError` and `InvalidFetchSessionEpochError`, upon which a reader starts a new one, and
        `InvalidRequestError` for too many partitions, which ends the session, too.
        """
        if query.session_epoch in (NO_SESSION_EPOCH, NEW_SESSION_EPOCH):
            self._end(query.session_id)
            if query.replica_id >= 0:
                self._end(self._follower_sessions.get(query.replica_id, NO_SESSION))
            reader = Reader(query)
            reader.update(query.partitions)
            self._check_size(reader)
            if query.session_epoch == NEW_SESSION_EPOCH and query.partitions and self._make_room(reader, now_ms):
                reader.session_id = self._free_id()
                self._sessions[reader.session_id] = reader
                if reader.is_follower:
                    self._follower_sessions[reader.replica_id] = reader.session_id
        else:
            reader = self._continued(query)
            before = len(reader.interests)
            reader.update(query.partitions, query.forgotten)
            self._check_size(reader, before)
        reader.last_fetch_ms = now_ms
        return reader

    def _check_size(self, reader: Reader, before: int = 0) -> None:
        """It has not grown since `before` beyond what there can be: else it ends. Raises `InvalidRequestError`."""
        count = len(reader.interests)
        if count > max(before, PARTITIONS_MAX) and count > 2 * self._partition_count():
            self._end(reader.session_id)
            raise InvalidRequestError(
                f"a fetch names {count} partitions, more than twice as many as there are: begin anew with those that "
                "metadata tells of"
            )

    def _continued(self, query: FetchQuery) -> Reader:
        reader = self._sessions.get(query.session_id)
        if reader is None or reader.replica_id != query.replica_id:
            raise FetchSessionIdNotFoundError(f"fetch session {query.session_id} is not known here")
        if query.session_epoch != reader.next_epoch:
            raise InvalidFetchSessionEpochError(
                f"fetch session {query.session_id} goes on with {reader.next_epoch}, not {query.session_epoch}"
            )
        if reader.parked is not None:
            reader.parked.release()  # one fetch of a session waits at a time: the next one releases it
        reader.next_epoch = 1 if reader.next_epoch == EPOCH_MAX else reader.next_epoch + 1
        self._sessions[query.session_id] = self._sessions.pop(query.session_id)
        return reader

    def _end(self, session_id: int) -> None:
        reader = self._sessions.pop(session_id, None)
        if reader is not None:
            reader.close()

    def _make_room(self, newcomer: Reader, now_ms: int) -> bool:
        if len(self._sessions) < self._sessions_max:
            return True
        for session_id, reader in self._sessions.items():
            idle_ms = now_ms - reader.last_fetch_ms
            if idle_ms >= EVICTABLE_AFTER_MS or (newcomer.is_follower and not reader.is_follower):
                self._end(session_id)
                return True
        return False

    def _free_id(self) -> int:
        while True:
            session_id = self._random.randrange(1, 2**31)
            if session_id not in self._sessions:
                return session_id
