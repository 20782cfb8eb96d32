"""Opening a log: after a clean stop by looking at the end, after anything else by scanning.

What an unclean stop may have left, and what is done about it:

| found                                    | because                               | done                           |
|------------------------------------------|---------------------------------------|--------------------------------|
| zeros after the last batch               | room was reserved, never written      | cut                            |
| a batch that is torn or fails its CRC    | it was not synced                     | cut there; what follows goes   |
| … below a proof or a high watermark      | the disk has changed it               | nothing: `CorruptRecordError`  |
| an end below these, and nothing behind   | the same                              | told: `Recovery.short_of`      |
| an offset that does not go on (in a log  | old bytes came back                   | the same                       |
| that may have gaps: that goes back), an  |                                       |                                |
| epoch that goes back                     |                                       |                                |
| indexes that disagree                    | mapped pages are written in any order | rebuilt for what is scanned    |
| an index that cannot be read             | a sector of the disk is bad           | rebuilt, where it is met       |
| an index of transactions that cannot be  | its last entries were not synced, or  | the same; elsewhere, rebuilt   |
|                                          | a sector of the disk is bad           |                                |
| epochs or a snapshot that cannot be read | a sector of the disk is bad           | done without, as damaged ones  |
| a gap between two older segments         | retention was interrupted             | what is before the gap goes    |
| `.swap`                                  | cleaned segments were not yet in      | they take their place; see     |
|                                          | place                                 | `compaction.swap`              |

Where to scan from: the snapshot of the producers at offset S is put in place only after everything below S was synced,
with its indexes and epochs, and a truncation below S removes it first. So the newest snapshot is the proof, and the
scan begins at S: the indexes lead there. What was scanned above S is written once more before it is synced: the process
before may have died of a failed fsync, after which the page cache shows, as clean, what the medium never got; a second
fsync would say yes to that. Everything here may be repeated: a crash in mid-recovery counts as unclean again
(KAFKA-10471, KAFKA-15586; the directory removes its marker of a clean stop before it opens any log).

What it costs: thousands of logs were not written to since their last proof, or hold a few records. So a log of which
one segment was scanned is left without a new proof (indexes, epochs and a snapshot: six syncs, 2 to 10 ms): the next
recovery would begin where this one did. What it needs synced is told to whoever opens many (`Unsynced`), to be synced
together with that of the others, before any of them is used.

Runs on a disk thread, before anybody uses the log. Raises `OSError`.
"""

import errno
from collections.abc import Sequence

from kraftpy.errors import CorruptRecordError
from kraftpy.record import DAMAGED, BatchHeader
from kraftpy.runtime.ports import Disk
from log_store import file_names
from log_store.batch_scan import ScannedBatch, batch_headers, intact_batches, is_zeros
from log_store.checkpoints import CorruptCheckpointError, decode_epochs, encode_epochs
from log_store.compaction.swap import finish_swaps
from log_store.config import LogConfig
from log_store.leader_epochs import EpochStart, LeaderEpochs
from log_store.log_start import start_of
from log_store.new_log import make_directory, parent_of
from log_store.offset_index import ENTRY as INDEX_ENTRY
from log_store.open_segments import OpenSegments
from log_store.opened_log import OpenedLog, Recovery, Unsynced
from log_store.producer_batches import marker_of, note_producer
from log_store.producer_state import ProducerState
from log_store.segment import Segment
from log_store.segment_files import SegmentFiles
from log_store.small_files import read_small
from log_store.snapshots import Snapshots
from log_store.time_index import ENTRY as TIME_ENTRY
from log_store.transaction_recovery import TransactionScan, rebuild_unsound
from log_store.unflushed import SnapshotToWrite, Unflushed

UNREADABLE = (*DAMAGED, CorruptCheckpointError)
"""What damaged files of a log are met with."""

LEFTOVERS = (file_names.DELETED, file_names.TEMPORARY, file_names.CLEANED, file_names.SWAP)


def open_log(
    disk: Disk,
    directory: str,
    config: LogConfig,
    *,
    clean: bool,
    start_offset: int,
    wall_ms: int,
    committed_offset: int = 0,
) -> OpenedLog:
    """Bring the files of one log into order. `committed_offset`: everything below was durable and committed once.

    Raises `OSError`, and `CorruptRecordError` where what was durable cannot be read: then nothing was changed.
    """
    if not disk.exists(directory):
        make_directory(disk, directory)
    opening = _Opening(disk, directory, config, wall_ms, clean, committed_offset)
    if finish_swaps(disk, directory, opening.offsets_of):
        opening.names = set(disk.list(directory))
    opening.may_have_gaps = config.compacted or file_names.MAY_HAVE_GAPS in opening.names
    opening.remove_leftovers()
    if not (clean and opening.open_clean(start_offset)):
        opening.recover()
    known_from, gaps = opening.epochs_known_from, opening.may_have_gaps
    start_offset = start_of(opening.segments, start_offset, known_from, may_have_gaps=gaps)
    opening.start_at(start_offset)
    if opening.recovery.clean and opening.end_offset < committed_offset:
        opening.recovery.short_of = committed_offset  # as `judge_loss`: the stop before found it so, and nobody used it
    opening.finish()
    return OpenedLog(
        segments=opening.segments,
        epochs=opening.epochs,
        producers=opening.producers,
        start_offset=max(start_offset, opening.base_offset),
        recovery=opening.recovery,
        snapshots=opening.snapshots,
        epochs_are_written=opening.epochs.entries == opening.epochs_in_file,
        unproven_bytes=opening.unproven_bytes,
        unsynced=opening.unsynced,
        may_have_gaps=file_names.MAY_HAVE_GAPS in opening.names,
        unflushed=Unflushed(directory),
    )


class _Opening:
    def __init__(
        self, disk: Disk, directory: str, config: LogConfig, wall_ms: int, clean: bool, committed_offset: int
    ) -> None:
        self.committed_offset = committed_offset
        self.disk = disk
        self.directory = directory
        self.config = config
        self.wall_ms = wall_ms
        self.recovery = Recovery(clean)
        self.open_segments = OpenSegments(4)
        self.segments: list[Segment] = []
        self.may_have_gaps = False  # inside a segment; between two there is never one
        self.unproven_from: list[int] = []  # positions in those that were scanned
        self.unproven_bytes = 0
        self.unsynced = Unsynced()
        self.transactions: TransactionScan | None = None  # from where the scan began
        self.wants_proof = False  # once several segments were scanned, or a proof did not hold what it promised
        # As a roll leaves them: what a truncation goes back to, once retention has deleted what lies before.
        self.between_segments: list[SnapshotToWrite] = []
        self.epochs = LeaderEpochs()
        self.epochs_in_file: tuple[EpochStart, ...] = ()
        # Below this offset nobody knows the epochs: the log started here once (DeleteRecords), or has a gap there (see
        # `log_start`). Above the newest proof the file may be of before a cut, and is not believed.
        self.epochs_known_from = 0
        self.first_epoch: EpochStart | None = None  # that the file tells
        self.producers = ProducerState(config.producer_ids_max)
        self.names = set(disk.list(directory))
        self.snapshots = Snapshots(disk, directory, self.offsets_of(file_names.PRODUCER_SNAPSHOT))

    @property
    def base_offset(self) -> int:
        return self.segments[0].base_offset

    @property
    def end_offset(self) -> int:
        return self.segments[-1].end_offset

    def offsets_of(self, suffix: str) -> list[int]:
        offsets = (file_names.offset_of(name, suffix) for name in self.names if name.endswith(suffix))
        return sorted(offset for offset in offsets if offset is not None)

    def path(self, name: str) -> str:
        return f"{self.directory}/{name}"

    def remove(self, name: str) -> None:
        if self.disk.exists(self.path(name)):  # an index of what was scanned may be gone, to be made anew
            self.disk.remove(self.path(name))
        self.names.discard(name)

    def remove_leftovers(self) -> None:
        """Files that a crash left half-way to deletion or to their name, and indexes without a segment."""
        logs = self.offsets_of(file_names.SEGMENT)
        for name in sorted(self.names):
            orphan = any(
                (offset := file_names.offset_of(name, suffix)) is not None and offset not in logs
                for suffix in file_names.OF_SEGMENT[1:]
            )
            if orphan or name.endswith(LEFTOVERS):
                self.remove(name)

    # --- after a clean stop ------------------------------------------------------------------------------------------

    def open_clean(self, start_offset: int) -> bool:
        """Take the files as they are; false where they turn out not to be what a clean stop leaves."""
        bases = self.offsets_of(file_names.SEGMENT)
        try:
            self.segments = [self.whole_segment(base, bases[at + 1 : at + 2]) for at, base in enumerate(bases)]
            if self.segments:
                self.find_end(self.segments[-1])
            self.load_epochs()
            if self.segments and self.end_offset > max(start_offset, self.base_offset) and not self.epochs.entries:
                raise CorruptCheckpointError("records without an epoch")
            if self.snapshots.newest > (self.end_offset if self.segments else 0):
                raise CorruptCheckpointError("records are missing")
            known = self.snapshots.load(self.producers, self.end_offset if self.segments else 0)
            if self.segments and self.end_offset > max(known, self.base_offset):
                raise CorruptCheckpointError("records whose producers no snapshot tells")
        except UNREADABLE:
            self.recovery.clean = False
            self.segments = []
            return False
        return True

    def whole_segment(self, base_offset: int, next_base: list[int]) -> Segment:
        """A segment that is trusted, with its indexes; rebuilt where one is missing."""
        files = SegmentFiles.of(self.directory, base_offset)
        size_bytes = self.disk.size(files.log)
        index_bytes = self.index_bytes(files.offset_index)
        time_bytes = self.index_bytes(files.time_index)
        segment = self.segment(base_offset, size_bytes, index_bytes, time_bytes)
        segment.end_offset = next_base[0] if next_base else base_offset
        ill_sized = index_bytes % INDEX_ENTRY.size or time_bytes % TIME_ENTRY.size
        missing = size_bytes > 2 * self.config.index_interval_bytes + self.config.max_message_bytes and not index_bytes
        if ill_sized or missing or (size_bytes and not time_bytes):
            self.rebuild_indexes(segment, size_bytes)
        return segment

    def index_bytes(self, path: str) -> int:
        return self.disk.size(path) if path.rpartition("/")[2] in self.names else 0

    def segment(self, base_offset: int, size_bytes: int, index_bytes: int, time_index_bytes: int) -> Segment:
        return Segment(
            self.disk,
            self.open_segments,
            self.config,
            self.directory,
            base_offset,
            end_offset=base_offset,
            size_bytes=size_bytes,
            index_bytes=index_bytes,
            time_index_bytes=time_index_bytes,
            created_ms=self.wall_ms,
        )

    def find_end(self, segment: Segment) -> None:
        """The end offset of the last segment, from its last index entry on. Raises `CorruptRecordError`."""
        if segment.size_bytes:
            end_offset = self.real_end(segment)
            if end_offset is None:
                raise CorruptRecordError(f"{segment.files.log} does not end as it did")
            segment.end_offset = end_offset
        segment.resume(segment.size_bytes - segment.index.last_position())

    def real_end(self, segment: Segment) -> int | None:
        """As `_real_end`; an index whose end cannot be read is made anew, if the batches' headers can be."""
        try:
            segment.index.last_position()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            for _ in batch_headers(segment.file(), 0, segment.size_bytes):
                pass  # before the index is emptied
            self.rebuild_indexes(segment, segment.size_bytes)
        return _real_end(segment, self.may_have_gaps)

    def rebuild_indexes(self, segment: Segment, size_bytes: int) -> None:
        end_offset = segment.end_offset
        segment.empty()
        for _, header, _ in batch_headers(segment.file(), 0, size_bytes):
            segment.note_recovered(header.base_offset, header.end_offset, header.size_bytes, _youngest_ms(header))
        segment.end_offset = max(end_offset, segment.end_offset)
        segment.seal()
        segment.sync_all()

    # --- after anything else -----------------------------------------------------------------------------------------

    def recover(self) -> None:
        self.names = set(self.disk.list(self.directory))  # the clean way may have come this far and changed them
        bases = self.offsets_of(file_names.SEGMENT)
        self.snapshots.drop_unreadable()
        proven = self.recovery.proven = self.snapshots.newest
        scan_at = max((at for at, base in enumerate(bases) if base <= proven), default=0)
        self.segments = [self.whole_segment(base, bases[at + 1 : at + 2]) for at, base in enumerate(bases[:scan_at])]
        self.drop_before_gap(bases[scan_at : scan_at + 1])
        scan_from = bases[scan_at] if bases else 0
        self.recall_epochs(max(scan_from, proven) if bases else 0)
        self.snapshots.load(self.producers, proven)
        trusted = len(self.segments)
        discard = bases[scan_at:]
        while discard and (not self.segments or discard[0] == self.end_offset):
            if self.segments and discard[0] > proven:
                self.between_segments.append(self.snapshots.to_write(self.producers, discard[0]))
            self.scan_segment(discard.pop(0), proven)
        end_offset = self.end_offset if self.segments else 0
        self.judge_loss(end_offset, proven, discard)
        for base in reversed(discard):
            self.discard_segment(base)
        self.wants_proof |= bool(self.between_segments or self.recovery.discarded)
        for segment, position in zip(self.segments[trusted:], self.unproven_from, strict=True):
            self.settle(segment, position)

    def judge_loss(self, end_offset: int, proven: int, discard: Sequence[int]) -> None:
        """Whether what was found is all that was durable; a torn tail never was.

        Where there is more behind what cannot be read, it stays as it is, for an operator or to be copied anew. Where
        there is nothing more, the log is used, and whoever counts on it is told (`Recovery.short_of`).
        """
        durable = max(proven, self.committed_offset)
        if end_offset >= durable:
            return
        if end_offset < proven or discard or self.recovery.cut_bytes:
            for segment in self.segments:
                segment.close()
            raise CorruptRecordError(
                f"{self.directory} can be read up to offset {end_offset}, and everything below {durable} was durable"
            )
        self.recovery.short_of = durable

    def settle(self, segment: Segment, position: int) -> None:
        """Make durable what was scanned: from `position` on nothing proves that it is."""
        self.unproven_bytes += segment.size_bytes - position
        if self.wants_proof:
            segment.seal()
            segment.write_again(position)
            segment.sync_all()
        else:  # also where nothing was appended since the proof: a cut whose sync failed may be in the page cache only
            segment.write_again(position)
            self.unsynced.files.append(segment.file())

    def drop_before_gap(self, next_base: list[int]) -> None:
        """Retention deletes from the front, but a crash may undo the later deletions and keep the earlier ones.

        Only what is intact and ends too early shows that. Damage is for the scrub to mend: a replica that began later
        for it could be elected, and its followers would delete what it lacks.
        """
        for at in range(len(self.segments) - 1, -1, -1):
            segment = self.segments[at]
            follows = self.segments[at + 1].base_offset if at + 1 < len(self.segments) else next_base[0]
            end_offset = self.real_end(segment) if segment.size_bytes else None
            if end_offset is not None and end_offset < follows:
                for old in self.segments[: at + 1]:
                    self.discard_segment(old.base_offset)
                    old.close()
                del self.segments[: at + 1]
                return

    def recall_epochs(self, scan_from: int) -> None:
        """The epochs below what is scanned; the scan finds the others. Without a file all headers are read again."""
        try:
            self.load_epochs()
        except CorruptCheckpointError:
            self.epochs = LeaderEpochs()
        if not self.epochs.entries:
            for segment in self.segments:
                for _, header, _ in batch_headers(segment.file(), 0, segment.size_bytes):
                    if header.leader_epoch > self.epochs.latest_epoch:
                        self.epochs.assign(header.leader_epoch, header.base_offset)
        self.epochs_known_from = min(self.epochs_known_from, scan_from)
        self.epochs.truncate_from(scan_from)

    def scan_segment(self, base_offset: int, proven: int) -> None:
        """Keep the intact batches that go on where the log ends, cut the rest, and rebuild the indexes."""
        physical_bytes = self.disk.size(SegmentFiles.of(self.directory, base_offset).log)
        # Without an epoch that is known below the proof, only the batches tell those of what the proof covers; unless
        # all of it was deleted.
        is_known = proven > base_offset and (bool(self.epochs.entries) or self.epochs_known_from == proven)
        segment = self.proven_part(base_offset, physical_bytes, proven) if is_known else None
        if segment is None:
            segment = self.segment(base_offset, physical_bytes, 0, 0)
            segment.empty()
            self.wants_proof |= proven > base_offset
            self.epochs.truncate_from(base_offset)
        scan_from = max(segment.end_offset, base_offset)
        transactions = self.transactions or TransactionScan.begin(self.snapshots, self.segments, scan_from)
        self.transactions = transactions
        self.segments.append(segment)
        gaps = self.may_have_gaps
        unproven_from = None
        start = segment.size_bytes
        for batch in intact_batches(segment.file(), start, physical_bytes, compacted=gaps):
            header = batch.header
            base, expected = header.base_offset, segment.end_offset
            if base < expected or (base > expected and not gaps):
                break
            if header.leader_epoch < self.epochs.latest_epoch:
                break
            if header.leader_epoch >= 0:
                self.epochs.assign(header.leader_epoch, base)
            if base >= proven:
                self.note_producer(batch)
                unproven_from = batch.position if unproven_from is None else unproven_from
            segment.note_recovered(base, header.end_offset, header.size_bytes, _youngest_ms(header))
            if header.is_transactional:
                transactions.note(header, batch.data)
        segment.transactions.replace_after(scan_from, transactions.take())
        self.recovery.scanned_bytes += physical_bytes - start
        if segment.size_bytes < physical_bytes and not is_zeros(segment.file(), segment.size_bytes, physical_bytes):
            self.recovery.cut_bytes += physical_bytes - segment.size_bytes
        self.unproven_from.append(segment.size_bytes if unproven_from is None else unproven_from)

    def proven_part(self, base_offset: int, physical_bytes: int, proven: int) -> Segment | None:
        """The segment as far as the proof inside it reaches; None where that does not hold what it promises.

        The indexes lead near to its end, the headers from there on to the batch that ends there.
        """
        files = SegmentFiles.of(self.directory, base_offset)
        index_bytes, time_bytes = self.index_bytes(files.offset_index), self.index_bytes(files.time_index)
        if index_bytes % INDEX_ENTRY.size or time_bytes % TIME_ENTRY.size:
            return None
        segment = self.segment(base_offset, physical_bytes, index_bytes, time_bytes)
        try:
            segment.recall_proven(proven)
            for _, header, _ in batch_headers(segment.file(), segment.size_bytes, physical_bytes):
                segment.note_recovered(header.base_offset, header.end_offset, header.size_bytes, _youngest_ms(header))
                if segment.end_offset >= proven:
                    break
        except UNREADABLE:
            pass
        except OSError as error:
            if error.errno != errno.EIO:
                raise  # else the batches may tell what the indexes do not
        if segment.end_offset == proven:
            return segment
        segment.close()
        return None

    def note_producer(self, batch: ScannedBatch) -> None:
        if batch.header.producer_id >= 0:
            note_producer(self.producers, batch.header, marker_of(batch.header, batch.data))

    def discard_segment(self, base_offset: int) -> None:
        for suffix in file_names.OF_SEGMENT:
            name = file_names.of_offset(base_offset, suffix)
            if name in self.names:
                self.remove(name)
        self.recovery.discarded.append(file_names.of_offset(base_offset, file_names.SEGMENT))

    # --- both --------------------------------------------------------------------------------------------------------

    def load_epochs(self) -> None:
        if file_names.LEADER_EPOCHS in self.names:
            entries = decode_epochs(read_small(self.disk, self.path(file_names.LEADER_EPOCHS)))
            self.epochs = LeaderEpochs(entries)
            self.epochs_in_file = self.epochs.entries
            self.first_epoch = entries[0] if entries else None
            self.epochs_known_from = entries[0].start_offset if entries else 0

    def start_at(self, start_offset: int) -> None:
        """A log that ends below the start offset of its checkpoint, or has no segment, is empty at that offset."""
        if self.segments and self.end_offset >= start_offset:
            self.epochs.truncate_to(start_offset)  # a scan may have found older ones
            return
        self.snapshots.drop_above(-1)
        for segment in self.segments:
            self.discard_segment(segment.base_offset)
            segment.close()
        self.epochs.clear()
        self.producers.clear()
        self.segments = [
            Segment.create(
                self.disk, self.open_segments, self.config, self.directory, start_offset, created_ms=self.wall_ms
            )
        ]
        self.disk.sync_directory(self.directory)

    def forget_epochs_without_records(self) -> None:
        """But for the one that tells where a log starts of which everything was deleted."""
        self.epochs.truncate_from(self.end_offset)
        first = self.first_epoch
        if first is not None and not self.epochs.entries and first.start_offset == self.end_offset > self.base_offset:
            self.epochs.assign(first.epoch, first.start_offset)

    def finish(self) -> None:
        self.forget_epochs_without_records()
        rebuild_unsound(self.snapshots, self.segments)
        if not self.recovery.clean:
            if not self.snapshots.newest:  # the process before may have died before its first flush
                if file_names.PARTITION_METADATA in self.names:
                    self.unsynced.files.append(self.disk.open(self.path(file_names.PARTITION_METADATA)))
                self.unsynced.directories.append(parent_of(self.directory))
            if self.wants_proof:
                self.disk.write_atomically(self.path(file_names.LEADER_EPOCHS), encode_epochs(self.epochs.entries))
                self.epochs_in_file = self.epochs.entries
                self.disk.sync_directory(self.directory)
            else:
                self.unsynced.directories.append(self.directory)
        for segment in self.segments:
            segment.release()
        if self.wants_proof:
            # All is synced now: the next recovery may begin here, and retention may delete what lies before.
            self.unproven_bytes = 0
            for snapshot in [*self.between_segments, self.snapshots.to_write(self.producers, self.end_offset)]:
                self.snapshots.write(snapshot)


def _youngest_ms(header: BatchHeader) -> int:
    """For the time index: a batch that compaction has emptied holds no record of its time."""
    return header.max_timestamp if header.record_count else -1


def _real_end(segment: Segment, may_have_gaps: bool) -> int | None:
    """Where the batches of a segment end; None where they are not what was written, so that nothing follows from them.

    A batch's checksum does not cover its offset: that has to go on where the index, or the batch before, says.
    """
    position, index_says, end_offset = segment.index.last_position(), segment.index.last_offset(), None
    for batch in intact_batches(segment.file(), position, segment.size_bytes, compacted=may_have_gaps):
        header = batch.header
        if end_offset is not None or index_says is None:
            expected = segment.base_offset if end_offset is None else end_offset
            goes_on = header.base_offset == expected or (may_have_gaps and header.base_offset > expected)
        else:
            goes_on = header.end_offset == index_says + 1
        if not goes_on:
            return None
        end_offset = header.end_offset
        position += header.size_bytes
    return end_offset if position == segment.size_bytes else None
