"""What the checkpoints of a log directory say of its logs: where each begins, how far it is compacted and read again.

Invariant: no file puts a log's start, or what of it is compacted, higher than it is, once anything counts that was
appended since (`say_too_much`). A log that was cut would lose at the next start what lies below the old start. And
what was copied anew would pass for compacted: what was aborted there would leave the index, and the records stay.

High watermarks are known to whoever uses the logs; here is only what a cut means for their file. To the next start,
whatever that says beyond a log's end was committed, and is missing.
"""

from collections.abc import Callable, Iterable, Mapping

from log_store import file_names
from log_store.checkpoint_files import CheckpointFiles
from log_store.inspection import scrub_goes_on_at
from log_store.log import Log
from log_store.scrub import NEVER_SCRUBBED, PASS_IS_OVER, ScrubPass


class LogCheckpoints:
    """Those of one directory, in its `files`. What was read is used once, while logs are opened; and for as long as one
    cannot be opened."""

    def __init__(self, files: CheckpointFiles) -> None:
        self._files = files
        self._start_offsets: dict[str, int] = {}
        self._first_dirty_offsets: dict[str, int] = {}
        self._scrubbed: dict[str, ScrubPass] = {}

    def load(self) -> None:
        """Read the files. Blocks. Raises `OSError`."""
        self._start_offsets = self._files.load(file_names.START_OFFSETS)
        self._first_dirty_offsets = self._files.load(file_names.FIRST_DIRTY_OFFSETS)
        going_on = self._files.load(file_names.SCRUB_OFFSETS)
        self._scrubbed = {
            name: ScrubPass(began_ms, going_on.get(name, PASS_IS_OVER))
            for name, began_ms in self._files.load(file_names.SCRUB_TIMES).items()
        }
        self._files.load(file_names.RECOVERY_POINTS)

    def lower_to_proofs(self, newest_proof: Callable[[str], int]) -> None:
        """After a stop that was not clean, before any log is opened: believe of compaction what a proof covers.

        Durably, because recovery puts down proofs of its own, and those say nothing of it. Blocks. Raises `OSError`.
        """
        known = self._first_dirty_offsets
        proven = {name: min(offset, newest_proof(name)) for name, offset in known.items()}
        if proven != known:
            self._first_dirty_offsets = {name: offset for name, offset in proven.items() if offset}
            self._files.write_now({file_names.FIRST_DIRTY_OFFSETS: self._first_dirty_offsets})

    def start_offset_of(self, name: str) -> int:
        return self._start_offsets.get(name, 0)

    def restore(self, log: Log) -> None:
        """Tell a log that was just opened what is known of it."""
        log.compacting.note_cleaned(self._first_dirty_offsets.get(log.name, 0))
        log.scrubbed = self._scrubbed.get(log.name, NEVER_SCRUBBED)

    def forget(self, name: str) -> None:
        """There is no log of that name any more."""
        self._start_offsets.pop(name, None)
        self._first_dirty_offsets.pop(name, None)
        self._scrubbed.pop(name, None)

    def cut_below_watermarks(self, logs: Iterable[Log]) -> list[Log]:
        """Those of `logs` of which the file of high watermarks says more than they durably hold."""
        name = file_names.HIGH_WATERMARKS
        return [log for log in logs if self._files.may_exceed(name, log.name, log.recovery_point)]

    def contents(self, logs: Iterable[Log], unopened: Iterable[str]) -> Mapping[str, Mapping[str, int]]:
        """What the files are to say, by file name. A log that could not be opened begins where it did: whoever mends it
        would find again what was deleted."""
        told = checkpointed(logs)
        kept = {name: self._start_offsets[name] for name in unopened if name in self._start_offsets}
        return {**told, file_names.START_OFFSETS: {**kept, **told[file_names.START_OFFSETS]}}

    def say_too_much(self, logs: Iterable[Log]) -> bool:
        """Whether the files put any of `logs` higher than it is: it was cut since, or begins elsewhere."""
        return any(
            self._files.may_exceed(file_names.START_OFFSETS, log.name, log.start_offset)
            or self._files.may_exceed(file_names.FIRST_DIRTY_OFFSETS, log.name, log.compacting.first_dirty_offset)
            for log in logs
        )


def lowered(high_watermarks: Mapping[str, int], cut: Iterable[Log]) -> dict[str, int]:
    """Those of logs that were cut, as far as these go durably; of one that was deleted meanwhile nothing is said."""
    return {log.name: min(high_watermarks.get(log.name, 0), log.recovery_point) for log in cut if not log.is_closed}


def checkpointed(logs: Iterable[Log]) -> dict[str, dict[str, int]]:
    """What is to be said of `logs`, by file name."""
    logs = list(logs)
    return {
        file_names.RECOVERY_POINTS: {log.name: log.recovery_point for log in logs},
        file_names.START_OFFSETS: {
            log.name: log.start_offset for log in logs if log.start_offset > log.segments[0].base_offset
        },
        file_names.FIRST_DIRTY_OFFSETS: {
            log.name: log.compacting.first_dirty_offset for log in logs if log.compacting.first_dirty_offset
        },
        file_names.SCRUB_TIMES: {log.name: log.scrubbed.began_ms for log in logs if log.scrubbed.began_ms},
        file_names.SCRUB_OFFSETS: {
            log.name: offset for log in logs if (offset := scrub_goes_on_at(log)) != PASS_IS_OVER
        },
    }
