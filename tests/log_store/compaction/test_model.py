"""A compacted log against the whole one, with crashes before every single change of the disk.

The twin keeps every batch that was ever written. Whatever is compacted, however often, wherever a crash falls into it:
a new reader ends with the same last value per key as a reader of the whole log; so does one that began before and is
not slower than `delete.retention.ms`; what is left is byte for byte what was written where it was written; and each
transaction that has left anything still meets its own marker (KAFKA-13727, KAFKA-14055).
"""

from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kraftpy.errors import KafkaStorageError
from kraftpy.record import Compression, ControlType, Record, encode_marker
from kraftpy.record.reader import decode_records
from log_store.compaction.cleaner import clean
from log_store.compaction.job import Cleaned, CleaningJob
from log_store.inspection import scrub_job
from log_store.log import Log
from log_store.scrub import scrub
from simulation.device import CrashMode, Device
from simulation.disk import SimulatedDisk
from simulation.loop import NodeCrashed
from tests.log_store.batches import WALL_MS
from tests.log_store.compaction.support import (
    DIRECTORY,
    Reader,
    batches_of,
    committed_values,
    compacted_config,
    keyed,
)

RETENTION_MS = 1000
CONFIG = compacted_config(
    cleanup_policy="compact,delete",
    retention_ms=-1,  # nothing goes for its age
    segment_bytes=1500,
    segment_index_bytes=120,
    delete_retention_ms=RETENTION_MS,
)
KEYS = [b"a", b"b", b"c", b"d", b"a key that is longer than a digest: e", b"a key that is longer than a digest: f"]
PAIRS = st.lists(
    st.tuples(st.sampled_from(KEYS), st.one_of(st.none(), st.binary(min_size=1, max_size=40))), min_size=1, max_size=6
)
COMPRESSIONS = st.sampled_from([Compression.NONE, Compression.NONE, Compression.GZIP, Compression.ZSTD])


class Written(NamedTuple):
    base_offset: int
    end_offset: int
    epoch: int
    producer_id: int
    sequence: int
    records: tuple[Record, ...]  # empty: a marker
    outcome: ControlType | None
    transactional: bool


class CompactionMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("log_store.durability.ProofBudget.bytes_max", 500)
        self.wall_ms = WALL_MS
        self.epoch = 1
        self.whole: list[Written] = []
        self.durable_end = 0
        self.committed_end = 0  # the highest high watermark that compaction was told
        self.open: dict[int, int] = {}  # producer id → first offset
        self.work: tuple[CleaningJob, Cleaned | None] | None = None
        self.readers: list[tuple[int, Reader]] = []  # since when
        self.crash_after: int | None = None

    def teardown(self) -> None:
        self.patch.undo()

    @initialize(seed=st.integers(0, 2**32))
    def create(self, seed: int) -> None:
        self.device = Device(Random(seed))
        self.disk = SimulatedDisk(self.device)
        self.disk.make_directory("/data")
        self.disk.sync_directory("/")
        self.log = Log.create(self.disk, DIRECTORY, CONFIG, wall_ms=self.wall_ms)
        self.log.sync()

    # --- writing -----------------------------------------------------------------------------------------------------

    @rule(pairs=PAIRS, producer_id=st.sampled_from([-1, -1, 5]), compression=COMPRESSIONS, bump=st.booleans())
    def write(
        self, pairs: list[tuple[bytes, bytes | None]], producer_id: int, compression: Compression, bump: bool
    ) -> None:
        self.epoch += bump
        self.append(pairs, producer_id, compression, transactional=False)

    @rule(pairs=PAIRS, producer_id=st.sampled_from([7, 8]), compression=COMPRESSIONS)
    def write_in_transaction(
        self, pairs: list[tuple[bytes, bytes | None]], producer_id: int, compression: Compression
    ) -> None:
        self.append(pairs, producer_id, compression, transactional=True)

    def append(
        self,
        pairs: list[tuple[bytes, bytes | None]],
        producer_id: int,
        compression: Compression,
        *,
        transactional: bool,
    ) -> None:
        self.wall_ms += 10
        base = self.log.end_offset
        sequence = self.next_sequence(producer_id)
        data = keyed(
            pairs,
            timestamp_ms=self.wall_ms,
            compression=compression,
            producer_id=producer_id,
            base_sequence=sequence,
            transactional=transactional,
        )
        records = tuple(Record(base + at, self.wall_ms, key, value, ()) for at, (key, value) in enumerate(pairs))
        new = Written(base, base + len(pairs), self.epoch, producer_id, sequence, records, None, transactional)

        def effect() -> None:
            self.whole.append(new)
            if transactional:
                self.open.setdefault(producer_id, base)

        self.attempt(lambda: self.log.append(data, self.epoch, self.wall_ms, verified=transactional), effect)

    def next_sequence(self, producer_id: int) -> int:
        if producer_id < 0:
            return -1
        mine = [each for each in self.whole if each.producer_id == producer_id and each.records]
        return mine[-1].sequence + len(mine[-1].records) if mine else 0

    @rule(producer_id=st.sampled_from([7, 8]), commit=st.booleans())
    def end_transaction(self, producer_id: int, commit: bool) -> None:
        self.end_transaction_of(producer_id, commit)

    def end_transaction_of(self, producer_id: int, commit: bool) -> None:
        if producer_id not in self.open:
            return
        self.wall_ms += 10
        base = self.log.end_offset
        marker = encode_marker(
            commit=commit, coordinator_epoch=1, timestamp_ms=self.wall_ms, producer_id=producer_id, producer_epoch=0
        )
        outcome = ControlType.COMMIT if commit else ControlType.ABORT
        new = Written(base, base + 1, self.epoch, producer_id, -1, (), outcome, True)

        def effect() -> None:
            self.whole.append(new)
            del self.open[producer_id]

        self.attempt(lambda: self.log.append(marker, self.epoch, self.wall_ms, markers=True), effect)

    @rule(seed=st.integers(0, 2**32), count=st.integers(10, 60))
    def write_many(self, seed: int, count: int) -> None:
        """Steps that are not worth a choice of Hypothesis each: traffic, rolls and rounds of compaction."""
        random = Random(seed)
        for _ in range(count):
            pairs = [(random.choice(KEYS), random.choice([None, b"v" * random.randrange(1, 40)])) for _ in range(3)]
            pairs = pairs[: random.randrange(1, 4)]
            compression = random.choice([Compression.NONE, Compression.LZ4])
            match random.randrange(22):
                case 20:
                    self.delete_below(random.random() / 2)
                case 21:
                    self.compact_while_records_go(random.randrange(4, 30), random.random())
                case 0 | 1 | 2 | 3 | 4 | 5:
                    self.append(pairs, random.choice([-1, 5]), compression, transactional=False)
                case 6 | 7 | 8 | 9:
                    self.append(pairs, random.choice([7, 8]), compression, transactional=True)
                case 10 | 11 | 12 | 13:
                    self.end_transaction_of(random.choice([7, 8]), random.random() < 0.5)
                case 14 | 15:
                    self.compact_once(random.choice([0, 10, 600]), random.randrange(1, 9), True, random.random() < 0.7)
                case 16 | 17:
                    self.attempt(lambda: self.log.roll(self.wall_ms), lambda: None)
                case _:
                    self.attempt(self.log.sync, lambda: setattr(self, "durable_end", self.log.recovery_point))

    @rule()
    def roll(self) -> None:
        self.attempt(lambda: self.log.roll(self.wall_ms), lambda: None)

    @rule()
    def sync(self) -> None:
        self.attempt(self.log.sync, lambda: setattr(self, "durable_end", self.log.recovery_point))

    @rule()
    def flush_once(self) -> None:
        def operation() -> None:
            flush = self.log.begin_flush()
            flush.run()
            self.log.complete_flush(flush)

        self.attempt(operation, lambda: setattr(self, "durable_end", self.log.recovery_point))

    @rule(share=st.floats(0, 1))
    def truncate(self, share: float) -> None:
        """As a follower does whose leader has less; never below a high watermark."""
        lowest = min(self.committed_end, self.log.end_offset)
        end_offset = int(lowest + share * (self.log.end_offset - lowest))
        kept = [each for each in self.whole if each.end_offset <= end_offset]
        if end_offset >= self.log.end_offset or not kept:
            return
        self.durable_end = min(self.durable_end, kept[-1].end_offset)

        def operation() -> None:
            self.log.truncate(end_offset)
            self.log.sync()

        self.attempt(operation, lambda: self.keep_below(self.log.end_offset), may_be_undone=True)

    # --- compacting --------------------------------------------------------------------------------------------------

    @rule(
        passed_ms=st.integers(0, 1500),
        entries=st.integers(1, 8),
        roll=st.booleans(),
        to_the_end=st.booleans(),
        share=st.sampled_from([1.0, 1.0, 0.0, 0.5, 0.9]),
    )
    def compact(self, passed_ms: int, entries: int, roll: bool, to_the_end: bool, share: float) -> None:
        self.compact_once(passed_ms, entries, roll, to_the_end, share)

    def compact_once(self, passed_ms: int, entries: int, roll: bool, to_the_end: bool, share: float = 1.0) -> None:
        self.wall_ms += passed_ms

        def operation() -> None:
            if roll:
                self.log.roll(self.wall_ms)
                self.log.sync()
            self.plan(entries, share)
            if self.work is not None:
                self.swap()
                if to_the_end:
                    self.log.sync()

        self.attempt(operation, lambda: None)

    @rule(entries=st.integers(1, 8))
    def begin_compaction(self, entries: int) -> None:
        self.attempt(lambda: self.plan(entries), lambda: None)

    def plan(self, entries: int, share: float = 1.0) -> None:
        """`share`: how much of what is flushed and was not committed is by now."""
        lowest = min(self.committed_end, self.log.flushed_offset)
        self.committed_end = int(lowest + share * (self.log.flushed_offset - lowest))
        stable = min([self.committed_end, *self.open.values()])
        plan = self.log.compacting.plan(stable, self.wall_ms)
        self.work = None
        if plan is not None:
            job = self.log.compacting.job_for(plan, self.wall_ms, entries * 250)
            self.work = (job, clean(self.disk, job))

    @precondition(lambda self: self.work is not None)
    @rule()
    def take_over(self) -> None:
        self.attempt(self.swap, lambda: None)

    def swap(self) -> None:
        assert self.work is not None
        (job, cleaned), self.work = self.work, None
        assert cleaned is not None
        self.log.compacting.swap(job, cleaned, self.wall_ms)

    @rule(passed_ms=st.integers(0, 1000))
    def clear_up(self, passed_ms: int) -> None:
        self.wall_ms += passed_ms
        self.attempt(lambda: self.log.enforce_retention(self.wall_ms, self.log.flushed_offset), lambda: None)

    @rule(share=st.floats(0, 1))
    def delete_records(self, share: float) -> None:
        """DeleteRecords, and the segments that are below go; also while a round of compaction is under way."""
        self.delete_below(share)

    @rule(entries=st.integers(1, 30), share=st.floats(0, 1))
    def delete_records_meanwhile(self, entries: int, share: float) -> None:
        self.compact_while_records_go(entries, share)

    def compact_while_records_go(self, entries: int, share: float) -> None:
        """A round is taken over whose first sources have gone while it was under way."""

        def begin() -> None:
            self.log.roll(self.wall_ms)
            self.log.sync()
            self.plan(entries)

        def take_over() -> None:
            self.swap()
            self.log.sync()

        self.attempt(begin, lambda: None)
        self.delete_below(share)
        if self.work is not None:
            self.attempt(take_over, lambda: None)

    def delete_below(self, share: float) -> None:
        bound = min([self.durable_end, *self.open.values()])
        starts = [each.base_offset for each in self.whole if self.log.start_offset < each.base_offset <= bound]
        if not starts:
            return
        start = starts[int(share * (len(starts) - 1))]

        def operation() -> None:
            self.log.delete_records(start)
            self.log.enforce_retention(self.wall_ms, self.log.flushed_offset)

        self.readers.clear()  # they know what is gone
        self.committed_end = max(self.committed_end, start)
        self.attempt(operation, lambda: None)

    # --- stops -------------------------------------------------------------------------------------------------------

    @rule()
    def close_and_open(self) -> None:
        def operation() -> None:
            first_dirty = self.log.compacting.first_dirty_offset
            self.log.close()
            self.log = Log.open(
                self.disk, DIRECTORY, CONFIG, clean=True, wall_ms=self.wall_ms, start_offset=self.log.start_offset
            )
            assert self.log.recovery.clean
            self.log.compacting.note_cleaned(first_dirty)

        self.work = None
        self.attempt(operation, lambda: setattr(self, "durable_end", self.log.end_offset))

    @rule(mode=st.sampled_from(list(CrashMode)))
    def crash(self, mode: CrashMode) -> None:
        self.recover(mode)

    @rule(operations=st.integers(0, 60))
    def crash_soon(self, operations: int) -> None:
        self.crash_after = operations

    def attempt(
        self, operation: Callable[[], object], effect: Callable[[], object], *, may_be_undone: bool = False
    ) -> None:
        """`may_be_undone`: a crash before it is durable may take it back, so `recover` looks what has become of it."""
        if self.crash_after is not None and self.device.crash_at_operation is None:
            self.device.crash_at_operation = self.device.operations + 1 + self.crash_after
        try:
            operation()
        except (NodeCrashed, KafkaStorageError):
            durable = self.durable_end
            if not may_be_undone:
                effect()
            self.durable_end = durable
            self.recover(None)
        else:
            effect()

    def recover(self, mode: CrashMode | None) -> None:
        self.disk.kill()
        self.device.crash(mode)
        self.crash_after = None
        self.work = None
        first_dirty = self.log.compacting.first_dirty_offset
        while True:
            self.disk = SimulatedDisk(self.device)
            try:
                self.log = Log.open(self.disk, DIRECTORY, CONFIG, clean=False, wall_ms=self.wall_ms)
                break
            except NodeCrashed:
                self.disk.kill()
                self.device.crash()
        assert self.log.end_offset >= self.durable_end, "what was durable is gone"
        self.keep_below(self.log.end_offset)
        self.durable_end = self.log.end_offset
        self.log.compacting.note_cleaned(self.device.random.choice([0, first_dirty]))

    def keep_below(self, end_offset: int) -> None:
        self.whole = [each for each in self.whole if each.end_offset <= end_offset]
        self.readers = [(since, reader) for since, reader in self.readers if reader.position <= end_offset]
        self.open = {}
        for each in self.whole:
            if each.outcome is not None:
                self.open.pop(each.producer_id, None)
            elif each.transactional:
                self.open.setdefault(each.producer_id, each.base_offset)

    # --- readers -----------------------------------------------------------------------------------------------------

    @rule(share=st.floats(0, 1))
    def begin_to_read(self, share: float) -> None:
        reader = Reader()
        reader.read(self.log, int(self.durable_end * share))
        if reader.position <= self.durable_end:
            self.readers.append((self.wall_ms, reader))

    @precondition(lambda self: self.readers)
    @rule()
    def read_on(self) -> None:
        since_ms, reader = self.readers.pop(0)
        if self.wall_ms - since_ms < RETENTION_MS:
            assert reader.read(self.log) == self.expected()

    def expected(self, end_offset: int | None = None) -> dict[bytes, bytes]:
        """By the whole log, from where it begins now."""
        reader = Reader()
        for each in self.whole:
            if each.base_offset < self.log.start_offset and each.outcome is None:
                continue
            if end_offset is not None and each.base_offset >= end_offset and each.outcome is None:
                continue  # markers may lie behind what they decide
            if each.outcome is not None:
                done = reader.pending.pop(each.producer_id, [])
                if each.outcome is ControlType.COMMIT:
                    reader.apply(done)
            elif each.transactional:
                reader.pending.setdefault(each.producer_id, []).extend(each.records)
            else:
                reader.apply(each.records)
        return reader.values()

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def a_new_reader_ends_with_the_same(self) -> None:
        assert self.log.end_offset == (self.whole[-1].end_offset if self.whole else 0)
        assert Reader().read(self.log) == self.expected()

    @invariant()
    def so_does_a_committed_reader_that_goes_by_the_aborted_list(self) -> None:
        # A cut that takes a marker opens its transaction again, which may begin below the start by now.
        stable = max(self.log.start_offset, min([self.log.end_offset, *self.open.values()]))
        assert self.log.stable_end(self.log.end_offset) == stable
        assert committed_values(self.log, stable) == self.expected(stable)

    @invariant()
    def what_is_left_is_what_was_written(self) -> None:
        written = {each.base_offset: each for each in self.whole}
        for header, data in batches_of(self.log):
            if header.producer_id < 0 and header.record_count == 0:
                continue
            each = written[header.base_offset]
            assert header.end_offset == each.end_offset
            assert (header.leader_epoch, header.producer_id) == (each.epoch, each.producer_id)
            assert header.base_sequence == each.sequence
            if not header.is_control:
                left = decode_records(header, data)
                assert set(left) <= set(each.records)
                assert not left or header.max_timestamp == max(record.timestamp_ms for record in left)

    @invariant()
    def every_transaction_meets_its_own_marker(self) -> None:
        last: dict[int, int] = {}
        decided: dict[tuple[int, int], int | None] = {}
        for each in reversed(self.whole):
            if each.outcome is not None:
                last[each.producer_id] = each.base_offset
            elif each.transactional:
                decided[each.producer_id, each.base_offset] = last.get(each.producer_id)
        met: dict[int, int] = {}
        for header, data in reversed(batches_of(self.log)):
            if header.is_control and header.record_count and decode_records(header, data):
                met[header.producer_id] = header.base_offset
            elif header.is_transactional and not header.is_control:
                assert met.get(header.producer_id) == decided[header.producer_id, header.base_offset]

    @invariant()
    def producers_are_known(self) -> None:
        known = {producer_id: last for producer_id, _, last in self.log.producers.last_data_offsets()}
        for producer_id in (5, 7, 8):
            mine = [each for each in self.whole if each.producer_id == producer_id and each.records]
            if mine and (producer_id in known or mine[-1].end_offset > self.log.start_offset):
                assert known[producer_id] == mine[-1].end_offset - 1
        assert self.log.producers.first_unstable_offset == min(self.open.values(), default=None)

    @invariant()
    def a_scrub_finds_nothing(self) -> None:
        for segment in self.log.segments:
            if segment.size_bytes:
                assert scrub(self.disk, scrub_job(self.log, segment)).damages == ()

    @invariant()
    def segments_lie_end_to_end(self) -> None:
        segments = self.log.segments
        for older, newer in pairwise(segments):
            assert older.end_offset == newer.base_offset
            assert 0 < older.size_bytes < 2 * CONFIG.segment_bytes

    @invariant()
    def times_are_found(self) -> None:
        left = [record for header, data in batches_of(self.log) for record in decode_records(header, data)]
        for wanted_ms in (self.wall_ms - 30, WALL_MS + 40):
            first = next((record for record in left if record.timestamp_ms >= wanted_ms), None)
            found = self.log.offset_for_time(wanted_ms, self.log.end_offset)
            assert (found and found.offset) == (first and first.offset)


CompactionMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
TestCompactedAgainstWhole = CompactionMachine.TestCase
