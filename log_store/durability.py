"""What of a log is durable, and what its next flush has to do.

    recovery_point <= flushed_offset <= end of the log      what is durable; what may be counted

Invariants:
- Both move forward only by a flush that came back without an error and began after the last cut: a flush that was under
  way when the log was cut proves nothing (`generation`).
- After a cut (`is_cut`) nothing is appended before the cut is durable, or a crash could bring back what was cut.
- After a cut, and of a new log, nothing that is appended counts before a flush, also where settings let it count at
  once: the directory's checkpoints may speak of the log of before until then (`Flusher.before_counting`).
- Proof of what is durable is put down now and then (`ProofBudget`), so that recovery, which must read and write again
  whatever is not proven, has little to do. A proof covers the indexes and the leader epochs too; without one the
  batches themselves tell both, so they reach their files with the next proof, and a flush of a few records is one sync.
- Where the log begins after DeleteRecords is told by the file of epochs, which recovery believes as far as a proof
  reaches. So the next flush puts down one above the new start, if there is none.
"""

from kraftpy.runtime.ports import Disk
from log_store import file_names
from log_store.checkpoints import encode_epochs
from log_store.config import LogConfig
from log_store.flush import Flush
from log_store.opened_log import OpenedLog
from log_store.producer_state import ProducerState
from log_store.segments import Segments


class ProofBudget:
    """How many bytes of a log may go unproven: what recovery reads and writes again, all logs of a directory together.

    A proof is five syncs, about 1 ms of one stream. With `PROOF_BYTES_MOST` a log that is written at full speed spends
    less than 1 % of its time on them; 10,000 logs of that size would be 320 GB to recover. So the more logs there are,
    the sooner each is proven: 8 GiB in all are 10 to 60 s of one disk, at a cost of 1 ms for each MiB at most.
    """

    __slots__ = ("logs",)

    def __init__(self) -> None:
        self.logs = 1

    @property
    def bytes_max(self) -> int:
        return max(PROOF_BYTES_LEAST, min(PROOF_BYTES_MOST, UNPROVEN_BYTES_MAX // max(self.logs, 1)))


PROOF_BYTES_MOST = 32 * 1024 * 1024
PROOF_BYTES_LEAST = 1024 * 1024
UNPROVEN_BYTES_MAX = 8 * 1024 * 1024 * 1024


class Durability:
    """That of one open log. `recovery_point` and `flushed_offset` are exclusive ends."""

    __slots__ = (
        "_budget",
        "_disk",
        "_epochs",
        "_epochs_wanted",
        "_epochs_written",
        "_generation",
        "_held_back",
        "_is_holding_back",
        "_looked_at",
        "_snapshots",
        "_start_wanted",
        "_unflushed",
        "_unproven_bytes",
        "flushed_offset",
        "is_cut",
        "recovery_point",
        "start_offset",
    )

    def __init__(self, disk: Disk, opened: OpenedLog, budget: ProofBudget) -> None:
        """Of a log that was just opened: all of it is durable."""
        end_offset = opened.segments[-1].end_offset
        self.recovery_point = self.flushed_offset = end_offset
        self.start_offset = opened.start_offset  # a crash brings nothing back that is below
        self._start_wanted = opened.start_offset  # start_offset <= _start_wanted: where it is to be after a flush
        self.is_cut = False
        self._is_holding_back = opened.birth is not None
        self._held_back = 0  # what was appended up to here counts with the next flush, and would have counted at once
        self._disk = disk
        self._budget = budget
        self._epochs = opened.epochs
        self._epochs_written = opened.epochs.changes if opened.epochs_are_written else -1
        self._epochs_wanted = -1  # so many changes must be written, whether or not a proof wants them
        self._snapshots = opened.snapshots
        self._unflushed = opened.unflushed
        self._generation = 0  # of cuts
        self._unproven_bytes = opened.unproven_bytes
        self._looked_at = (end_offset, 0)  # the recovery point, and since when it is that

    # --- what happens to the log -------------------------------------------------------------------------------------

    def note_appended(self, end_offset: int, size_bytes: int, config: LogConfig) -> None:
        self._unproven_bytes += size_bytes
        if config.flush_messages > 1:
            if self._is_holding_back:
                self._held_back = end_offset
            else:
                self.flushed_offset = end_offset

    def begin_cut(self) -> None:
        """From here on a flush that is under way proves nothing."""
        self._generation += 1

    def end_cut(self, end_offset: int) -> None:
        """The log ends earlier now, or elsewhere."""
        self.recovery_point = min(self.recovery_point, end_offset)
        self.flushed_offset = min(self.flushed_offset, end_offset)
        self._start_wanted = min(self._start_wanted, end_offset)
        # The cut has taken the proofs above it along.
        self.start_offset = self._start_wanted if self._snapshots.newest >= self._start_wanted else 0
        self._held_back = min(self._held_back, end_offset)
        self.is_cut = self._is_holding_back = True

    def restart(self, start_offset: int) -> None:
        """The log is empty now, at `start_offset`."""
        self.recovery_point = self.flushed_offset = start_offset
        self.start_offset = self._start_wanted = start_offset
        self._held_back = 0
        self.is_cut = self._is_holding_back = True

    def start_at(self, start_offset: int) -> None:
        """The log begins later."""
        changes = self._epochs.changes
        self._epochs.truncate_to(start_offset)
        if self._epochs.changes != changes:
            self.want_epochs()
        self._start_wanted = start_offset

    def sync_cut(self, segments: Segments) -> None:
        """Make a cut durable here and now, on the loop, because an append cannot wait. Raises `OSError`."""
        segments.last.file().sync()
        self._unflushed.sync_names(self._disk)
        self.is_cut = False

    # --- what is to be done ------------------------------------------------------------------------------------------

    @property
    def cuts(self) -> int:
        """How often the log was cut since it was opened."""
        return self._generation

    @property
    def has_loose_ends(self) -> bool:
        epochs_are_late = self._epochs_written < self._epochs_wanted
        is_late = epochs_are_late or self._start_is_late or self.flushed_offset < self._held_back
        return self.is_cut or is_late or bool(self._unflushed)

    @property
    def _start_is_late(self) -> bool:
        return self.start_offset < self._start_wanted

    @property
    def epochs_are_written(self) -> bool:
        return self._epochs_written == self._epochs.changes

    def want_epochs(self) -> None:
        """Their file must say what they are now, because the batches alone would not tell it: the log begins elsewhere,
        or records were cut. A later epoch that was cut must not be found when older records take its place."""
        self._epochs_wanted = self._epochs.changes

    def write_epochs(self) -> None:
        """Here and now, on the loop, before a proof that does not wait for a flush. Raises `OSError`."""
        if not self.epochs_are_written:
            self._disk.write_atomically(self._epochs_path, encode_epochs(self._epochs.entries))
            self.want_epochs()  # a flush that is under way may put older ones in their place: the next one mends that

    @property
    def _epochs_path(self) -> str:
        return f"{self._unflushed.directory}/{file_names.LEADER_EPOCHS}"

    def waits_since(self, end_offset: int, now_ms: int) -> int:
        """How long the oldest record has waited, in milliseconds, as far as calls of this, now and then, can tell."""
        if self.recovery_point >= end_offset:
            self._looked_at = (end_offset, now_ms)
        elif self._looked_at[0] != self.recovery_point:
            self._looked_at = (self.recovery_point, now_ms)
        return now_ms - self._looked_at[1]

    def begin(self, segments: Segments, producers: ProducerState) -> Flush:
        """Gather the work of one flush. Raises `OSError`."""
        segments.look_ahead()
        unflushed, end_offset = self._unflushed, segments.last.end_offset
        is_proof = self._unproven_bytes >= self._budget.bytes_max
        is_proof |= self._start_is_late and self._snapshots.newest < self._start_wanted
        if self.is_cut or is_proof:
            unflushed.note_names_changed()
        if is_proof:
            unflushed.files += segments.last.open_files()
            unflushed.write_snapshot(self._snapshots.to_write(producers, end_offset))
            self._unproven_bytes = 0
        elif self.recovery_point < end_offset or self.is_cut:
            unflushed.files.append(segments.last.file())
        epoch_changes = -1
        epochs_matter = self.is_cut or unflushed.snapshots or self._epochs_written < self._epochs_wanted
        if epochs_matter and not self.epochs_are_written:
            epoch_changes = self._epochs.changes
            unflushed.small_files.append((self._epochs_path, encode_epochs(self._epochs.entries)))
        return Flush(self._disk, end_offset, self._generation, epoch_changes, unflushed.take())

    def complete(self, flush: Flush, segments: Segments) -> None:
        """`flush` came back without an error. Raises `OSError`."""
        snapshots = flush.work.snapshots
        if flush.generation != self._generation:
            self._unflushed.removals += [snapshot.path + file_names.TEMPORARY for snapshot in snapshots]
            return
        self.is_cut = self._is_holding_back = False
        self._unflushed.names_durable = not self._unflushed.directories
        is_proven = self._unflushed.names_durable and self._snapshots.newest >= self._start_wanted
        if is_proven and self._epochs_written >= self._epochs_wanted:
            self.start_offset = self._start_wanted
        segments.advance_swap()
        for snapshot in snapshots:
            if any(snapshot.offset == each.offset for each in self._unflushed.snapshots):
                continue  # a segment was sealed there meanwhile, which it covers then, and which the next flush syncs
            self._snapshots.place(snapshot)
            self._unflushed.note_names_changed()
        if snapshots:
            segments.drop_superseded_snapshots()
        self.recovery_point = max(self.recovery_point, flush.end_offset)
        self.flushed_offset = max(self.flushed_offset, flush.end_offset, self._held_back)

    def note_epochs_written(self, flush: Flush) -> None:
        """Whatever became of the log meanwhile: the epochs that `flush` knew are in their file."""
        self._epochs_written = max(self._epochs_written, flush.epoch_changes)
