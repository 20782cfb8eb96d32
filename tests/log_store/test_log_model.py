"""The log against a dumb twin in memory, with crashes before every single change of the disk, and syncs that fail.

The twin is a list of batches. After every step the log must read back as the twin does; after a crash it must be what
the twin was, cut somewhere at or above what had been flushed: never with a hole, never with a batch that had been
replaced, and with the epochs and producers that belong to its batches.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kraftpy.errors import KafkaStorageError, OutOfOrderSequenceError
from kraftpy.record import decode_batches, patch
from log_store.config import LogConfig
from log_store.flush import Flush
from log_store.inspection import scrub_job
from log_store.log import Log
from log_store.scrub import scrub
from simulation.device import CrashMode, Device, DiskFault
from simulation.disk import SimulatedDisk
from simulation.loop import NodeCrashed
from tests.log_store.batches import WALL_MS, batch

DIRECTORY = "/data/topic-0"
CONFIG = LogConfig(
    segment_bytes=2500,
    segment_ms=400,
    index_interval_bytes=150,
    segment_index_bytes=120,
    retention_bytes=4000,
    retention_ms=-1,
    file_delete_delay_ms=1000,
)
MODES = st.sampled_from(list(CrashMode))


class Batch(NamedTuple):
    base_offset: int
    end_offset: int
    epoch: int
    data: bytes
    timestamp_ms: int
    producer_id: int
    first_sequence: int


@dataclass
class Twin:
    """What the log holds, and what a crash may make of it."""

    batches: list[Batch] = field(default_factory=list)  # also those below the start
    start_offset: int = 0
    empty_at: int = 0  # where a log without batches stands
    durable_end: int = 0  # a crash loses nothing below
    durable_start: int = 0  # and brings nothing back that is below
    undone: list[list[Batch]] = field(default_factory=list)  # what an unsynced truncation may come back as
    empty_before: list[int] = field(default_factory=list)  # where it may come back empty, after an unsynced reset
    is_resetting: bool = False

    def settled(self) -> None:
        """Nothing that was undone can come back any more."""
        self.undone, self.empty_before, self.is_resetting = [], [], False

    @property
    def end_offset(self) -> int:
        return self.batches[-1].end_offset if self.batches else self.empty_at

    def remembered(self, producer_id: int) -> list[tuple[int, int]]:
        """(first sequence, first offset) of the producer's last five batches."""
        mine = [(b.first_sequence, b.base_offset) for b in self.batches if b.producer_id == producer_id]
        return mine[-5:]


class LogMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("log_store.durability.ProofBudget.bytes_max", 500)  # several a segment
        self.wall_ms = WALL_MS
        self.epoch = 1
        self.flush: Flush | None = None
        self.flush_ran = False
        self.crash_after: int | None = None
        self.retention_bound = 0  # while retention is under way: how far it may move the start

    def teardown(self) -> None:
        self.patch.undo()

    @initialize(seed=st.integers(0, 2**32))
    def create(self, seed: int) -> None:
        self.device = Device(Random(seed))
        self.disk = SimulatedDisk(self.device)
        self.disk.make_directory("/data")
        self.disk.sync_directory("/")
        self.log = Log.create(self.disk, DIRECTORY, CONFIG, wall_ms=self.wall_ms)
        self.twin = Twin()

    # --- steps that change the log -----------------------------------------------------------------------------------

    @rule(
        sizes=st.lists(st.integers(0, 120), min_size=1, max_size=4),
        producer_id=st.sampled_from([-1, -1, 7, 8]),
        age_ms=st.integers(-50, 200),
        bump=st.booleans(),
    )
    def append(self, sizes: list[int], producer_id: int, age_ms: int, bump: bool) -> None:
        self.epoch += bump
        self.wall_ms += 10
        sequence = self.next_sequence(producer_id)
        data = batch(
            [bytes(size) for size in sizes],
            timestamp_ms=self.wall_ms - age_ms,
            producer_id=producer_id,
            base_sequence=sequence,
        )
        base = self.twin.end_offset
        written = bytearray(data)
        patch(written, 0, base, self.epoch)
        new = Batch(base, base + len(sizes), self.epoch, bytes(written), self.wall_ms - age_ms, producer_id, sequence)

        def operation() -> None:
            appended = self.log.append(data, self.epoch, self.wall_ms)
            assert (appended.base_offset, appended.end_offset, appended.duplicate) == (base, base + len(sizes), False)

        self.attempt(operation, lambda: self.add([new]))

    @rule(counts=st.lists(st.integers(1, 3), min_size=1, max_size=12), bumps=st.integers(0, 3))
    def append_replicated(self, counts: list[int], bumps: int) -> None:
        new: list[Batch] = []
        base = self.twin.end_offset
        for number, count in enumerate(counts):
            self.epoch += number < bumps
            producer_id = (-1, 7, 8)[number % 3]
            sequence = self.next_sequence(producer_id, new)
            data = batch(
                [b"replicated %d" % n for n in range(count)],
                timestamp_ms=self.wall_ms + number,
                base_offset=base,
                leader_epoch=self.epoch,
                producer_id=producer_id,
                base_sequence=sequence,
            )
            new.append(Batch(base, base + count, self.epoch, bytes(data), self.wall_ms + number, producer_id, sequence))
            base += count
        cut_off = bytes(batch([b"cut off"], base_offset=base, leader_epoch=self.epoch))[:-3]
        records = b"".join(b.data for b in new) + cut_off
        self.attempt(lambda: self.log.append_replicated(records, wall_ms=self.wall_ms), lambda: self.add(new))

    def next_sequence(self, producer_id: int, more: list[Batch] | None = None) -> int:
        if producer_id < 0:
            return -1
        mine = [b for b in [*self.twin.batches, *(more or [])] if b.producer_id == producer_id]
        return mine[-1].first_sequence + mine[-1].end_offset - mine[-1].base_offset if mine else 0

    def add(self, batches: list[Batch]) -> None:
        self.twin.batches += batches
        self.twin.settled()

    @rule(share=st.floats(0, 1))
    def truncate(self, share: float) -> None:
        twin = self.twin
        end_offset = int(twin.start_offset + share * (twin.end_offset - twin.start_offset))
        first = self.log.segments[0].base_offset
        if end_offset >= twin.end_offset:
            self.attempt(lambda: self.log.truncate(end_offset), lambda: None)
        elif end_offset <= first:
            self.reset_to(end_offset, lambda: self.log.truncate(end_offset))
        else:
            kept = [b for b in twin.batches if b.end_offset <= end_offset]
            self.cut(kept, lambda: self.log.truncate(end_offset))

    def cut(self, kept: list[Batch], operation: Callable[[], None]) -> None:
        twin = self.twin
        twin.undone.append(list(twin.batches))
        end_offset = kept[-1].end_offset if kept else twin.batches[0].base_offset
        twin.durable_end = min(twin.durable_end, end_offset)
        twin.durable_start = 0

        def effect() -> None:
            twin.empty_at = end_offset
            twin.batches = kept
            twin.start_offset = min(twin.start_offset, end_offset)

        self.attempt(operation, effect)

    @rule(offset=st.integers(0, 200))
    def reset(self, offset: int) -> None:
        self.reset_to(offset, lambda: self.log.reset(offset))

    def reset_to(self, offset: int, operation: Callable[[], None]) -> None:
        twin = self.twin
        twin.undone.append(list(twin.batches))
        twin.empty_before.append(twin.empty_at)
        twin.is_resetting = True
        twin.durable_end = twin.durable_start = 0

        def effect() -> None:
            twin.batches = []
            twin.empty_at = twin.start_offset = offset

        self.attempt(operation, effect)

    @rule()
    def roll(self) -> None:
        self.attempt(lambda: self.log.roll(self.wall_ms), lambda: None)

    @rule(share=st.floats(0, 1))
    def delete_records(self, share: float) -> None:
        twin = self.twin
        offset = int(twin.start_offset + share * max(0, self.log.flushed_offset - twin.start_offset))
        self.attempt(lambda: self.log.delete_records(offset), lambda: setattr(twin, "start_offset", offset))

    @rule(share=st.floats(0, 1))
    def enforce_retention(self, share: float) -> None:
        self.wall_ms += 300
        watermark = int(self.twin.end_offset * share)
        before = self.log.start_offset

        def operation() -> None:
            self.log.enforce_retention(self.wall_ms, watermark)
            assert self.log.start_offset <= max(watermark, before)

        self.retention_bound = watermark
        self.attempt(operation, self.take_over_start)
        self.retention_bound = 0

    def take_over_start(self) -> None:
        assert self.log.start_offset >= self.twin.start_offset
        self.twin.start_offset = self.log.start_offset

    # --- flushing, in its three parts --------------------------------------------------------------------------------

    @precondition(lambda self: self.flush is None)
    @rule()
    def begin_flush(self) -> None:
        self.flush = self.log.begin_flush()
        self.flush_ran = False

    @precondition(lambda self: self.flush is not None and not self.flush_ran)
    @rule()
    def run_flush(self) -> None:
        assert self.flush is not None
        self.attempt(self.flush.run, lambda: setattr(self, "flush_ran", True))

    @precondition(lambda self: self.flush is not None)
    @rule()
    def complete_flush(self) -> None:
        flush = self.flush
        assert flush is not None

        def operation() -> None:
            if not self.flush_ran:
                flush.run()
            self.log.complete_flush(flush)

        def effect() -> None:
            self.flush = None
            self.note_flushed()

        self.attempt(operation, effect)

    @precondition(lambda self: self.flush is None)
    @rule()
    def sync(self) -> None:
        def effect() -> None:
            assert self.log.flushed_offset == self.log.end_offset
            self.note_flushed()

        self.attempt(self.log.sync, effect)

    def note_flushed(self) -> None:
        twin = self.twin
        assert self.log.recovery_point >= twin.durable_end
        self.note_start()
        if not self.log.has_loose_ends:
            twin.settled()
        if not twin.is_resetting:
            twin.durable_end = self.log.recovery_point

    def note_start(self) -> None:
        """Without a record nothing but the directory's checkpoint may tell where it begins."""
        self.twin.durable_start = self.log.flushed_start_offset if self.log.epochs.entries else 0

    # --- what is refused or recognised -------------------------------------------------------------------------------

    @rule(producer_id=st.sampled_from([7, 8]), back=st.integers(1, 5))
    def retry(self, producer_id: int, back: int) -> None:
        known = self.known_batches(producer_id)
        if len(known) >= back:
            sequence, offset = known[-back]
            again = next(b for b in self.twin.batches if b.base_offset == offset)
            assert again.first_sequence == sequence

            def operation() -> None:
                appended = self.log.append(bytearray(again.data), self.epoch, self.wall_ms)
                assert (appended.base_offset, appended.end_offset) == (again.base_offset, again.end_offset)
                assert appended.duplicate

            self.attempt(operation, lambda: None)

    @rule(producer_id=st.sampled_from([7, 8]))
    def skip_a_sequence(self, producer_id: int) -> None:
        if self.known_batches(producer_id):
            sequence = self.next_sequence(producer_id) + 1
            data = batch([b"x"], timestamp_ms=self.wall_ms, producer_id=producer_id, base_sequence=sequence)

            def operation() -> None:
                with pytest.raises(OutOfOrderSequenceError):
                    self.log.append(data, self.epoch, self.wall_ms)

            self.attempt(operation, lambda: None)

    def known_batches(self, producer_id: int) -> list[tuple[int, int]]:
        return [
            ((e.last_sequence - e.offset_delta) & 0x7FFFFFFF, e.last_offset - e.offset_delta)
            for e in self.log.producers.entries()
            if e.producer_id == producer_id and e.last_offset >= 0
        ]

    # --- stops -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.flush is None)
    @rule(again=st.booleans())
    def close_and_open(self, again: bool) -> None:
        def operation() -> None:
            self.log.close()
            self.open(clean=True)
            assert self.log.recovery.clean

        self.attempt(operation, self.note_reopened)

    @rule(mode=MODES)
    def crash(self, mode: CrashMode) -> None:
        self.recover([], mode)

    @rule()
    def kill(self) -> None:
        """The process dies, the machine does not: nothing of the page cache is lost."""
        self.end_process([])

    def end_process(self, candidates: list[list[Batch]]) -> None:
        self.disk.kill()
        self.device.process_ended()
        self.after_crash(candidates)

    @rule(operations=st.integers(0, 25))
    def crash_soon(self, operations: int) -> None:
        """Lose power before one of the next changes of the disk, whatever step it falls into."""
        self.crash_after = operations

    @rule(path_part=st.sampled_from([".log", "index", ".snapshot", "checkpoint", ""]))
    def sync_fails_soon(self, path_part: str) -> None:
        """Fail the next fsync of such a file, whatever step it falls into. The process dies of it, the machine not."""
        self.device.arm(DiskFault.SYNC_FAILURE, path_part)

    def attempt(self, operation: Callable[[], object], effect: Callable[[], object]) -> None:
        if self.crash_after is not None and self.device.crash_at_operation is None:
            self.device.crash_at_operation = self.device.operations + 1 + self.crash_after
        before = list(self.twin.batches)
        try:
            operation()
        except (NodeCrashed, KafkaStorageError, OSError) as failure:
            durable, durable_start = self.twin.durable_end, self.twin.durable_start
            start = self.twin.start_offset
            undone, empty_before = list(self.twin.undone), list(self.twin.empty_before)
            resetting = self.twin.is_resetting
            try:
                effect()
            except AssertionError:
                pass  # what the step checks of its own result does not hold in mid-step
            self.twin.undone = [*undone, *self.twin.undone]
            self.twin.empty_before = [*empty_before, *self.twin.empty_before]
            self.twin.is_resetting = resetting or self.twin.is_resetting
            self.twin.durable_end = min(durable, self.twin.durable_end)
            self.twin.durable_start = min(durable_start, self.twin.durable_start)
            self.twin.start_offset = max(start, self.twin.start_offset)
            if isinstance(failure, NodeCrashed):
                self.recover([before], None)
            else:
                self.end_process([before])
        else:
            effect()

    def recover(self, candidates: list[list[Batch]], mode: CrashMode | None) -> None:
        self.disk.kill()
        self.device.crash(mode)
        self.after_crash(candidates)

    def after_crash(self, candidates: list[list[Batch]]) -> None:
        self.crash_after = None
        self.flush = None
        while True:
            self.disk = SimulatedDisk(self.device)
            try:
                self.open(clean=False)
                break
            except OSError:  # the disk has failed once more
                self.disk.kill()
                self.device.process_ended()
            except NodeCrashed:  # in mid-recovery: unclean again (KAFKA-10471)
                self.disk.kill()
                self.device.crash()
        twin = self.twin
        self.settle([*candidates, twin.batches, *twin.undone])
        self.note_reopened()

    def open(self, *, clean: bool) -> None:
        start_offset = self.twin.start_offset if clean else 0  # from the directory's checkpoint, which a crash may lose
        self.log = Log.open(self.disk, DIRECTORY, CONFIG, clean=clean, wall_ms=self.wall_ms, start_offset=start_offset)

    def settle(self, candidates: list[list[Batch]]) -> None:
        """Which of the possible pasts has become the present."""
        log, twin = self.log, self.twin
        assert log.recovery_point == log.flushed_offset == log.end_offset >= twin.durable_end
        contents = b"".join(self.read_all())
        for past in candidates:
            present = [b for b in past if b.end_offset <= log.end_offset]
            shown = b"".join(b.data for b in present if b.end_offset > log.start_offset)
            is_anew = twin.is_resetting and not contents and not len(log.producers)
            if _ends_at(present, log.end_offset) and shown == contents and not is_anew:
                if twin.is_resetting:  # it may have taken what was remembered of deleted segments along
                    known = [offset for producer_id in (7, 8) for _, offset in self.known_batches(producer_id)]
                    first = log.segments[0].base_offset
                    present = [b for b in present if b.base_offset >= first or b.base_offset in known]
                twin.batches = present
                break
        else:
            bases = [
                0,
                twin.empty_at,
                *twin.empty_before,
                *(offset for past in candidates for b in past for offset in b[:2]),
            ]
            assert not contents and log.end_offset in bases, f"the log came back as {log}, which it never was"
            twin.batches = []
        assert log.start_offset <= max(twin.start_offset, self.retention_bound) or twin.is_resetting
        assert log.start_offset >= twin.durable_start

    def note_reopened(self) -> None:
        twin, log = self.twin, self.log
        if not twin.batches:
            twin.empty_at = log.end_offset
        twin.start_offset = log.start_offset
        twin.durable_end = log.end_offset
        self.note_start()
        twin.settled()

    # --- what always holds -------------------------------------------------------------------------------------------

    def read_all(self, bytes_max: int = 700) -> list[bytes]:
        log = self.log
        offset, pieces = log.start_offset, []
        while offset < log.end_offset:
            read = log.read(offset, bytes_max, log.end_offset)
            assert read.size_bytes == sum(piece.length for piece in read.slices) > 0
            assert read.next_offset > offset
            pieces += [piece.file.read(piece.length, piece.position) for piece in read.slices]
            offset = read.next_offset
        return pieces

    @invariant()
    def a_scrub_finds_nothing(self) -> None:
        for segment in self.log.segments:
            if segment.size_bytes:
                assert scrub(self.disk, scrub_job(self.log, segment)).damages == ()

    @invariant()
    def it_reads_as_the_twin(self) -> None:
        log, twin = self.log, self.twin
        assert (log.start_offset, log.end_offset) == (twin.start_offset, twin.end_offset)
        shown = [b for b in twin.batches if b.end_offset > twin.start_offset]
        assert b"".join(self.read_all()) == b"".join(b.data for b in shown)
        assert log.recovery_point <= log.flushed_offset <= log.end_offset
        assert log.flushed_start_offset <= log.start_offset

    @invariant()
    def epochs_are_those_of_the_batches(self) -> None:
        twin = self.twin
        for b in twin.batches:
            if b.base_offset >= twin.start_offset:
                assert self.log.epochs.epoch_at(b.base_offset) == b.epoch

    @invariant()
    def producers_are_remembered(self) -> None:
        for producer_id in (7, 8):
            known, expected = self.known_batches(producer_id), self.twin.remembered(producer_id)
            assert bool(known) == bool(expected)
            assert expected[len(expected) - len(known) :] == known

    @invariant()
    def segments_are_contiguous(self) -> None:
        segments = self.log.segments
        assert segments[0].base_offset <= self.log.start_offset
        for older, newer in pairwise(segments):
            assert older.end_offset == newer.base_offset and older.size_bytes > 0
        assert self.log.size_bytes == sum(segment.size_bytes for segment in segments)

    @rule(share=st.floats(0, 1), below=st.floats(0, 1), bytes_max=st.integers(1, 3000))
    def read_somewhere(self, share: float, below: float, bytes_max: int) -> None:
        log, twin = self.log, self.twin
        offset = int(log.start_offset + share * (log.end_offset - log.start_offset))
        bounds = [log.start_offset, *(b.end_offset for b in twin.batches if b.end_offset > log.start_offset)]
        bound = bounds[min(int(below * len(bounds)), len(bounds) - 1)]
        read = log.read(offset, bytes_max, bound)
        wanted = [b for b in twin.batches if b.end_offset > offset and b.end_offset <= bound]
        expected: list[Batch] = []
        for b in wanted:
            if expected and sum(len(e.data) for e in expected) + len(b.data) > bytes_max:
                break
            expected.append(b)
        data = b"".join(piece.file.read(piece.length, piece.position) for piece in read.slices)
        whole = b"".join(b.data for b in expected)
        assert whole.startswith(data) and bool(data) == bool(whole)
        taken = [b for b in expected if sum(len(e.data) for e in expected[: expected.index(b) + 1]) <= len(data)]
        assert read.next_offset == (taken[-1].end_offset if taken else offset)
        if len(taken) < len(expected):
            assert read.next_offset in [segment.base_offset for segment in log.segments]  # one segment a read

    @rule(age_ms=st.integers(-100, 3000))
    def find_a_time(self, age_ms: int) -> None:
        self.look_for_time(self.wall_ms - age_ms)

    @rule(share=st.floats(0, 1, exclude_max=True))
    def find_the_time_of_a_batch(self, share: float) -> None:
        """Exactly: several records may be as old, and the first of them counts."""
        if self.twin.batches:
            self.look_for_time(self.twin.batches[int(share * len(self.twin.batches))].timestamp_ms)

    def look_for_time(self, wanted_ms: int) -> None:
        found = self.log.offset_for_time(wanted_ms, self.log.end_offset)
        expected = next(
            (
                (record.offset, record.timestamp_ms, b.epoch)
                for b in self.twin.batches
                if b.end_offset > self.twin.start_offset
                for record in decode_batches(b.data)
                if record.timestamp_ms >= wanted_ms and record.offset >= self.twin.start_offset
            ),
            None,
        )
        assert (None if found is None else tuple(found)) == expected


def _ends_at(batches: list[Batch], end_offset: int) -> bool:
    return bool(batches) and batches[-1].end_offset == end_offset


LogMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestLogAgainstItsTwin = LogMachine.TestCase
