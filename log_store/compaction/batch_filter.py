"""What becomes of one batch: kept as it is, rebuilt with fewer records, emptied, or dropped.

Used in the order of offsets, from the beginning of the log on: whether a marker still decides anything depends on the
batches before it.
"""

from collections.abc import Mapping

from kraftpy.record import BatchHeader, ControlType
from kraftpy.runtime.limits import INT64_MAX
from kraftpy.runtime.ports import Buffer
from log_store.compaction.job import CleaningJob
from log_store.compaction.offset_map import OffsetMap
from log_store.compaction.raw_records import RawRecord, emptied, raw_records, rebuilt, records_of
from log_store.compaction.transactions import Transactions, outcome_of


class BatchFilter:
    """The rules of one round: everything in `[first dirty, end_offset)` is in the map, or is a marker or aborted."""

    def __init__(
        self,
        job: CleaningJob,
        newest: OffsetMap,
        transactions: Transactions,
        end_offset: int,
        newest_markers: Mapping[int, int],
    ) -> None:
        """`newest_markers`: by producer id, the offset of the last of those of whom only markers are known."""
        self.records_read = 0
        self.records_kept = 0
        self.keyless = 0
        self._newest = newest
        self._transactions = transactions
        self._newest_markers = newest_markers
        self._first_dirty_offset = job.first_dirty_offset
        self.end_offset = end_offset
        self._wall_ms = job.wall_ms
        self._new_horizon_ms = min(job.wall_ms + job.delete_retention_ms, INT64_MAX)
        self._producers = {producer.producer_id: producer for producer in job.producers}
        self._with_data: set[int] = set()  # producers whose transaction at this offset has left a batch before it

    def judge(self, header: BatchHeader, batch: memoryview, *, room_for_horizon: bool = True) -> Buffer | None:
        """What to write in place of an intact batch; itself where nothing changes, None for nothing at all.

        `room_for_horizon`: a first delete horizon may make the batch larger. Raises `InvalidRecordError`,
        `RecordTooLargeError`.
        """
        if header.base_offset >= self.end_offset:
            return batch  # not judged: nothing is known of what decides it (KAFKA-13727)
        if header.is_control:
            return self._judge_control(header, batch, room_for_horizon)
        if header.is_transactional:
            self._with_data.add(header.producer_id)
            if header.last_offset >= self._first_dirty_offset and self._transactions.is_aborted(header):
                self.records_read += header.record_count
                return self._nothing_left(header)
        if header.record_count == 0:
            return batch if self._is_last_of_producer(header) else None
        return self._judge_records(header, batch, room_for_horizon)

    # --- records -----------------------------------------------------------------------------------------------------

    def _judge_records(self, header: BatchHeader, batch: memoryview, room_for_horizon: bool) -> Buffer | None:
        data = records_of(header, batch)
        horizon_ms = header.delete_horizon_ms
        tombstones_go = horizon_ms is not None and horizon_ms <= self._wall_ms
        kept: list[RawRecord] = []
        has_tombstone = False
        newest, end_delta = self._newest, self.end_offset - header.base_offset
        for record in raw_records(data, header.record_count):
            if record.offset_delta < end_delta:
                if record.key is None:
                    self.keyless += 1
                    continue
                if newest.newest(record.key) > header.base_offset + record.offset_delta:
                    continue
                if not record.has_value and tombstones_go:
                    continue
            has_tombstone = has_tombstone or not record.has_value
            kept.append(record)
        self.records_read += header.record_count
        self.records_kept += len(kept)
        if not kept:
            return self._nothing_left(header)
        needs_horizon = has_tombstone and horizon_ms is None and room_for_horizon
        if len(kept) == header.record_count and not needs_horizon:
            return batch
        return rebuilt(header, data, kept, self._new_horizon_ms if needs_horizon else None)

    def _nothing_left(self, header: BatchHeader) -> Buffer | None:
        return emptied(header) if self._is_last_of_producer(header) else None

    def _is_last_of_producer(self, header: BatchHeader) -> bool:
        known = self._producers.get(header.producer_id)
        return known is not None and known.last_offset == header.last_offset

    # --- markers -----------------------------------------------------------------------------------------------------

    def _judge_control(self, header: BatchHeader, batch: memoryview, room_for_horizon: bool) -> Buffer | None:
        if header.producer_id < 0:
            return batch
        if outcome_of(batch) is None:
            return batch if header.record_count else None
        had_data = header.producer_id in self._with_data
        self._with_data.discard(header.producer_id)
        if had_data or self._is_all_of_producer(header):
            return batch
        horizon_ms = header.delete_horizon_ms
        if horizon_ms is not None:
            return None if horizon_ms <= self._wall_ms else batch
        if not room_for_horizon:
            return batch
        data = records_of(header, batch)
        return rebuilt(header, data, list(raw_records(data, header.record_count)), self._new_horizon_ms)

    def _is_all_of_producer(self, header: BatchHeader) -> bool:
        """Whether the marker, the newest, is all that the log has of its producer: its epoch fences those before."""
        known = self._producers.get(header.producer_id)
        if known is None or known.last_offset >= 0 or known.epoch != header.producer_epoch:
            return False
        return self._newest_markers.get(header.producer_id) == header.base_offset


def decides(header: BatchHeader, batch: memoryview) -> ControlType | None:
    """Of a control batch that is a transaction's marker: which."""
    return outcome_of(batch) if header.is_control and header.producer_id >= 0 else None
