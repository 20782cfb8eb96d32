"""The log of one partition: segments end to end, with the state that goes with them.

What it tells, and the order of its offsets, is `readable_log`. Here is what happens to it: appends, flushes, cuts,
retention, its end; compaction is `compacting`, and looking for damage `inspection`.

Invariants:
- An append changes nothing unless it succeeds. The first failure of the disk puts up the fence of the whole directory.
- After a truncation nothing is appended before the cut is durable, so a crash cannot bring back what was cut. The next
  flush makes it so; an append that comes before it does so itself, on the loop.

Used by the loop's thread only; a `Flush` is what leaves it.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from kraftpy.errors import (
    ClosedError,
    FencedLeaderEpochError,
    InvalidTxnStateError,
    KafkaStorageError,
    OffsetOutOfRangeError,
)
from kraftpy.record import BatchHeader
from kraftpy.record.header import CONTROL_BIT
from kraftpy.runtime.limits import INT32_MAX
from kraftpy.runtime.ports import Buffer, Disk
from log_store import file_names, retention
from log_store.compacting import Compacting
from log_store.compaction.swap import GAPS_MARK
from log_store.config import LOG_APPEND_TIME, LogConfig
from log_store.durability import Durability, ProofBudget
from log_store.fence import Fence, Guard
from log_store.flush import Flush
from log_store.new_log import new_log
from log_store.open_segments import OpenSegments
from log_store.opened_log import OpenedLog, Unsynced
from log_store.placing import place_produced, place_replicated, runs_that_fit
from log_store.producer_batches import Marker, judge_producer, marker_of, note_producer, replay_producers
from log_store.producer_state import ProducerState
from log_store.readable_log import ReadableLog
from log_store.recompression import recompressed
from log_store.recovery import open_log
from log_store.segment import AppendedBatch
from log_store.segments import Segments
from log_store.timestamps import corrected
from log_store.validation import PlacedBatch, check_produced, check_replicated

NO_TIMESTAMP = -1


class Appended(NamedTuple):
    """What an append did. `end_offset` is exclusive; `log_append_time_ms` is -1 unless the log sets the timestamps."""

    base_offset: int
    end_offset: int
    log_append_time_ms: int
    duplicate: bool


class Log(ReadableLog):
    """One partition's log; make one by `open` or `create`."""

    def __init__(
        self,
        disk: Disk,
        directory: str,
        config: LogConfig,
        opened: OpenedLog,
        topic_id: UUID | None,
        fence: Fence | None,
        open_segments: OpenSegments | None,
        proof_budget: ProofBudget | None,
    ) -> None:
        durability = Durability(disk, opened, proof_budget or ProofBudget())
        segments = Segments(
            disk,
            directory,
            config,
            opened.segments,
            opened.snapshots,
            opened.unflushed,
            OpenSegments() if open_segments is None else open_segments,
            durability.write_epochs,
        )
        fence = Fence(directory) if fence is None else fence
        super().__init__(directory, config, opened, topic_id, fence, segments, durability)
        self.compacting = Compacting(self, fence, segments, opened.snapshots, durability)
        self._birth = opened.birth
        self._unflushed = opened.unflushed
        self._snapshots = opened.snapshots
        self._start_at(self.start_offset)
        self._note_compacted()

    @classmethod
    def open(
        cls,
        disk: Disk,
        directory: str,
        config: LogConfig,
        *,
        clean: bool,
        wall_ms: int,
        start_offset: int = 0,
        topic_id: UUID | None = None,
        fence: Fence | None = None,
        open_segments: OpenSegments | None = None,
        proof_budget: ProofBudget | None = None,
        unsynced: Unsynced | None = None,
        committed_offset: int = 0,
    ) -> "Log":
        """Open what is in `directory`, after recovery where the last stop was not clean. Blocks; for a disk thread.

        `start_offset`: at least this, from the directory's checkpoint; `committed_offset`: likewise, everything below
        was committed once. Everything found is durable afterwards, or once the caller has synced what is added to
        `unsynced`. Raises `OSError`, and `CorruptRecordError` where a segment is damaged that recovery must not touch.
        """
        opened = open_log(
            disk,
            directory,
            config,
            clean=clean,
            start_offset=start_offset,
            wall_ms=wall_ms,
            committed_offset=committed_offset,
        )
        if unsynced is None:
            opened.unsynced.sync(disk, directory)
        else:
            unsynced.files += opened.unsynced.files
            unsynced.directories += opened.unsynced.directories
        return cls(disk, directory, config, opened, topic_id, fence, open_segments, proof_budget)

    @classmethod
    def create(
        cls,
        disk: Disk,
        directory: str,
        config: LogConfig,
        *,
        wall_ms: int,
        start_offset: int = 0,
        topic_id: UUID | None = None,
        fence: Fence | None = None,
        open_segments: OpenSegments | None = None,
        proof_budget: ProofBudget | None = None,
    ) -> "Log":
        """A new log: nothing but memory until its first record, or `make`; durable with the first flush after that."""
        opened = new_log(disk, directory, config, start_offset=start_offset, topic_id=topic_id, wall_ms=wall_ms)
        return cls(disk, directory, config, opened, topic_id, fence, open_segments, proof_budget)

    def make(self) -> None:
        """Let the disk know of a new log now, although it holds nothing yet. Raises `OSError`."""
        if self._birth is not None:
            self._birth.make(self._unflushed)
            self._birth = None
            if self._may_have_gaps:
                self._mark_gaps()

    @property
    def is_on_disk(self) -> bool:
        """Whether the disk knows of it. A flush has made it durable where nothing is left to flush."""
        return self._birth is None

    # --- appending ---------------------------------------------------------------------------------------------------

    def append(
        self,
        records: bytearray | memoryview,
        leader_epoch: int,
        wall_ms: int,
        *,
        markers: bool = False,
        verified: bool = False,
        sequenced: bool = True,
    ) -> Appended:
        """Append a producer's batches as their leader. Offsets and epoch are set in place, unless it compresses anew.

        A retry of one of the producer's last five batches is not appended again: `duplicate` is set, and the offsets
        are those of the first time. `markers`: the records are the transaction coordinator's. `verified`: it knows of
        the transaction that they begin here (KIP-890); records of any other are refused, because nobody would ever end
        it, and committed readers would wait for it for ever. `sequenced`: see `validation.check_produced`.

        Raises `InvalidTxnStateError`, `FencedLeaderEpochError`, `KafkaStorageError`, `InvalidProducerEpochError`,
        `OutOfOrderSequenceError`, and what `validation.check_produced` and `timestamps.corrected` raise.
        """
        self._check_writable()
        config = self.config
        batches = check_produced(records, config, wall_ms, markers=markers, sequenced=sequenced)
        header = batches[0][1]
        marker = None
        if header.producer_id >= 0:
            marker = marker_of(header, memoryview(records))
            known = judge_producer(self.producers, header, marker)
            if known is not None:
                stamped = known.timestamp_ms if config.timestamp_type == LOG_APPEND_TIME else NO_TIMESTAMP
                return Appended(known.first_offset, known.last_offset + 1, stamped, True)
            if header.is_transactional and not (markers or verified or self.is_in_transaction(header)):
                raise InvalidTxnStateError(f"producer {header.producer_id} has begun no transaction with {self.name}")
        latest_epoch = self.epochs.latest_epoch
        if leader_epoch < latest_epoch:
            raise FencedLeaderEpochError(f"{self.name} has records of epoch {latest_epoch}, not only of {leader_epoch}")
        batches = corrected(records, batches, config, wall_ms)
        if config.recompression is not None and sequenced:
            records, batches = recompressed(records, batches, config)
        stamped_ms = wall_ms if config.timestamp_type == LOG_APPEND_TIME else NO_TIMESTAMP
        base_offset = self.end_offset
        appended = place_produced(records, batches, base_offset, leader_epoch, stamped_ms)
        self._write(records, appended, wall_ms)
        if leader_epoch > latest_epoch:
            self.epochs.assign(leader_epoch, base_offset)
        if header.producer_id >= 0:
            noted = header._replace(base_offset=base_offset, max_timestamp=appended[0].max_timestamp_ms)
            self._note_producer(noted, marker)
        return Appended(base_offset, self.end_offset, stamped_ms, False)

    def append_replicated(self, records: Buffer, *, leader_epoch: int | None = None, wall_ms: int = 0) -> Appended:
        """Append batches as their leader wrote them, offsets and epochs included.

        `leader_epoch`: batches of a higher epoch, and all that follow them, are left out (KAFKA-18723). A batch cut off
        at the end is left out too, so the result may be empty. Raises `KafkaStorageError`, and `CorruptRecordError` or
        `InvalidRecordError` for a damaged batch, an offset that does not go on or an epoch that goes back; then nothing
        of `records` is appended.
        """
        self._check_writable()
        base_offset = self.end_offset
        batches = check_replicated(
            records,
            next_offset=base_offset,
            latest_epoch=self.epochs.latest_epoch,
            leader_epoch=leader_epoch,
            compacted=self._may_have_gaps,
        )
        if not batches:
            return Appended(base_offset, base_offset, NO_TIMESTAMP, False)
        whole = memoryview(records)
        markers = {
            position: marker_of(header, whole[position : position + header.size_bytes])
            for position, header in batches
            if header.attributes & CONTROL_BIT
        }
        room_bytes = self.config.segment_bytes - self._segments.last.size_bytes
        for run in runs_that_fit(batches, room_bytes, self.config.segment_bytes):
            self._append_run(whole, run, markers, wall_ms)
        return Appended(base_offset, self.end_offset, NO_TIMESTAMP, False)

    def _append_run(
        self, whole: memoryview, run: Sequence[PlacedBatch], markers: dict[int, Marker | None], wall_ms: int
    ) -> None:
        appended = place_replicated(run)
        self._write(whole[run[0][0] : run[-1][0] + appended[-1].size_bytes], appended, wall_ms)
        for position, header in run:
            if header.leader_epoch > self.epochs.latest_epoch:
                self.epochs.assign(header.leader_epoch, header.base_offset)
            if header.producer_id >= 0:
                self._note_producer(header, markers.get(position))

    def _note_producer(self, header: BatchHeader, marker: Marker | None) -> None:
        aborted = note_producer(self.producers, header, marker)
        if aborted is not None:
            with self._guard("noting an aborted transaction in"):
                self._segments.last.transactions.append(aborted)

    def _write(self, records: Buffer, appended: list[AppendedBatch], wall_ms: int) -> None:
        last = appended[-1]
        try:
            if self._birth is not None:
                self.make()
            segment = self._segments.last
            if segment.is_full_for(len(records), len(appended), last.end_offset, last.max_timestamp_ms, wall_ms):
                # Segments lie end to end also where a compacted log has a gap, so that a hole cannot look like one.
                is_near = last.end_offset - self.end_offset <= INT32_MAX
                base_offset = self.end_offset if is_near else appended[0].base_offset
                segment = self._segments.roll(base_offset, self.producers, wall_ms)
            segment.append(records, appended)
            segment.written_ms = wall_ms
        except OSError as error:
            raise self._failed("appending", error) from error
        self.end_offset = last.end_offset
        self._durability.note_appended(last.end_offset, len(records), self.config)

    def _check_writable(self) -> None:
        if self._fence.failure is not None:
            self._fence.check()
        if self._closed:
            raise ClosedError(f"the log {self.name} is closed")
        if self._durability.is_cut:
            with self._guard("truncating"):
                self._durability.sync_cut(self._segments)

    def _failed(self, doing: str, error: OSError) -> KafkaStorageError:
        return self._fence.raise_for(error, f"{doing} {self.name}")

    def _guard(self, doing: str) -> Guard:
        return self._fence.guard(f"{doing} {self.name}")

    # --- flushing ----------------------------------------------------------------------------------------------------

    def flush_is_overdue(self, now_ms: int) -> bool:
        """Whether records have waited for `flush_interval_ms`, as far as calls of this, now and then, can tell."""
        return self._durability.waits_since(self.end_offset, now_ms) >= self.config.flush_interval_ms

    def begin_flush(self) -> Flush:
        """What has to be done, as of now, for a disk thread. One at a time. Raises `KafkaStorageError`."""
        self._fence.check()
        with self._guard("flushing"):
            return self._durability.begin(self._segments, self.producers)

    def complete_flush(self, flush: Flush) -> None:
        """`flush.run()` came back without an error: what it covered counts. Raises `KafkaStorageError`."""
        self._durability.note_epochs_written(flush)
        if self._closed:
            return
        with self._guard("flushing"):
            self._durability.complete(flush, self._segments)

    def sync(self) -> None:
        """Flush here and now: for a log that no loop serves. Raises `KafkaStorageError`."""
        while self.needs_flush:
            flush = self.begin_flush()
            with self._guard("flushing"):
                flush.run()
            self.complete_flush(flush)

    # --- segments come and go ----------------------------------------------------------------------------------------

    def roll(self, wall_ms: int) -> None:
        """Begin a new segment, unless the last one is empty. Raises `KafkaStorageError`."""
        self._check_writable()
        with self._guard("rolling"):
            self._segments.roll(self.end_offset, self.producers, wall_ms)

    def truncate(self, end_offset: int, *, at_once: bool = False) -> None:
        """Remove every batch that reaches to `end_offset` or beyond, so the log may end before it.

        `at_once`: where a segment begins there, nothing before it is read, and a crash before the next flush may bring
        back what was cut: for what is damaged, and would be found again. Flush before the next append, or that append
        waits for the disk. Raises `KafkaStorageError`; this, `CorruptRecordError`, `InvalidRecordError` or
        `UnsupportedForMessageFormatError` where what is left cannot be read: then nothing was cut.
        """
        if end_offset >= self.end_offset:
            self.epochs.truncate_from(end_offset)  # an epoch may have begun there without leaving a record
            return
        if end_offset <= self._segments.base_offset:
            self.reset(end_offset, wall_ms=self._segments.last.created_ms)
            return
        self._fence.check()
        with self.reading("truncating"):
            planned = self._segments.plan_cut(end_offset, at_once=at_once)
            kept = end_offset if planned is None else planned.end_offset
            producers = None if self.producers.can_cut(kept) else self._producers_at(kept)
        self._durability.begin_cut()
        self.compacting.cut()
        with self._guard("truncating"):
            self._segments.cut(end_offset, planned, at_once=at_once)
        self.end_offset = kept
        self.start_offset = min(self.start_offset, kept)
        self.damages.cut(kept)
        self._durability.end_cut(kept)
        self.epochs.truncate_from(kept)
        self._durability.want_epochs()
        if producers is None:
            self.producers.cut(kept)
        else:
            self.producers = producers

    def _producers_at(self, end_offset: int) -> ProducerState:
        """As they were when the log ended there: by a snapshot, and the batches behind it."""
        producers = ProducerState(self.config.producer_ids_max)
        snapshot = self._snapshots.load(producers, end_offset)
        for segment in self._segments.from_offset(snapshot):
            if segment.base_offset < end_offset:
                replay_producers(producers, segment, snapshot, end_offset)
        return producers

    def reset(self, start_offset: int, *, wall_ms: int = 0) -> None:
        """Remove everything and go on, empty, at `start_offset`. Raises `KafkaStorageError`."""
        self._fence.check()
        self._durability.begin_cut()
        self.compacting.cut()
        with self._guard("resetting"):
            self.make()
            self._segments.replace(start_offset, wall_ms)
            self.start_offset = self.end_offset = start_offset
            self.damages.cut(-1)
            self._durability.restart(start_offset)
            self.epochs.clear()
            self.producers.clear()
            self._durability.want_epochs()

    def delete_records(self, before_offset: int) -> None:
        """Nothing below `before_offset` is readable any more (DeleteRecords); retention then removes whole segments.

        Durable once flushes have brought `flushed_start_offset` there. Raises `OffsetOutOfRangeError` above the end.
        """
        if before_offset > self.end_offset:
            raise OffsetOutOfRangeError(f"{self.name} ends at {self.end_offset}, before {before_offset}")
        if before_offset > self.start_offset:
            self._start_at(before_offset)

    def _start_at(self, start_offset: int) -> None:
        """Records below are gone."""
        self.start_offset = start_offset
        self._durability.start_at(start_offset)

    def enforce_retention(self, wall_ms: int, high_watermark: int) -> int:
        """Remove what is too old, too much, or below the start offset; gives how many segments went.

        Nothing goes while names wait for a flush or for its end, and a last segment that should go is rolled first; so
        it may take a second call, after a flush. Also forgets silent producers. Raises `KafkaStorageError`.
        """
        self._check_writable()
        self.producers.expire(wall_ms, self.config.producer_id_expiration_ms)
        segments = self._segments
        with self._guard("applying retention to"):
            segments.remove_due(wall_ms)
        with self.reading("applying retention to"):
            facts = segments.facts()
        try:
            wanted = retention.deletable(
                facts,
                self.config,
                wall_ms=wall_ms,
                start_offset=self.start_offset,
                high_watermark=min(high_watermark, self.recovery_point),
            )
            count = segments.removable(wanted)
            if wanted == len(segments.all):
                segments.roll(self.end_offset, self.producers, wall_ms)
            if count:
                segments.remove_oldest(count, wall_ms + self.config.file_delete_delay_ms)
                self.damages.start_at(segments.base_offset)
        except OSError as error:
            raise self._failed("applying retention to", error) from error
        if segments.base_offset > self.start_offset:
            self._start_at(segments.base_offset)
        return count

    # --- the end -----------------------------------------------------------------------------------------------------

    def reconfigure(self, config: LogConfig) -> None:
        """Follow new settings from now on."""
        self.config = config
        self._segments.reconfigure(config)
        self._note_compacted()

    def _note_compacted(self) -> None:
        """From the first setting on, and whatever it becomes later."""
        if self.config.compacted:
            self.allow_gaps()

    def allow_gaps(self) -> None:
        """From now on and for ever, as is noted durably before a record behind a gap counts."""
        if not self._may_have_gaps:
            self._may_have_gaps = True
            if self._birth is None:
                self._mark_gaps()

    def _mark_gaps(self) -> None:
        self._unflushed.small_files.append((f"{self.directory}/{file_names.MAY_HAVE_GAPS}", GAPS_MARK))

    def close(self, *, clean: bool = True) -> None:
        """Give every descriptor back. `clean`: after everything was written as the next start wants to find it.

        Blocks; no flush may be under way. Raises `KafkaStorageError`, then the stop was not clean.
        """
        if self._closed:
            return
        try:
            if clean:
                self._fence.check()
                if self.begin_close():
                    self.sync()
        finally:
            self._closed = True
            self._segments.close()

    def begin_close(self) -> bool:
        """Seal it, and put down what a clean start wants to find; flushes make that so, until none is needed.

        False: nothing to do, where the last start found it so and nothing happened, or it never held a record. Raises
        `KafkaStorageError`.
        """
        last = self._segments.last
        is_proven = self._snapshots.newest == self.end_offset and self._durability.epochs_are_written
        if self._closed or (not self.needs_flush and last.is_sealed and (is_proven or not self.is_on_disk)):
            return False
        self._fence.check()
        with self._guard("closing"):
            last.seal()
            self._unflushed.files += last.open_files()
        self._unflushed.note_names_changed()
        self._unflushed.write_snapshot(self._snapshots.to_write(self.producers, self.end_offset))
        self._durability.want_epochs()
        return True
