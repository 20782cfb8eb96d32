"""Moving replicas from one log directory of this broker to another, while they go on serving (KIP-113).

    asked ─→ copying (`t-0.…-future` grows) ─→ arrived (it has the log's name) ─→ switched ─→ old log deleted

| a crash while            | leaves                       | and the next life                                          |
|--------------------------|------------------------------|------------------------------------------------------------|
| copying                  | the log, and a future        | goes on copying                                            |
| arrived                  | two logs of one name         | keeps the one that goes further: the log; copies on        |
| switched, not yet flushed| two logs of one name         | keeps the one that goes further: it has what was counted   |
| switched, flushed        | the new log, perhaps both    | keeps the new one                                          |

Invariants
- The copy is never ahead of the log in anything that counts: it is cut where the log was cut, by epochs (KIP-101).
- Between the look that finds both equal and the switch nothing is awaited, so nothing is appended in between.
- The old log is deleted only after the new one, and the inventory that names its directory, are durable.
- Who waits for a flush of the old log when the partition is switched is told once the new one is durable.
- While a log is copied it is not compacted, and a copy that an earlier life left goes on only where the log is not
  clean beyond its end: else it would have what a tombstone deleted, and the tombstone would be gone when its turn
  comes. For the same reason no copy is left of a log that turned out to be damaged, here or elsewhere (`Repairs`): it
  may be fetched anew from a leader that has compacted. Retention may go on: it takes what is oldest, and the new log
  starts no earlier than the old one.
- A partition has at most one move; a move ends with the partition, with its directories, or when it is cancelled.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from broker.metadata.state import PartitionKey
from broker.replication.hosting import Hosting
from broker.replication.partition import Partition
from broker.replication.truncation import EpochEnd, diverging_end, truncation_offset
from kraftpy.errors import InvalidRequestError, KafkaStorageError, KraftpyError, LogDirNotFoundError
from kraftpy.record import iterate_headers
from kraftpy.runtime.ports import Clock
from log_store.file_names import future_name, has_future_name
from log_store.log import Log
from log_store.log_directory import LogDirectory

logger = logging.getLogger(__name__)

CHUNK_BYTES = 256 * 1024
"""Copied in one go on the loop, at most: about 0.3 ms."""
CHUNKS_PER_SECOND = 10
PACE_SLICE_S = 0.2
"""Where the pace is limited: smaller chunks rather than long pauses, so that another limit soon holds."""
FLUSH_BYTES = 8 * 1024 * 1024
"""A copy is flushed so often, so that the last flush, for which the switch waits, has little to do."""


@dataclass(slots=True, eq=False)
class Move:
    """One replica on its way to another directory."""

    partition: Partition
    target: LogDirectory
    copy: Log | None = None  # None: waiting for its turn
    is_cancelled: bool = False  # its files are to go
    unflushed_bytes: int = 0

    @property
    def offset_lag(self) -> int:
        """How far the copy is behind the log."""
        log = self.partition.log
        return log.end_offset - (log.start_offset if self.copy is None else self.copy.end_offset)


class _Ended(Exception):
    """The move cannot go on, or must not."""


class DirectoryMoves:
    """The moves of this broker; at most `moves_max` copy at a time, the others wait."""

    def __init__(
        self,
        hosting: Hosting,
        clock: Clock,
        spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], None],
        moves_max: int,
        bytes_per_second: int,
    ) -> None:
        self.bytes_per_second = bytes_per_second
        """Of each copy; may be changed at any time."""
        self._hosting = hosting
        self._clock = clock
        self._spawn = spawn
        self._moves_max = moves_max
        self._moves: dict[PartitionKey, Move] = {}
        self._waiting: dict[PartitionKey, None] = {}
        self._running: dict[str, None] = {}  # by log name: one that was cancelled may not have ended yet
        self._workers = 0
        self._is_stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    # --- asking ------------------------------------------------------------------------------------------------------

    def move(self, partition: Partition, path: str) -> None:
        """Move the replica to the directory `path`; where it is there already, cancel the move that is under way.

        Raises `LogDirNotFoundError`: no directory of this broker; `KafkaStorageError`: that directory, or the
        replica's own, failed; `InvalidRequestError`: its name is too long.
        """
        target = self._hosting.directory_at(path)
        if target is None:
            raise LogDirNotFoundError(f"{path} is not among this broker's log.dirs")
        if partition.is_offline:
            raise KafkaStorageError(f"the log directory of {partition.name} failed")
        if not has_future_name(partition.log.name):
            raise InvalidRequestError(f"{partition.name} is too long a name for that of a copy, and cannot be moved")
        target.fence.check()
        under_way = self._moves.get(partition.key)
        if under_way is not None and under_way.target is target and not under_way.is_cancelled:
            return
        if under_way is not None:
            self.cancel(partition.key)
        if target is not self._hosting.home_of(partition):
            self._begin(Move(partition, target))

    def cancel(self, key: PartitionKey) -> None:
        """Give up the move of the partition, if there is one, with what was copied."""
        move = self._moves.pop(key, None)
        if move is not None:
            move.is_cancelled = True
            if self._waiting.pop(key, True) is None:  # else whoever carries it out sees to that
                move.partition.log.compacting.resume()
                if move.partition.log.name not in self._running:
                    self._discard(move)

    def resume(self, partition: Partition) -> None:
        """Go on with what an earlier life left of a move of the partition, which begins to be held."""
        name = partition.log.name
        for home in self._hosting.directories:
            if name in home.futures and name not in self._running:
                is_ours = home.futures[name] == future_name(name, partition.key.topic_id.int)
                if is_ours and partition.key not in self._moves and self._hosting.home_of(partition) is not home:
                    self._begin(Move(partition, home))
                else:
                    self._delete_future(home, name, None)

    def under_way(self) -> list[Move]:
        """Every move, in the order of asking."""
        return list(self._moves.values())

    async def stop(self) -> None:
        """Leave every copy as it is; the next life goes on."""
        self._is_stopping = True
        self._waiting.clear()
        await self._idle.wait()

    def _begin(self, move: Move) -> None:
        logger.info("%s moves to %s", move.partition.name, move.target.path)
        move.partition.log.compacting.pause()
        self._moves[move.partition.key] = move
        self._waiting[move.partition.key] = None
        if self._workers < self._moves_max and not self._is_stopping:
            self._workers += 1
            self._idle.clear()
            self._spawn(self._work)

    async def _work(self) -> None:
        try:
            while (move := self._next()) is not None:
                await self._run(move)
        finally:
            self._workers -= 1
            if not self._workers:
                self._idle.set()

    def _next(self) -> Move | None:
        """The first that waits, but for those whose log has an earlier move to end: its worker comes next."""
        for key in self._waiting:
            if self._moves[key].partition.log.name not in self._running:
                del self._waiting[key]
                return self._moves[key]
        return None

    # --- one move ----------------------------------------------------------------------------------------------------

    async def _run(self, move: Move) -> None:
        name = move.partition.log.name
        self._running[name] = None
        try:
            await self._carry_out(move, name)
            logger.info("%s is in %s now", name, move.target.path)
        except _Ended as reason:
            logger.info("%s does not move to %s: %s", name, move.target.path, reason)
        except KraftpyError as error:  # a directory failed, or a batch that the log has is refused by the copy
            logger.error("%s does not move to %s: %s", name, move.target.path, error)
            if move.target.failure is None and not move.partition.is_offline:
                move.is_cancelled = True  # it was for damage
        finally:
            if move.copy is None or move.copy is not move.partition.log:  # else the partition goes on with it
                if move.is_cancelled:
                    self._discard(move)
                elif move.copy is not None:
                    move.copy.close(clean=False)
            del self._running[name]
            if self._moves.get(move.partition.key) is move:
                del self._moves[move.partition.key]
            if move.partition.key not in self._moves and not self._is_stopping:  # the next life goes on with the copy
                move.partition.log.compacting.resume()

    async def _carry_out(self, move: Move, name: str) -> None:
        partition, target = move.partition, move.target
        log = partition.log
        topic_id: UUID = partition.key.topic_id
        while log.compacting.is_swapping:  # else it would be copied in part as it was before
            await self._hosting.make_durable(partition)  # which does not wait for what others have begun
            await asyncio.sleep(PACE_SLICE_S)
            self._check(move)
        move.copy = await target.open_future(
            name, log.config, topic_id=topic_id, start_offset=log.start_offset, wall_ms=self._clock.wall_ms()
        )
        if move.copy.start_offset < move.copy.end_offset < log.compacting.first_dirty_offset:
            move.copy.reset(log.start_offset, wall_ms=self._clock.wall_ms())
        await self._catch_up(move, move.copy)
        await target.flusher.flush(move.copy)
        self._check(move)
        move.copy = await target.arrive(name, move.copy, self._clock.wall_ms())
        await self._catch_up(move, move.copy)
        target.fence.check()  # it tells of its failure once: a log that comes later is not told of
        old = partition.log
        source = self._hosting.switch(partition, target, move.copy)  # at once after the look that found them equal
        await target.flusher.flush(move.copy)
        await self._hosting.arrived(move.copy)
        if source.logs.get(name) is old:  # else its topic was deleted meanwhile, and perhaps made anew
            self._hosting.delete_log(source, name)

    async def _catch_up(self, move: Move, copy: Log) -> None:
        """Copy until both are equal; they are when this returns, and nothing has been awaited since."""
        while True:
            self._check(move)
            log = move.partition.log
            _align(log, copy, self._clock.wall_ms())
            if copy.end_offset >= log.end_offset:
                return
            prefetch = log.prefetch(copy.end_offset, self._chunk_bytes)
            if prefetch is not None:
                move.partition.found_damage(prefetch, await move.target.disk.run(prefetch))
                continue_at = copy.end_offset
                self._check(move)
                _align(log, copy, self._clock.wall_ms())
                if copy.end_offset != continue_at or copy.end_offset >= log.end_offset:
                    continue
            await self._pace(move, copy, self._copy_chunk(log, copy))

    def _copy_chunk(self, log: Log, copy: Log) -> int:
        data = log.read_bytes(copy.end_offset, self._chunk_bytes, log.end_offset)
        _, first = next(iterate_headers(data), (0, None))
        if first is None:  # it ends earlier than it did, or its file is cut off
            raise KafkaStorageError(f"{log.name} has no whole batch from {copy.end_offset} to its end {log.end_offset}")
        if log.may_have_gaps:
            copy.allow_gaps()
        base_offset = first.base_offset
        if base_offset < copy.end_offset == copy.start_offset:  # the log begins inside this batch, by DeleteRecords
            copy.reset(base_offset, wall_ms=self._clock.wall_ms())  # as a follower does (KAFKA-6975)
        copy.append_replicated(data, leader_epoch=log.epochs.latest_epoch, wall_ms=self._clock.wall_ms())
        return len(data)

    @property
    def _chunk_bytes(self) -> int:
        return max(1, min(CHUNK_BYTES, self.bytes_per_second // CHUNKS_PER_SECOND))

    async def _pace(self, move: Move, copy: Log, copied_bytes: int) -> None:
        """Others first; flush now and then; no faster than allowed."""
        move.unflushed_bytes += copied_bytes
        if move.unflushed_bytes >= FLUSH_BYTES:
            move.unflushed_bytes = 0
            await move.target.flusher.flush(copy)
        paid_bytes = 0.0
        while paid_bytes < copied_bytes:  # a slow move hears of its end, and of another limit
            await asyncio.sleep(min(PACE_SLICE_S, (copied_bytes - paid_bytes) / self.bytes_per_second))
            self._check(move)
            paid_bytes += PACE_SLICE_S * self.bytes_per_second

    def _check(self, move: Move) -> None:
        if move.is_cancelled:
            raise _Ended("it was cancelled")
        if self._is_stopping:
            raise _Ended("the broker stops")
        if move.partition.is_offline or self._hosting.partitions.get(move.partition.key) is not move.partition:
            raise _Ended("the replica is not here any more")

    def _discard(self, move: Move) -> None:
        self._delete_future(move.target, move.partition.log.name, move.copy)

    def _delete_future(self, home: LogDirectory, name: str, copy: Log | None) -> None:
        try:
            home.delete_future(name, copy)
        except KafkaStorageError as error:
            logger.error("the copy of %s in %s could not be deleted: %s", name, home.path, error)


def _align(log: Log, copy: Log, wall_ms: int) -> None:
    """Cut the copy where the log was cut since, begin it anew where the log begins later than the copy ends, and let it
    show nothing that was deleted from the log."""
    while True:
        latest = copy.epochs.latest_epoch
        end = diverging_end(log.epochs.entries, log.end_offset, latest, copy.end_offset)
        if end is None:
            break
        copy.truncate(truncation_offset(copy.epochs.entries, copy.end_offset, EpochEnd(*end)))
    if not log.start_offset <= copy.end_offset <= log.end_offset:
        copy.reset(log.start_offset, wall_ms=wall_ms)
    copy.delete_records(log.start_offset)
