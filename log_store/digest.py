"""What a log holds, as checksums by offset: what replicas compare instead of records.

A batch counts for the range that its base offset lies in; ranges are multiples of `step`. Replicas of a log that was
never compacted are equal byte by byte, leader epochs and offsets included. Compaction makes bytes differ on its own on
every replica, so there single records are compared (`records`): each replica has the same at every offset that both
still keep.

Runs off the loop. A replica is read as far as `bytes_max` allows, in whole ranges; damage is told beside the checksums,
which then say nothing of the range that it lies in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from kraftpy.errors import KraftpyError
from kraftpy.record import BatchHeader, Record
from kraftpy.record.checksum import crc32c
from kraftpy.record.reader import decode_records
from kraftpy.runtime.ports import Disk
from log_store.integrity import Check, Damage, Extent, Spend
from log_store.leader_epochs import EpochStart
from log_store.segment_files import SegmentFiles, where_it_lies

_LENGTHS = Struct(">qqq")


class Stretch(NamedTuple):
    """Batches of one segment, from the boundary `position` up to its size; `end_offset` is exclusive."""

    base_offset: int
    position: int
    size_bytes: int
    end_offset: int


@dataclass(frozen=True, slots=True)
class DigestJob:
    """Digest the batches that begin in `[start_offset, end_offset)`."""

    directory: str
    stretches: tuple[Stretch, ...]
    epochs: tuple[EpochStart, ...]
    gaps: bool
    start_offset: int
    end_offset: int
    step: int
    bytes_max: int
    records: bool
    """Checksums of single records instead of ranges."""


class RangeDigest(NamedTuple):
    """The batches of one range: how many, and a checksum over their bytes."""

    start_offset: int
    batches: int
    checksum: int


class RecordDigest(NamedTuple):
    offset: int
    checksum: int


class Digested(NamedTuple):
    """`next_offset`: everything that begins below is in it. Ranges without a batch are left out."""

    next_offset: int
    bytes_read: int
    ranges: tuple[RangeDigest, ...]
    records: tuple[RecordDigest, ...]
    damages: tuple[Damage, ...]


def digest(disk: Disk, job: DigestJob, spend: Spend | None = None) -> Digested:
    """Read and digest. Blocks. Raises `FileNotFoundError` where a segment is gone, `OSError`."""
    return _Digest(disk, job, spend).run()


class _Digest:
    def __init__(self, disk: Disk, job: DigestJob, spend: Spend | None) -> None:
        self._disk = disk
        self._job = job
        self._spend = spend
        self._ranges: list[RangeDigest] = []
        self._records: list[RecordDigest] = []
        self._damages: list[Damage] = []
        self._bytes_read = 0

    def run(self) -> Digested:
        job = self._job
        next_offset = job.end_offset
        for stretch in job.stretches:
            stopped_at = self._walk(stretch)
            if stopped_at is not None:
                next_offset = stopped_at
                break
        inside = [
            each for each in self._damages if each.start_offset < next_offset and each.end_offset > job.start_offset
        ]
        return Digested(next_offset, self._bytes_read, tuple(self._ranges), tuple(self._records), tuple(inside))

    def _walk(self, stretch: Stretch) -> int | None:
        """Take one segment in. Where there is enough, or nothing more is wanted: the offset to go on from."""
        job = self._job
        file = where_it_lies(SegmentFiles.of(job.directory, stretch.base_offset).log, self._disk.open)
        try:
            extent = Extent(stretch.position, stretch.size_bytes, None, stretch.end_offset)
            check = Check(file, extent, job.epochs, gaps=job.gaps, spend=self._spend)
            for found in check.walk():
                if isinstance(found, Damage):
                    self._damages.append(found)
                    continue
                header, data = found
                if header.base_offset < job.start_offset:
                    continue
                if header.base_offset >= job.end_offset:
                    return job.end_offset
                start = header.base_offset - header.base_offset % job.step
                if self._bytes_read >= job.bytes_max and start > job.start_offset and self._is_new(start):
                    return start
                self._take(start, header, data)
        finally:
            file.close()
        return None

    def _is_new(self, start: int) -> bool:
        last = self._records[-1].offset if self._records else -1
        return not (self._ranges and self._ranges[-1].start_offset == start) and last < start

    def _take(self, start: int, header: BatchHeader, data: memoryview) -> None:
        self._bytes_read += header.size_bytes
        if self._job.records:
            self._records += _record_digests(header, data)
        elif self._ranges and self._ranges[-1].start_offset == start:
            _, batches, checksum = self._ranges[-1]
            self._ranges[-1] = RangeDigest(start, batches + 1, crc32c(data, checksum))
        else:
            self._ranges.append(RangeDigest(start, 1, crc32c(data)))


def _record_digests(header: BatchHeader, data: memoryview) -> Iterator[RecordDigest]:
    try:
        records = decode_records(header, data)
    except KraftpyError:  # what no consumer can read either: its bytes are compared
        yield RecordDigest(header.base_offset, crc32c(data))
        return
    for record in records:
        yield RecordDigest(record.offset, _checksum(record))


def _checksum(record: Record) -> int:
    checksum = crc32c(_LENGTHS.pack(record.timestamp_ms, _length(record.key), _length(record.value)))
    checksum = crc32c(record.value or b"", crc32c(record.key or b"", checksum))
    for name, value in record.headers:
        checksum = crc32c(
            value or b"", crc32c(name.encode(), crc32c(_LENGTHS.pack(0, len(name), _length(value)), checksum))
        )
    return checksum


def _length(value: bytes | None) -> int:
    return -1 if value is None else len(value)
