"""Cleaned segments take the place of their sources, by names alone, so that a crash at any point is survived.

| step                | changes of names                                          | and after a crash behind it        |
|---------------------|-----------------------------------------------------------|------------------------------------|
| the cleaner is done | `B.log.cleaned` with its indexes, durable                 | forgotten                          |
| `begin`             | `.cleaned` → `.swap`, the batches last                    | forgotten or finished              |
| a flush             | these names are durable                                   | finished                           |
| `place`             | sources → `.deleted`; the indexes → `B.index`, …          | finished; the indexes are rebuilt  |
| a flush             | these too                                                 | finished                           |
| `finish`            | `B.log.swap` → `B.log`                                    | finished, or nothing is left to do |

`B.log.swap` is what commits: while it is there, the next start removes every segment that it covers, whatever became of
the other names (`finish_swaps`). It covers the offsets from B to the end of its last batch. The order of the batches'
name, last in `begin` and last of all, is kept by the flushes in between, which the log makes anyway; the loop waits for
none of them.

The index of transactions is not rebuilt: it has a cleaned one always, even if empty, so that after a crash exactly one
of its names tells which one it is (`.swap`, `.cleaned`, else it is in place already). `finish` removes an empty one.
"""

from collections.abc import Callable, Iterable, Sequence

from kraftpy.runtime.ports import Disk
from log_store import file_names
from log_store.batch_scan import intact_batches
from log_store.compaction.job import CleanedSegment
from log_store.config import LogConfig
from log_store.open_segments import OpenSegments
from log_store.segment import Segment
from log_store.segment_files import SegmentFiles

GAPS_MARK = b"version: 0\n"


class Swap:
    """One round's cleaned segments. Every method raises `OSError`."""

    def __init__(
        self, disk: Disk, directory: str, cleaned: Sequence[CleanedSegment], end_offset: int, due_ms: int
    ) -> None:
        """The log is clean up to `end_offset` afterwards; what is replaced stays until `due_ms` for its readers."""
        self.cleaned = tuple(cleaned)
        self.due_ms = due_ms
        self.end_offset = end_offset
        self.is_placed = False
        self._disk = disk
        self._directory = directory
        self._placed: list[Segment] = []

    def cleaned_paths(self, each: CleanedSegment) -> list[str]:
        return [path + file_names.CLEANED for path in self._files(each)]

    def _files(self, each: CleanedSegment) -> SegmentFiles:
        return SegmentFiles.of(self._directory, each.base_offset)

    def begin(self) -> None:
        for each in self.cleaned:
            for path in reversed(self._files(each)):  # the batches last
                if self._disk.exists(path + file_names.CLEANED):
                    self._disk.rename(path + file_names.CLEANED, path + file_names.SWAP)

    def undo(self) -> None:
        """Forget it, before `place`; whoever calls syncs the directory.

        From the end on: a kill in its midst must not leave the end of the round without its beginning. There the index
        of aborted transactions is without those whose records went from the beginning, where they would still be.
        """
        for each in reversed(self.cleaned):
            for path in self._files(each):
                if self._disk.exists(path + file_names.SWAP):
                    self._disk.remove(path + file_names.SWAP)

    def place(self, each: CleanedSegment, config: LogConfig, open_segments: OpenSegments, created_ms: int) -> Segment:
        """The segment, ready for use, whose sources' files are gone from their names."""
        files = self._files(each)
        for path in files[1:]:
            if self._disk.exists(path + file_names.SWAP):
                self._disk.rename(path + file_names.SWAP, path)
        segment = Segment(
            self._disk,
            open_segments,
            config,
            self._directory,
            each.base_offset,
            end_offset=each.end_offset,
            size_bytes=each.size_bytes,
            index_bytes=each.index_bytes,
            time_index_bytes=each.time_index_bytes,
            created_ms=created_ms,
        )
        segment.files = files._replace(log=files.log + file_names.SWAP)
        self._placed.append(segment)
        return segment

    def finish(self) -> None:
        for segment in self._placed:
            files = SegmentFiles.of(self._directory, segment.base_offset)
            segment.transactions.remove_if_empty()
            self._disk.rename(segment.files.log, files.log)
            segment.files = files


def finish_swaps(disk: Disk, directory: str, offsets_of: Callable[[str], Iterable[int]]) -> bool:
    """At a start: carry through what was committed. Gives whether there was anything. May be repeated at any point.

    `offsets_of`: the offsets of the files whose names end so.
    """
    swapped = list(offsets_of(file_names.SEGMENT + file_names.SWAP))
    if swapped:
        disk.write_atomically(f"{directory}/{file_names.MAY_HAVE_GAPS}", GAPS_MARK)
    for base_offset in swapped:
        _finish_one(disk, directory, base_offset, offsets_of(file_names.SEGMENT))
    return bool(swapped)


def _finish_one(disk: Disk, directory: str, base_offset: int, segments: Iterable[int]) -> None:
    files = SegmentFiles.of(directory, base_offset)
    swapped = files.log + file_names.SWAP
    end_offset = _end_of(disk, swapped)
    if end_offset is None and disk.exists(files.log):
        disk.remove(swapped)  # damaged since; its sources are still there
        disk.sync_directory(directory)
        return
    for covered in segments:
        if base_offset < covered < (end_offset or 0):
            for path in SegmentFiles.of(directory, covered):
                if disk.exists(path):
                    disk.remove(path)
    for path in (files.offset_index, files.time_index):
        for name in (path, path + file_names.SWAP):
            if disk.exists(name):
                disk.remove(name)
    for suffix in (file_names.SWAP, file_names.CLEANED):
        if disk.exists(files.transaction_index + suffix):
            disk.rename(files.transaction_index + suffix, files.transaction_index)
    disk.sync_directory(directory)
    disk.rename(swapped, files.log)
    disk.sync_directory(directory)


def _end_of(disk: Disk, path: str) -> int | None:
    """Where the batches of a cleaned segment end; None where one is damaged."""
    file = disk.open(path)
    size_bytes, read_bytes, end_offset = file.size(), 0, None
    for position, header, _ in intact_batches(file, 0, size_bytes, compacted=True):
        read_bytes, end_offset = position + header.size_bytes, header.end_offset
    return end_offset if read_bytes == size_bytes else None
