"""The cleaning itself: closed segments in, finished files out. Works on files only, so it runs in any process.

Two passes. The first reads the dirty part and notes the newest offset of each key, until everything is noted or the
map is full; the round ends there. (Where markers are all that is known of producers, the headers of the rest are read,
too, for the newest of these.) The second reads everything from the beginning of the log on and writes what stays.
Memory is bounded by the map, one batch (decompressed at most 128 MiB), a write buffer, and the limits of what is known
of transactions and producers; never by the number of keys or the size of the log.

The files are durable when this returns, and nobody knows of them yet: putting them in place is the log's business.
Whatever it leaves behind when it fails is removed by who asked for it; by the next job for this log, or the next start,
where that one died too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kraftpy.errors import CorruptRecordError
from kraftpy.record import BatchHeader, read_header
from kraftpy.runtime.limits import INT32_MAX
from kraftpy.runtime.ports import Disk, File
from log_store.batch_scan import ScannedBatch, batch_headers, intact_batches
from log_store.compaction.batch_filter import BatchFilter, decides
from log_store.compaction.cleaned_file import CleanedFile, remove_leftovers
from log_store.compaction.job import Cleaned, CleanedSegment, CleaningJob, Source
from log_store.compaction.offset_map import OffsetMap
from log_store.compaction.plan import fits
from log_store.compaction.raw_records import raw_records, records_of
from log_store.compaction.transactions import Transactions
from log_store.segment_files import SegmentFiles
from log_store.transaction_index import TransactionIndex

HORIZON_GROWTH = 2
"""A delete horizon lengthens each record's time by a few bytes; no record becomes more than twice as long. So a segment
may outgrow segment.bytes a little, but never the positions of 32 bits."""


Spend = Callable[[int], None]
"""Told of every so many bytes that were read or are written; may wait, so as to slow the cleaner down."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What every step needs."""

    disk: Disk
    job: CleaningJob
    spend: Spend


def clean(disk: Disk, job: CleaningJob, spend: Spend = lambda size_bytes: None) -> Cleaned:
    """Carry out `job`. Blocks, for minutes perhaps.

    Raises `OSError`, `CorruptRecordError` for a segment that is damaged, `InvalidRecordError` and `RecordTooLargeError`
    for records that cannot be read, `SegmentTooLargeError`. Then nothing has changed.
    """
    remove_leftovers(disk, job.directory)
    work = _Work(disk, job, spend)
    known = _read_dirty(work)
    rules = BatchFilter(job, known.newest, known.transactions, known.end_offset, _newest_markers(work))
    sources = [source for source in job.sources if source.base_offset < known.end_offset]
    segments = _write(work, sources, rules) if known.end_offset > job.first_dirty_offset else []
    if segments:
        disk.sync_directory(job.directory)
    return Cleaned(
        known.end_offset,
        tuple(segments),
        bytes_read=sum(source.size_bytes for source in sources),
        bytes_written=sum(segment.size_bytes for segment in segments),
        records_read=rules.records_read,
        records_kept=rules.records_kept,
        keyless=rules.keyless,
        map_was_full=known.map_was_full,
        map_share=known.newest.share,
    )


# --- the first pass: what is newest -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Known:
    """What the first pass has found out about everything below `end_offset`."""

    newest: OffsetMap
    transactions: Transactions
    end_offset: int
    map_was_full: bool = False


def _read_dirty(work: _Work) -> _Known:
    job = work.job
    dirty = [source for source in job.sources if source.end_offset > job.first_dirty_offset]
    known = _Known(OffsetMap(job.map_bytes), Transactions(), job.sources[-1].end_offset)
    has_looked_ahead = False
    for number, source in enumerate(dirty):
        for batch in _batches(work, source):
            header = batch.header
            if header.end_offset <= job.first_dirty_offset:
                continue
            if header.is_transactional and not has_looked_ahead:
                has_looked_ahead = True
                _read_markers(work, dirty[number:], known)
            if header.base_offset >= known.end_offset:
                return known
            if not header.is_control and not (header.is_transactional and known.transactions.is_aborted(header)):
                _note_keys(header, batch.data, job, known)
            if known.map_was_full:
                return known
    return known


def _note_keys(header: BatchHeader, batch: memoryview, job: CleaningJob, known: _Known) -> None:
    put, base_offset = known.newest.put, header.base_offset
    first_delta = job.first_dirty_offset - base_offset
    for record in raw_records(records_of(header, batch), header.record_count):
        if record.key is None or record.offset_delta < first_delta:
            continue
        offset = base_offset + record.offset_delta
        if not put(record.key, offset):
            known.end_offset = min(known.end_offset, offset)
            known.map_was_full = True
            return


def _read_markers(work: _Work, sources: list[Source], known: _Known) -> None:
    """How the transactions of these segments end; the round goes no further than that is known."""
    transactions, job = known.transactions, work.job
    for source in sources:
        file = _opened(work, source)
        for position, header, data in batch_headers(file, 0, source.size_bytes):
            work.spend(len(data))
            if header.end_offset <= job.first_dirty_offset or not header.is_transactional:
                continue
            if header.is_control and len(data) < header.size_bytes:
                data = memoryview(file.read(header.size_bytes, position))
            outcome = decides(header, data)
            if outcome is not None or not header.is_control:
                transactions.note(header, outcome)
            if transactions.is_full:
                break
        if transactions.is_full:
            break
    known.end_offset = max(transactions.decided_end(known.end_offset), job.first_dirty_offset)


def _newest_markers(work: _Work) -> dict[int, int]:
    """The offset of the newest marker of each producer of whom the log remembers nothing else."""
    alone = {each.producer_id for each in work.job.producers if each.last_offset < 0}
    newest: dict[int, int] = {}
    for source in work.job.sources if alone else ():
        for _, header, data in batch_headers(_opened(work, source), 0, source.size_bytes):
            work.spend(len(data))
            if header.is_control and header.record_count and header.producer_id in alone:
                newest[header.producer_id] = header.base_offset
    return newest


# --- the second pass: what stays --------------------------------------------------------------------------------------


def _write(work: _Work, sources: list[Source], rules: BatchFilter) -> list[CleanedSegment]:
    job = work.job
    finished: list[CleanedSegment] = []
    output: CleanedFile | None = None
    previous_end = 0
    for source in sources:
        if output is not None and not _goes_on(job, output, source):
            finished += _finish(output, previous_end)
            output = None
        if output is None:
            output = CleanedFile(
                work.disk,
                job.directory,
                source.base_offset,
                index_interval_bytes=job.index_interval_bytes,
                index_bytes_max=job.segment_index_bytes,
            )
        output.sources.append(source.base_offset)
        _write_source(work, source, rules, output)
        # Below the end nothing is left of what was aborted; a marker that may go must leave no entry behind, or readers
        # would take what its producer writes next for aborted too.
        index = TransactionIndex(work.disk, SegmentFiles.of(job.directory, source.base_offset).transaction_index)
        output.aborted += index.read_from(rules.end_offset)
        previous_end = source.end_offset
    if output is not None:
        finished += _finish(output, previous_end)
    return finished


def _goes_on(job: CleaningJob, output: CleanedFile, source: Source) -> bool:
    return fits(
        output.base_offset,
        output.size_bytes,
        output.index_bytes,
        source.end_offset,
        source.size_bytes,
        segment_bytes=job.segment_bytes,
        segment_index_bytes=job.segment_index_bytes,
        index_interval_bytes=job.index_interval_bytes,
    )


def _write_source(work: _Work, source: Source, rules: BatchFilter, output: CleanedFile) -> None:
    left_bytes = source.size_bytes
    for _, header, data in _batches(work, source):
        left_bytes -= header.size_bytes
        room_bytes = INT32_MAX - output.size_bytes - left_bytes
        room = header.delete_horizon_ms is not None or HORIZON_GROWTH * header.size_bytes <= room_bytes
        kept = rules.judge(header, data, room_for_horizon=room)
        if kept is None:
            output.drop(header.base_offset, header.leader_epoch)
            continue
        output.is_changed = output.is_changed or kept is not data
        # An empty batch's time says when its producer last wrote; there is no record of that time to be found.
        written = header if kept is data else read_header(kept)
        timestamp_ms = written.max_timestamp if written.record_count else -1
        output.write(kept, header.end_offset, timestamp_ms, header.leader_epoch)
        work.spend(len(kept))


def _finish(output: CleanedFile, end_offset: int) -> list[CleanedSegment]:
    """The cleaned segment, unless it would only be a copy of its one source."""
    finished = output.finish(end_offset)
    if len(output.sources) == 1 and not output.is_changed:
        output.discard()
        return []
    return [finished]


# --- both -------------------------------------------------------------------------------------------------------------


def _opened(work: _Work, source: Source) -> File:
    return work.disk.open(SegmentFiles.of(work.job.directory, source.base_offset).log)


def _batches(work: _Work, source: Source) -> Iterator[ScannedBatch]:
    """All batches of a source, each checked. Raises `CorruptRecordError` where one of them is damaged."""
    read_bytes = 0
    file = _opened(work, source)
    for batch in intact_batches(file, 0, source.size_bytes, compacted=True):
        work.spend(batch.header.size_bytes)
        yield batch
        read_bytes = batch.position + batch.header.size_bytes
    if read_bytes < source.size_bytes:
        raise CorruptRecordError(f"{file.path} is damaged at position {read_bytes}")
