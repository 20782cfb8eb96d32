"""What of a log is durable, and what its next flush has to do.

    recovery_point <= flushed_offset <= end of the log      what is durable; what may be counted

Invariants:
- Both move forward only by a flush that came back without an error and began after the last cut: a flush that was under
  way when the log was cut proves nothing (`generation`).
- After a cut (`is_cut`) nothing is appended before the cut is durable, or a crash could bring back what was cut.
- Proof of what is durable is put down every `PROOF_BYTES` or so, so that recovery, which must write again whatever is
  not proven, has little to write.
"""

from kraftpy.runtime.ports import Disk
from log_store import file_names
from log_store.checkpoints import encode_epochs
from log_store.config import LogConfig
from log_store.flush import Flush
from log_store.leader_epochs import LeaderEpochs
from log_store.producer_state import ProducerState
from log_store.segments import Segments
from log_store.snapshots import Snapshots
from log_store.unflushed import Unflushed

PROOF_BYTES = 32 * 1024 * 1024
"""One small file more, and its fsync, for so many bytes; recovery writes at most about so many again."""


class Durability:
    """That of one open log. `recovery_point` and `flushed_offset` are exclusive ends."""

    __slots__ = (
        "_disk",
        "_epochs",
        "_epochs_written",
        "_generation",
        "_looked_at",
        "_snapshots",
        "_unflushed",
        "_unproven_bytes",
        "flushed_offset",
        "is_cut",
        "recovery_point",
    )

    def __init__(
        self, disk: Disk, end_offset: int, epochs: LeaderEpochs, snapshots: Snapshots, unflushed: Unflushed
    ) -> None:
        """Of a log that was just opened: all of it is durable."""
        self.recovery_point = self.flushed_offset = end_offset
        self.is_cut = False
        self._disk = disk
        self._epochs = epochs
        self._epochs_written = epochs.changes
        self._snapshots = snapshots
        self._unflushed = unflushed
        self._generation = 0  # of cuts
        self._unproven_bytes = 0
        self._looked_at = (end_offset, 0)  # the recovery point, and since when it is that

    # --- what happens to the log -------------------------------------------------------------------------------------

    def note_appended(self, end_offset: int, size_bytes: int, config: LogConfig) -> None:
        self._unproven_bytes += size_bytes
        if config.flush_messages > 1:
            self.flushed_offset = end_offset

    def begin_cut(self) -> None:
        """From here on a flush that is under way proves nothing."""
        self._generation += 1

    def end_cut(self, end_offset: int) -> None:
        """The log ends earlier now, or elsewhere."""
        self.recovery_point = min(self.recovery_point, end_offset)
        self.flushed_offset = min(self.flushed_offset, end_offset)
        self.is_cut = True

    def restart(self, start_offset: int) -> None:
        """The log is empty now, at `start_offset`."""
        self.recovery_point = self.flushed_offset = start_offset
        self.is_cut = True

    def sync_cut(self, segments: Segments) -> None:
        """Make a cut durable here and now, on the loop, because an append cannot wait. Raises `OSError`."""
        segments.last.file().sync()
        self._unflushed.sync_names(self._disk)
        self.is_cut = False

    # --- what is to be done ------------------------------------------------------------------------------------------

    @property
    def has_loose_ends(self) -> bool:
        return self.is_cut or self._epochs_written != self._epochs.changes or bool(self._unflushed)

    def waits_since(self, end_offset: int, wall_ms: int) -> int:
        """How long the oldest record has waited, in milliseconds, as far as calls of this, now and then, can tell."""
        if self.recovery_point >= end_offset:
            self._looked_at = (end_offset, wall_ms)
        elif self._looked_at[0] != self.recovery_point:
            self._looked_at = (self.recovery_point, wall_ms)
        return wall_ms - self._looked_at[1]

    def begin(self, segments: Segments, producers: ProducerState) -> Flush:
        """Gather the work of one flush. Raises `OSError`."""
        unflushed, end_offset = self._unflushed, segments.last.end_offset
        if self._epochs_written != self._epochs.changes:
            path = f"{unflushed.directory}/{file_names.LEADER_EPOCHS}"
            unflushed.small_files.append((path, encode_epochs(self._epochs.entries)))
        if self.is_cut:
            unflushed.note_names_changed()
        if self.recovery_point < end_offset or self.is_cut:
            unflushed.files.append(segments.last.file())
        if self._unproven_bytes >= PROOF_BYTES:
            unflushed.write_snapshot(self._snapshots.to_write(producers, end_offset))
            self._unproven_bytes = 0
        return Flush(self._disk, end_offset, self._generation, self._epochs.changes, unflushed.take())

    def complete(self, flush: Flush, segments: Segments) -> None:
        """`flush` came back without an error. Raises `OSError`."""
        snapshots = flush.work.snapshots
        if flush.generation != self._generation:
            self._unflushed.removals += [snapshot.path + file_names.TEMPORARY for snapshot in snapshots]
            return
        self.is_cut = False
        self._unflushed.names_durable = not self._unflushed.directories
        segments.advance_swap()
        for snapshot in snapshots:
            self._snapshots.place(snapshot)
            self._unflushed.note_names_changed()
        if snapshots:
            segments.drop_superseded_snapshots()
        self.recovery_point = max(self.recovery_point, flush.end_offset)
        self.flushed_offset = max(self.flushed_offset, flush.end_offset)

    def note_epochs_written(self, flush: Flush) -> None:
        """Whatever became of the log meanwhile: the epochs that `flush` knew are in their file."""
        self._epochs_written = flush.epoch_changes
