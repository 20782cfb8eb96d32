"""One segment: a file of batches, its two indexes, and what is remembered of its newest batches.

    00000000000000000042.log         batches, one after the other, from offset 42 on
    00000000000000000042.index       offset → position
    00000000000000000042.timeindex   timestamp → offset
    00000000000000000042.txnindex    aborted transactions, if there are any (`transaction_index`)

Invariants:
- `[0, size_bytes)` of the file is whole batches in the order of their offsets. What lies behind is reserved zeros, or
  the torn bytes of an append that failed, which nobody reads and the next append overwrites.
- Only the last segment of a log is appended to. `seal` shortens its files to what they hold; after `finish` a flush
  does.
- The places of the newest batches are kept in memory, so that readers at the end of the log, which followers and most
  consumers are, cost no search.

A segment knows neither epochs nor producers nor durability; those are the log's.
"""

import errno
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from kraftpy.errors import CorruptRecordError
from kraftpy.runtime.limits import INT32_MAX
from kraftpy.runtime.ports import Buffer, Disk, File
from log_store.batch_places import MAX_TIMESTAMP_AT, SCAN_BYTES, BatchPlace, BatchPlaces
from log_store.config import LogConfig
from log_store.cutting import Cut
from log_store.offset_index import OffsetIndex
from log_store.open_segments import OpenSegments
from log_store.room import Room
from log_store.segment_files import SegmentFiles
from log_store.segment_room import FILLING_UP, SegmentRoom
from log_store.time_index import NO_TIMESTAMP, TimeIndex
from log_store.transaction_index import TransactionIndex

NEWEST_BATCHES = 256
"""Places kept in memory; twice as many before the older half is dropped."""

REWRITE_BYTES = 1024 * 1024


class AppendedBatch(NamedTuple):
    """What the segment notes of a batch that it appends."""

    base_offset: int
    end_offset: int
    size_bytes: int
    max_timestamp_ms: int


class Segment:
    """One segment of an open log."""

    __slots__ = (
        "_config",
        "_disk",
        "_file",
        "_newest_offsets",
        "_newest_positions",
        "_open_segments",
        "_unindexed_bytes",
        "base_offset",
        "created_ms",
        "end_offset",
        "files",
        "first_timestamp_ms",
        "index",
        "max_timestamp_ms",
        "max_timestamp_offset",
        "room",
        "size_bytes",
        "time_index",
        "transactions",
        "written_ms",
    )

    def __init__(
        self,
        disk: Disk,
        open_segments: OpenSegments,
        config: LogConfig,
        directory: str,
        base_offset: int,
        *,
        end_offset: int,
        size_bytes: int,
        index_bytes: int,
        time_index_bytes: int,
        created_ms: int,
    ) -> None:
        self._disk = disk
        self._open_segments = open_segments
        self._config = config
        self.files = SegmentFiles.of(directory, base_offset)
        self.base_offset = base_offset
        self.end_offset = end_offset
        self.size_bytes = size_bytes
        self.created_ms = created_ms
        self.written_ms = created_ms
        """When it was last appended to; after a start, when that was."""
        index_bytes_max = config.segment_index_bytes
        self.index = OffsetIndex(
            disk, self.files.offset_index, base_offset, size_bytes=index_bytes, bytes_max=index_bytes_max
        )
        self.time_index = TimeIndex(
            disk, self.files.time_index, base_offset, size_bytes=time_index_bytes, bytes_max=index_bytes_max
        )
        self.transactions = TransactionIndex(disk, self.files.transaction_index)
        self.first_timestamp_ms: int | None = None  # of the first batch; None: not read yet, or no batch
        self.max_timestamp_ms: int | None = None  # None: not read yet
        self.max_timestamp_offset = base_offset
        self._file: File | None = None
        batches = Room(disk, self.files.log, size_bytes)  # size_bytes <= its length
        self.room = SegmentRoom(batches, self.index.entries, self.time_index.entries)
        self._unindexed_bytes = 0  # since the last index entry
        self._newest_offsets: list[int] = []  # base offsets; same length as the positions
        self._newest_positions: list[int] = []

    @classmethod
    def new(
        cls,
        disk: Disk,
        open_segments: OpenSegments,
        config: LogConfig,
        directory: str,
        base_offset: int,
        *,
        created_ms: int,
    ) -> "Segment":
        """A new, empty segment, of which the disk knows nothing before `make_file`."""
        segment = cls(
            disk,
            open_segments,
            config,
            directory,
            base_offset,
            end_offset=base_offset,
            size_bytes=0,
            index_bytes=0,
            time_index_bytes=0,
            created_ms=created_ms,
        )
        segment.max_timestamp_ms = NO_TIMESTAMP
        return segment

    @classmethod
    def create(
        cls,
        disk: Disk,
        open_segments: OpenSegments,
        config: LogConfig,
        directory: str,
        base_offset: int,
        *,
        created_ms: int,
    ) -> "Segment":
        """A new, empty segment; its file exists afterwards. Raises `OSError`."""
        segment = cls.new(disk, open_segments, config, directory, base_offset, created_ms=created_ms)
        segment.make_file()
        return segment

    def make_file(self) -> None:
        """The file of batches, empty; no room is reserved. Raises `OSError`."""
        self._disk.open(self.files.log, create=True).close()

    def __repr__(self) -> str:
        return f"Segment([{self.base_offset}, {self.end_offset}), {self.size_bytes} bytes)"

    # --- appending ---------------------------------------------------------------------------------------------------

    def is_full_for(self, size_bytes: int, batches: int, end_offset: int, timestamp_ms: int, wall_ms: int) -> bool:
        """Whether the next segment should take this append: size, age, room in the indexes, reach of their entries."""
        if self.size_bytes == 0:
            return False
        config = self._config
        if self.size_bytes + size_bytes > config.segment_bytes or end_offset - self.base_offset > INT32_MAX:
            return True
        index, time_index = self.index.entries, self.time_index.entries
        if index.count + batches > index.entries_max or time_index.count + batches + 1 > time_index.entries_max:
            return True
        return self.age_ms(timestamp_ms, wall_ms) > config.roll_ms

    def age_ms(self, timestamp_ms: int, wall_ms: int) -> int:
        """By the records' own clock where they have one: how much younger a record is than the first one here."""
        first_ms = self.first_timestamp_ms
        if first_ms is None:
            first_ms = self.first_timestamp_ms = self._read_first_timestamp()
        if first_ms >= 0 and timestamp_ms >= 0:
            return timestamp_ms - first_ms
        return wall_ms - self.created_ms

    def look_ahead(self) -> list[Room]:
        """Want the room that it will need soon: what the next flush has to be told of."""
        return self.room.look_ahead(self.size_bytes, self._config.segment_bytes)

    @property
    def is_filling_up(self) -> bool:
        """Whether the next segment is worth its room."""
        index, segment_bytes = self.index.entries, self._config.segment_bytes
        return self.size_bytes >= segment_bytes * FILLING_UP or index.count >= index.entries_max * FILLING_UP

    def next_lengths(self) -> tuple[int, int, int]:
        """How long the files of the next segment should be to begin with."""
        return self.room.next_lengths(self._config.segment_bytes)

    def append(self, records: Buffer, batches: Sequence[AppendedBatch]) -> None:
        """Write `records`, which are exactly `batches`, at the end. Raises `OSError`; then nothing was appended."""
        position = self.size_bytes
        end = position + len(records)
        if end > self.room.batches.length_bytes:
            self.room.reserve(end, self._config.segment_bytes)
        if self._unindexed_bytes + len(records) > self._config.index_interval_bytes:  # else there will be no entry
            self.room.reserve_entries(len(batches))
        self.file().write((records,), position)
        if self.first_timestamp_ms is None and position == 0:
            self.first_timestamp_ms = batches[0].max_timestamp_ms
        expected = self.end_offset
        for base_offset, end_offset, size_bytes, timestamp_ms in batches:
            if base_offset != expected:
                self._forget_newest()  # their ends are told from the next one's base, so they have no gap
            self._note(base_offset, end_offset, position, size_bytes, timestamp_ms)
            position += size_bytes
            expected = end_offset
        assert position == end
        self.size_bytes = end
        self.end_offset = end_offset

    def _note(self, base_offset: int, end_offset: int, position: int, size_bytes: int, timestamp_ms: int) -> None:
        youngest = self.max_timestamp_ms
        if youngest is None:
            youngest = self.youngest_ms()
        if timestamp_ms > youngest:
            self.max_timestamp_ms = youngest = timestamp_ms
            self.max_timestamp_offset = end_offset - 1
        if self._unindexed_bytes > self._config.index_interval_bytes:
            self.index.append(end_offset - 1, position)
            self.time_index.append_if_younger(youngest, self.max_timestamp_offset)
            self._unindexed_bytes = 0
        self._unindexed_bytes += size_bytes
        offsets = self._newest_offsets
        if len(offsets) >= 2 * NEWEST_BATCHES:
            del offsets[:NEWEST_BATCHES]
            del self._newest_positions[:NEWEST_BATCHES]
        offsets.append(base_offset)
        self._newest_positions.append(position)

    # --- reading -----------------------------------------------------------------------------------------------------

    def file(self) -> File:
        self._open_segments.touch(self)
        if self._file is None:
            self._file = self._disk.open(self.files.log)
        return self._file

    def find(self, offset: int) -> BatchPlace | None:
        """The first batch that ends above `offset`; None: all end before. Raises `OSError`, `CorruptRecordError`."""
        if offset >= self.end_offset:
            return None
        newest = self._newest_offsets
        if newest and offset >= newest[0]:
            return self._newest(bisect_right(newest, offset) - 1)
        for place in self._scan(self.index.position_before(offset)):
            if place.end_offset > offset:
                return place
        return None

    def position_before(self, offset: int) -> int:
        """A batch's position at or before the batch that holds `offset`, for who reads elsewhere. Raises `OSError`."""
        if offset <= self.base_offset:
            return 0
        self._open_segments.touch(self)  # the index will be mapped, and is given back with the rest
        return self.index.position_before(offset)

    def boundary(self, position: int, first: BatchPlace) -> tuple[int, int]:
        """The last batch boundary at or below `position`, but not before the end of `first`.

        Returns it with the offset at which the batches before it end.
        """
        if position >= self.size_bytes:
            return self.size_bytes, self.end_offset
        after_first = first.position + first.size_bytes
        if position <= after_first:
            return after_first, first.end_offset
        newest = self._newest_positions
        if newest and position >= newest[0]:
            number = bisect_right(newest, position) - 1
            if newest[number] > after_first:
                return newest[number], self._newest_offsets[number]
            return after_first, first.end_offset
        boundary, end_offset = after_first, first.end_offset
        for place in self._scan(max(after_first, self.index.boundary_before(position))):
            after = place.position + place.size_bytes
            if place.position > boundary:
                boundary, end_offset = place.position, place.base_offset
            if after > position:
                break
            boundary, end_offset = after, place.end_offset
        return boundary, end_offset

    def position_of(self, end_offset: int) -> int:
        """Where the batches below `end_offset` end. Raises `OSError`."""
        if end_offset <= self.base_offset:
            return 0
        place = self.find(end_offset)
        return self.size_bytes if place is None else place.position

    def unread(
        self, offset: int, bytes_max: int, *, cached_too: bool = False, newest_too: bool = False
    ) -> tuple[File, int, int] | None:
        """What a read from `offset` would have to fetch from the device: (file, length, position); None: nothing.

        It begins with a batch. `cached_too`: also what is in the page cache, but not the newest batches, which were
        checked a moment ago, without `newest_too`.
        """
        newest = self._newest_offsets
        if (newest and offset >= newest[0] and not newest_too) or offset >= self.end_offset:
            return None
        position = self.index.position_before(offset)
        length = min(bytes_max + SCAN_BYTES + self._config.index_interval_bytes, self.size_bytes - position)
        file = self.file()
        return None if not cached_too and file.is_cached(length, position) else (file, length, position)

    def _newest(self, number: int) -> BatchPlace:
        offsets, positions = self._newest_offsets, self._newest_positions
        if number + 1 < len(offsets):
            end_offset, end = offsets[number + 1], positions[number + 1]
        else:
            end_offset, end = self.end_offset, self.size_bytes
        return BatchPlace(offsets[number], end_offset, positions[number], end - positions[number])

    def _scan(self, position: int) -> BatchPlaces:
        return BatchPlaces(self.file(), position, self.size_bytes)

    # --- times -------------------------------------------------------------------------------------------------------

    def youngest_ms(self) -> int:
        """The youngest timestamp; -1 without one. Reads what is not known yet: raises `OSError`."""
        if self.max_timestamp_ms is None:
            self.max_timestamp_ms, self.max_timestamp_offset = self.time_index.last()
        return self.max_timestamp_ms

    def oldest_ms(self) -> int:
        """The time of the first batch; where it has none, when the segment was begun. Raises `OSError`."""
        if self.first_timestamp_ms is None:
            self.first_timestamp_ms = self._read_first_timestamp()
        return self.first_timestamp_ms if self.first_timestamp_ms >= 0 else self.created_ms

    def _read_first_timestamp(self) -> int:
        """The maximum timestamp of the first batch, as an append would have noted it; -1 without one."""
        data = self.file().read(8, MAX_TIMESTAMP_AT) if self.size_bytes else b""
        return int.from_bytes(data, "big", signed=True) if len(data) == 8 else NO_TIMESTAMP

    # --- changing what it holds --------------------------------------------------------------------------------------

    @property
    def is_sealed(self) -> bool:
        """Whether its files are no longer than what they hold."""
        return self.room.is_exact(self.size_bytes)

    def empty(self) -> None:
        """Forget everything, the indexes too, to note it anew from what a scan finds; the batches are left alone.

        Raises `OSError`.
        """
        self.size_bytes = 0
        self.end_offset = self.base_offset
        self.first_timestamp_ms = None
        self.max_timestamp_ms = NO_TIMESTAMP
        self.max_timestamp_offset = self.base_offset
        self._unindexed_bytes = 0
        self._forget_newest()
        self.index.entries.clear()
        self.time_index.entries.clear()

    def note_recovered(self, base_offset: int, end_offset: int, size_bytes: int, max_timestamp_ms: int) -> None:
        """The next batch that a scan found in the file. Raises `OSError`."""
        if self._unindexed_bytes > self._config.index_interval_bytes:
            self.room.reserve_entries(1)
        if base_offset != self.end_offset:
            self._forget_newest()
        self._note(base_offset, end_offset, self.size_bytes, size_bytes, max_timestamp_ms)
        self.size_bytes += size_bytes
        self.end_offset = end_offset

    def seal(self) -> None:
        """No more appends: complete the time index and shorten the files to what they hold. Raises `OSError`."""
        self._complete()
        self.room.trim(self.size_bytes)

    def finish(self) -> list[Room]:
        """As `seal`, but let a flush shorten the files: what it has to be told of. Raises `OSError`."""
        self._complete()
        return self.room.give_back(self.size_bytes)

    def _complete(self) -> None:
        youngest_ms = self.youngest_ms()
        if youngest_ms > self.time_index.last().timestamp_ms:
            self.time_index.append_last(youngest_ms, self.max_timestamp_offset)
        self._forget_newest()

    def cut(self, cut: Cut) -> None:
        """Carry out what was planned; the file is shortened. Raises `OSError`.

        Shortened and not overwritten with zeros: what is reserved later reads as zeros too, and the log syncs the file
        before anything is appended, so a crash cannot bring the old batches back.
        """
        position, end_offset, self.max_timestamp_ms, self.max_timestamp_offset = cut
        self.index.cut(end_offset)
        self.time_index.cut(end_offset)
        self.room.batches.cut(position)
        self.size_bytes = position
        self.end_offset = end_offset
        self.transactions.cut(end_offset)
        keep = bisect_left(self._newest_positions, position)
        del self._newest_offsets[keep:], self._newest_positions[keep:]
        self._unindexed_bytes = position - self.index.last_position()
        if position == 0:
            self.first_timestamp_ms = None

    def resume(self, unindexed_bytes: int) -> None:
        """Go on appending to a segment that was opened: so many bytes follow its last index entry."""
        self._unindexed_bytes = unindexed_bytes

    def recall_proven(self, proven: int) -> None:
        """Take of the indexes what a proof at `proven` covers, whatever else is in them, and forget the rest.

        The batches from the last entry on are still to be noted, the one that it points to included. Raises
        `CorruptRecordError` where the indexes are not what such a proof promises, and `OSError`.
        """
        self.index.cut_to_proof(proven)
        self.time_index.cut_to_proof(proven)
        if self.index.entries.count and not self.time_index.entries.count:
            raise CorruptRecordError(f"{self.files.time_index} is not as it was left")
        self.size_bytes = self.index.last_position()
        self.max_timestamp_ms = None

    def write_again(self, position: int) -> None:
        """Write what stands from `position` on once more, and the file's length. Raises `OSError`.

        After a failed fsync the page cache may hold as clean what the medium never got. Only what is written is synced.
        """
        file = self.file()
        self.room.batches.cut(self.size_bytes)
        while position < self.size_bytes:
            data = file.read(min(REWRITE_BYTES, self.size_bytes - position), position)
            if not data:
                raise OSError(errno.EIO, "the file ends before its batches do", self.files.log)
            file.write([data], position)
            position += len(data)

    def sync_all(self) -> None:
        """Make the file and its indexes durable. Raises `OSError`."""
        for file in self.open_files():
            file.sync()

    def open_files(self) -> list[File]:
        """The files that exist, opened: what has to be synced after sealing."""
        _, *indexes = self.files
        return [self.file(), *(self._disk.open(path) for path in indexes if self._disk.exists(path))]

    def release(self) -> None:
        """Give descriptors and mappings back; the next use opens them again."""
        self._file = None
        self.index.entries.release()
        self.time_index.entries.release()
        self.transactions.release()

    def adopt(self, open_segments: OpenSegments, config: LogConfig) -> None:
        """From now on count as open there, and follow these settings. Nothing is open at this moment."""
        self._open_segments = open_segments
        self._config = config

    def reconfigure(self, config: LogConfig) -> None:
        self._config = config

    def close(self) -> None:
        """Give everything back; the segment is used no more."""
        self._open_segments.forget(self)
        self.room.keep()
        self.release()
        self._forget_newest()

    def _forget_newest(self) -> None:
        self._newest_offsets.clear()
        self._newest_positions.clear()
