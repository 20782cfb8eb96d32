"""What the next flush of a log has to do beside syncing its last segment."""

from dataclasses import dataclass, field

from kraftpy.runtime.ports import Disk, File
from log_store import file_names
from log_store.room import Room
from log_store.spare import Spare


@dataclass(frozen=True, slots=True)
class SnapshotToWrite:
    """A snapshot of the producers as of `offset`, encoded; first under a temporary name beside `path`."""

    offset: int
    path: str
    data: bytes


@dataclass(slots=True)
class Unflushed:
    """Work that gathers on the loop until a flush takes it along."""

    directory: str
    files: list[File] = field(default_factory=list)  # of sealed segments
    paths: list[str] = field(default_factory=list)  # of files that nobody holds open
    small_files: list[tuple[str, bytes]] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)  # whose entries changed, the inner one first
    snapshots: list[SnapshotToWrite] = field(default_factory=list)
    removals: list[str] = field(default_factory=list)
    unsettled: list[Room | Spare] = field(default_factory=list)  # room that is to be made, or given back
    names_durable: bool = True  # of the segments, this moment; a new one is made only after those before it

    def __bool__(self) -> bool:
        return bool(self.files) or not self.is_only_files

    @property
    def is_only_files(self) -> bool:
        """Whether nothing is to be done but to sync `files`."""
        names = (self.paths, self.small_files, self.directories, self.snapshots, self.removals)
        return not any((self.unsettled, *names))

    def note_names_changed(self) -> None:
        self.names_durable = False
        if self.directory not in self.directories:
            self.directories.append(self.directory)

    def write_snapshot(self, snapshot: SnapshotToWrite) -> None:
        """In place of one at the same offset, from before the log was cut there."""
        self.snapshots = [each for each in self.snapshots if each.offset != snapshot.offset]
        self.snapshots.append(snapshot)

    def sync_names(self, disk: Disk) -> None:
        """Make names durable here and now, on the loop: rare. Raises `OSError`."""
        for directory in self.directories or [self.directory]:
            disk.sync_directory(directory)
        self.names_durable = True

    def take(self) -> "Unflushed":
        """Give everything to a flush, and begin anew; names stay undurable until it is done."""
        if self.removals and self.snapshots:  # a flush that was void may have left one under the name to be written
            written = {each.path + file_names.TEMPORARY for each in self.snapshots}
            self.removals = [path for path in self.removals if path not in written]
        taken = Unflushed(  # not by `replace`, which looks through the fields anew for every flush
            directory=self.directory,
            files=self.files,
            paths=self.paths,
            small_files=self.small_files,
            directories=self.directories,
            snapshots=self.snapshots,
            removals=self.removals,
            unsettled=self.unsettled,
            names_durable=self.names_durable,
        )
        self.files, self.paths, self.small_files = [], [], []
        self.directories, self.snapshots, self.removals, self.unsettled = [], [], [], []
        return taken
