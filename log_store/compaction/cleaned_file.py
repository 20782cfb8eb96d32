"""Writing one cleaned segment: its batches and its indexes, under names that end in `.cleaned`.

The indexes are gathered in memory, which their limit bounds, and written at the end. An index may be sparser than its
interval asks for, so entries beyond the limit are left out.
"""

from kraftpy.runtime.limits import INT32_MAX
from kraftpy.runtime.ports import Buffer, Disk
from log_store import file_names, offset_index, time_index
from log_store.compaction.job import CleanedSegment
from log_store.compaction.raw_records import placeholder
from log_store.segment_files import SegmentFiles
from log_store.time_index import NO_TIMESTAMP
from log_store.transaction_index import Aborted, encode

BUFFER_BYTES = 1024 * 1024


class SegmentTooLargeError(Exception):
    """The cleaned batches would not fit into positions of 32 bits."""


class CleanedFile:
    """One output of a cleaner. Every method that touches the disk raises `OSError`."""

    def __init__(
        self, disk: Disk, directory: str, base_offset: int, *, index_interval_bytes: int, index_bytes_max: int
    ) -> None:
        self.base_offset = base_offset
        self.size_bytes = 0
        self.end_offset = base_offset  # where the batches end so far
        self.sources: list[int] = []
        self.aborted: list[Aborted] = []
        """Transactions that have records left here, or behind what is cleaned."""
        self.is_changed = False
        """Whether it differs from its sources otherwise than by lying in one file."""
        self._disk = disk
        self._paths = _cleaned_paths(directory, base_offset)
        self._file = disk.open(self._paths.log, create=True)
        self._file.truncate(0)
        self._interval_bytes = index_interval_bytes
        self._index_bytes_max = index_bytes_max
        self._unindexed_bytes = 0
        self._buffers: list[Buffer] = []
        self._buffered_bytes = 0
        self._written_bytes = 0
        self._index = bytearray()
        self._time_index = bytearray()
        self._youngest = (NO_TIMESTAMP, base_offset)  # time, offset
        self._indexed_ms = NO_TIMESTAMP
        self._last_epoch = -1
        self._dropped: tuple[int, int] | None = None  # base offset and epoch of the last batch, where it was dropped

    @property
    def index_bytes(self) -> int:
        """The size of the larger index so far."""
        return max(len(self._index), len(self._time_index))

    def write(self, batch: Buffer, end_offset: int, max_timestamp_ms: int, leader_epoch: int) -> None:
        """Add a batch, which ends with `end_offset` (exclusive). Raises `SegmentTooLargeError`."""
        size_bytes = len(batch)
        if self.size_bytes + size_bytes > INT32_MAX:
            raise SegmentTooLargeError(f"{self._paths.log} cannot hold more than {INT32_MAX} bytes")
        if max_timestamp_ms > self._youngest[0]:
            self._youngest = (max_timestamp_ms, end_offset - 1)
        if self._unindexed_bytes > self._interval_bytes:
            self._note_in_indexes(end_offset)
        self._unindexed_bytes += size_bytes
        self._buffers.append(bytes(batch))
        self._buffered_bytes += size_bytes
        self.size_bytes += size_bytes
        self.end_offset = end_offset
        self._last_epoch = leader_epoch
        self._dropped = None
        if self._buffered_bytes >= BUFFER_BYTES:
            self._flush_buffers()

    def drop(self, base_offset: int, leader_epoch: int) -> None:
        """A batch of the sources that is not written; noted, in case that it is the last."""
        self.is_changed = True
        self._dropped = (base_offset, leader_epoch)

    def _note_in_indexes(self, end_offset: int) -> None:
        if len(self._index) + offset_index.ENTRY.size <= self._index_bytes_max:
            self._index += offset_index.ENTRY.pack(end_offset - 1 - self.base_offset, self.size_bytes)
        self._note_time(self._index_bytes_max - time_index.ENTRY.size)  # one stays free for the end
        self._unindexed_bytes = 0

    def _note_time(self, bytes_max: int) -> None:
        timestamp_ms, offset = self._youngest
        if timestamp_ms > self._indexed_ms and len(self._time_index) + time_index.ENTRY.size <= bytes_max:
            self._time_index += time_index.ENTRY.pack(timestamp_ms, offset - self.base_offset)
            self._indexed_ms = timestamp_ms

    def _flush_buffers(self) -> None:
        if self._buffers:
            self._file.write([b"".join(self._buffers)], self._written_bytes)
            self._written_bytes = self.size_bytes
            self._buffers, self._buffered_bytes = [], 0

    def finish(self, end_offset: int) -> CleanedSegment:
        """Everything below `end_offset` has been given: complete the files and make them durable."""
        if self.end_offset < end_offset:
            # Its own base offset and epoch: the epochs before it keep where they began.
            base_offset, epoch = self._dropped or (self.end_offset, self._last_epoch)
            self.is_changed = True
            self.write(placeholder(max(base_offset, self.end_offset), end_offset, epoch), end_offset, -1, epoch)
        self._flush_buffers()
        self._note_time(self._index_bytes_max)
        self._file.sync()
        self._file.close()
        for path, entries in ((self._paths.offset_index, self._index), (self._paths.time_index, self._time_index)):
            if entries:
                self._write_whole(path, entries)
        self._write_whole(self._paths.transaction_index, encode(self.aborted))
        sizes = (self.size_bytes, len(self._index), len(self._time_index))
        return CleanedSegment(self.base_offset, end_offset, *sizes, tuple(self.sources))

    def _write_whole(self, path: str, data: Buffer) -> None:
        file = self._disk.open(path, create=True)
        file.truncate(0)
        file.write([data], 0)
        file.sync()
        file.close()

    def discard(self) -> None:
        """Remove what was written."""
        self._file.close()
        for path in self._paths:
            if self._disk.exists(path):
                self._disk.remove(path)


def _cleaned_paths(directory: str, base_offset: int) -> SegmentFiles:
    return SegmentFiles(*(path + file_names.CLEANED for path in SegmentFiles.of(directory, base_offset)))


def remove_leftovers(disk: Disk, directory: str) -> None:
    """Files of a job that never came to its end."""
    for name in disk.list(directory):
        if name.endswith(file_names.CLEANED):
            disk.remove(f"{directory}/{name}")
