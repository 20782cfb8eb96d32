"""What making or opening a log gives: its parts, before a `Log` is made of them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kraftpy.runtime.ports import Disk, File
from log_store.flush import SYNCS_AT_ONCE
from log_store.leader_epochs import LeaderEpochs
from log_store.producer_state import ProducerState
from log_store.segment import Segment
from log_store.snapshots import Snapshots
from log_store.unflushed import Unflushed

if TYPE_CHECKING:
    from log_store.new_log import Birth


@dataclass(slots=True)
class Recovery:
    """What opening a log found and did."""

    clean: bool
    proven: int = 0  # where recovery began: what lies below was durable by proof
    scanned_bytes: int = 0
    cut_bytes: int = 0  # torn or damaged; reserved room that was given back does not count
    discarded: list[str] = field(default_factory=list)  # segments that went, by file name
    short_of: int = 0  # records below were committed and are not there any more; 0: none is known to be missing


@dataclass(slots=True)
class Unsynced:
    """What must be durable before a log that was opened is used: of one, or of many."""

    files: list[File] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)

    def sync(self, disk: Disk, home: str) -> None:
        """On a disk thread; the logs lie in `home`. Raises `OSError`."""
        directories = dict.fromkeys(self.directories)
        if len(self.files) + len(directories) < SYNCS_AT_ONCE or not disk.sync_file_system(home):
            for file in self.files:
                file.sync()
            for directory in directories:
                disk.sync_directory(directory)


@dataclass(slots=True)
class OpenedLog:
    """The parts of a log, ready for use. `segments` has at least one; the last is appended to."""

    segments: list[Segment]
    epochs: LeaderEpochs
    producers: ProducerState
    start_offset: int
    recovery: Recovery
    snapshots: Snapshots
    unflushed: Unflushed
    may_have_gaps: bool = False
    """Whether the mark of compaction is there."""
    epochs_are_written: bool = True
    """Whether their file says what `epochs` does."""
    unproven_bytes: int = 0
    unsynced: Unsynced = field(default_factory=Unsynced)
    birth: "Birth | None" = None
    """What is still to be made on the disk, of a new log."""
