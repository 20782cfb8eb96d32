"""Flushes: what the loop hands to a disk thread, or to the kernel, and gets back done.

The order is part of the promise. First the files get the length that the loop wants (`room`, `spare`). Then batches and
indexes are synced, and beside them, still under temporary names, the leader epochs and the producers' snapshots; then
the epochs get their name, and the names become durable. The snapshots get theirs from the loop when it takes the
result, unless the log was cut in the meantime, so that a snapshot never claims more than is durable (see `snapshots`;
leftovers under temporary names were removed before).

Many logs that are flushed together go through each step together, because the device takes about as long for all of
them as for one: a sync of anything is a flush of its cache and a commit of the file system's journal, 0.1 to 2 ms, and
`sync_file_system` is two of those for hundreds of logs, where each new one would need four.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from kraftpy.runtime.ports import Disk, File
from log_store import file_names
from log_store.unflushed import Unflushed

FLUSHED = ".flush" + file_names.TEMPORARY
"""Not the name that `Disk.write_atomically` takes: the loop may write the same file at the same time."""

SYNCS_AT_ONCE = 32
"""From so many on the file system is synced as a whole. That waits for what others have written to it too, so it is not
for the few files of a node that has little to do."""


@dataclass(frozen=True, slots=True, eq=False)  # one flush is not another, whatever they hold
class Flush:
    """Everything that makes a log durable up to `end_offset`. `run` blocks; the rest is the log's business."""

    disk: Disk
    end_offset: int  # exclusive; of the log when the flush began
    generation: int  # of the log's truncations when the flush began
    epoch_changes: int  # of the leader epochs that are written with it; -1: they are not
    work: Unflushed
    written: list[File] = field(default_factory=list)  # opened for this, most of them under temporary names

    def run(self) -> None:
        """Do it, on a disk thread. Raises `OSError`, after which nothing may count on anything of it."""
        run_together([self], self.work.directory)

    async def carry_out(self) -> None:
        """Do it off the loop. Raises as `run` does."""
        await carry_out([self], self.work.directory)

    def write(self) -> None:
        work = self.work
        for each in work.unsettled:
            each.settle()
        self.written.extend(self.disk.open(path) for path in work.paths)
        for path, content in work.small_files:
            self.written.append(self._write(path + FLUSHED, content))
        for snapshot in work.snapshots:
            self.written.append(self._write(snapshot.path + file_names.TEMPORARY, snapshot.data))

    def _write(self, path: str, content: bytes) -> File:
        file = self.disk.open(path, create=True)
        file.truncate(0)
        file.write([content], 0)
        return file

    @property
    def files(self) -> list[File]:
        return [*self.work.files, *self.written]

    def sync_files(self) -> None:
        for file in self.files:
            file.sync()

    def place(self) -> None:
        for path, _ in self.work.small_files:
            self.disk.rename(path + FLUSHED, path)

    @property
    def directories(self) -> list[str]:
        """Whose entries changed."""
        work = self.work
        own = [work.directory] if work.small_files or work.directory in work.directories else []
        return own + [directory for directory in work.directories if directory != work.directory]

    def sync_own_directory(self) -> None:
        if self.work.directory in self.directories:
            self.disk.sync_directory(self.work.directory)

    def remove(self) -> None:
        for path in self.work.removals:
            with suppress(FileNotFoundError):  # the loop may do it between the look and the removal
                if self.disk.exists(path):
                    self.disk.remove(path)


IsGone = Callable[[Flush], bool]
"""Whether the log of a flush was closed meanwhile: its files may be missing, and under their names those of another."""


async def carry_out(flushes: Sequence[Flush], home: str, is_gone: IsGone = lambda flush: False) -> None:
    """The same as `run_together`, from the loop. Most flushes are of a few files and nothing else: those need no thread
    where the kernel syncs them by itself."""
    if not flushes:
        return
    disk = flushes[0].disk
    files = [file for flush in flushes for file in flush.work.files]
    if len(files) < SYNCS_AT_ONCE and all(flush.work.is_only_files for flush in flushes):
        await disk.sync(files)
    else:
        await disk.run(lambda: run_together(flushes, home, is_gone))


def run_together(flushes: Sequence[Flush], home: str, is_gone: IsGone = lambda flush: False) -> None:
    """Carry out flushes of logs in the directory `home`, on a disk thread.

    Raises `OSError`, after which nothing may count on any of them.
    """

    def each(step: Callable[[Flush], None]) -> None:
        for flush in flushes:
            if is_gone(flush):
                continue
            try:
                step(flush)
            except FileNotFoundError:
                if not is_gone(flush):
                    raise

    if not flushes:
        return
    disk = flushes[0].disk
    each(Flush.write)
    files = sum(len(flush.files) for flush in flushes)
    if files < SYNCS_AT_ONCE or not disk.sync_file_system(home):
        each(Flush.sync_files)
    each(Flush.place)
    own = {flush.work.directory for flush in flushes}
    directories = dict.fromkeys(directory for flush in flushes for directory in flush.directories)
    if len(directories) < SYNCS_AT_ONCE or not disk.sync_file_system(home):
        each(Flush.sync_own_directory)
        for directory in directories:
            if directory not in own:
                disk.sync_directory(directory)
    each(Flush.remove)
