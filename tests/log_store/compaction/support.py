"""Compacting a log here and now, and reading it as a consumer would."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from kraftpy.client.committed import AbortedTransaction, AbortedTransactions
from kraftpy.record import (
    ControlType,
    Record,
    decode_control_batch,
    encode_batch,
    encode_marker,
    iterate_headers,
)
from kraftpy.record.header import BatchHeader
from kraftpy.record.reader import decode_records
from log_store.compaction.cleaner import clean
from log_store.compaction.job import Cleaned
from log_store.config import LogConfig
from log_store.log import Log
from simulation.device import Device
from simulation.disk import SimulatedDisk
from tests.log_store.batches import WALL_MS

DIRECTORY = "/data/topic-0"
MAP_BYTES = 1 << 20


def new_disk() -> SimulatedDisk:
    disk = SimulatedDisk(Device(Random(1)))
    disk.make_directory("/data")
    disk.sync_directory("/")
    return disk


def compacted_config(**more: Any) -> LogConfig:
    fields: dict[str, Any] = {
        "cleanup_policy": "compact",
        "segment_bytes": 1000,
        "index_interval_bytes": 100,
        "min_cleanable_dirty_ratio": 0.0,
        "delete_retention_ms": 1000,
        "file_delete_delay_ms": 500,
    }
    return LogConfig(**(fields | more))


def new_log(disk: SimulatedDisk, **more: Any) -> Log:
    return Log.create(disk, DIRECTORY, compacted_config(**more), wall_ms=WALL_MS)


def reopened(disk: SimulatedDisk, *, clean_stop: bool = False, **more: Any) -> Log:
    disk = SimulatedDisk(disk.device)
    return Log.open(disk, DIRECTORY, compacted_config(**more), clean=clean_stop, wall_ms=WALL_MS)


def keyed(pairs: Sequence[tuple[bytes, bytes | None]], *, timestamp_ms: int = WALL_MS, **more: Any) -> bytearray:
    """One batch of (key, value)."""
    if more.get("producer_id", -1) >= 0:
        more.setdefault("producer_epoch", 0)
    records = [Record(at, timestamp_ms, key, value, ()) for at, (key, value) in enumerate(pairs)]
    return encode_batch(records, **more)


def compact(
    log: Log, disk: SimulatedDisk, wall_ms: int = WALL_MS, *, roll: bool = True, map_bytes: int = MAP_BYTES
) -> Cleaned | None:
    """One round, all of it, of everything that is durable; None where the plan says no."""
    if roll:
        log.roll(wall_ms)
    log.sync()
    plan = log.compacting.plan(log.flushed_offset, wall_ms)
    if plan is None:
        return None
    job = log.compacting.job_for(plan, wall_ms, map_bytes)
    cleaned = clean(disk, job)
    assert log.compacting.swap(job, cleaned, wall_ms)
    log.sync()
    return cleaned


def batches_of(log: Log, offset: int | None = None, bytes_max: int = 700) -> list[tuple[BatchHeader, bytes]]:
    """Every batch from `offset` (the start) on, as reads give them; each read makes progress."""
    found = []
    offset = log.start_offset if offset is None else offset
    while offset < log.end_offset:
        read = log.read(offset, bytes_max, log.end_offset)
        assert read.next_offset > offset, f"stuck at {offset}"
        data = b"".join(piece.file.read(piece.length, piece.position) for piece in read.slices)
        for position, header in iterate_headers(data):
            assert header.end_offset > offset, f"the batch at {header.base_offset} ends before {offset}"
            found.append((header, data[position : position + header.size_bytes]))
            offset = header.end_offset
        assert read.next_offset >= offset
        offset = read.next_offset
    return found


@dataclass
class Reader:
    """A consumer that keeps the last committed value of each key, in the order of offsets, not of commits."""

    position: int = 0
    newest: dict[bytes, tuple[int, bytes | None]] = field(default_factory=dict)  # key → offset, value
    pending: dict[int, list[Record]] = field(default_factory=dict)  # of open transactions, by producer

    def read(self, log: Log, end_offset: int | None = None) -> dict[bytes, bytes]:
        start = max(self.position, log.start_offset)
        if start < log.end_offset:
            for header, data in batches_of(log, start):
                if end_offset is not None and header.base_offset >= end_offset:
                    break
                self.take(header, data)
        return self.values()

    def values(self) -> dict[bytes, bytes]:
        return {key: value for key, (_, value) in self.newest.items() if value is not None}

    def take(self, header: BatchHeader, data: bytes) -> None:
        self.position = header.end_offset
        if header.is_control:
            for control in decode_control_batch(data):
                done = self.pending.pop(header.producer_id, [])
                if control.type is ControlType.COMMIT:
                    self.apply(done)
        elif header.is_transactional:
            self.pending.setdefault(header.producer_id, []).extend(decode_records(header, data))
        else:
            self.apply(decode_records(header, data))

    def apply(self, records: Iterable[Record]) -> None:
        for record in records:
            assert record.key is not None
            if record.offset >= self.newest.get(record.key, (-1, None))[0]:
                self.newest[record.key] = (record.offset, record.value)


def values_of(log: Log) -> dict[bytes, bytes]:
    """The last committed value of each key, as a new reader finds them."""
    return Reader().read(log)


def committed_values(log: Log, stable_end: int, bytes_max: int = 900) -> dict[bytes, bytes]:
    """As an SDK's consumer with isolation_level=read_committed finds them."""
    newest: dict[bytes, bytes | None] = {}
    offset = log.start_offset
    while offset < stable_end:
        read = log.read(offset, bytes_max, stable_end)
        data = b"".join(piece.file.read(piece.length, piece.position) for piece in read.slices)
        listed = log.aborted_in(read.base_offset, read.next_offset)
        aborted = AbortedTransactions(AbortedTransaction(each.first_offset, each.producer_id) for each in listed)
        for position, header in iterate_headers(data):
            batch = memoryview(data)[position : position + header.size_bytes]
            if not aborted.leave_out(header, batch):
                newest.update({record.key or b"": record.value for record in decode_records(header, batch)})
        if read.next_offset == offset:
            break
        offset = read.next_offset
    return {key: value for key, value in newest.items() if value is not None}


def offsets_of(log: Log) -> list[int]:
    """The offsets of all records that are left, control records too."""
    return [record.offset for header, data in batches_of(log) for record in decode_records(header, data)]


def marker(producer_id: int, *, commit: bool, timestamp_ms: int = WALL_MS) -> bytearray:
    return encode_marker(
        commit=commit, coordinator_epoch=1, timestamp_ms=timestamp_ms, producer_id=producer_id, producer_epoch=0
    )


def put(log: Log, key: bytes, value: bytes | None, epoch: int = 1, **more: int) -> None:
    log.append(keyed([(key, value)], **more), epoch, WALL_MS)


def in_transaction(log: Log, key: bytes, value: bytes, sequence: int) -> None:
    records = keyed([(key, value)], producer_id=7, base_sequence=sequence, transactional=True)
    log.append(records, 1, WALL_MS, verified=True)


def cleaned_in_two(disk: SimulatedDisk) -> Log:
    """Of its four segments a round makes two: aborted records, and a deleted one, lie in the first; what hides them in
    the second."""
    log = new_log(disk, cleanup_policy="compact,delete", retention_ms=-1, delete_retention_ms=0)
    half = b"x" * (log.config.segment_bytes // 3)
    put(log, b"a", half)
    log.roll(WALL_MS)
    put(log, b"gone", b"deleted")
    in_transaction(log, b"k", b"ABORTED", 0)
    put(log, b"b", half)
    log.roll(WALL_MS)
    log.append(marker(7, commit=False), 1, WALL_MS, markers=True)
    put(log, b"gone", None)
    put(log, b"c", half)
    log.roll(WALL_MS)
    put(log, b"d", half)
    log.roll(WALL_MS)
    log.sync()
    log.sync()
    return log
