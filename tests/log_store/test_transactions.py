"""A log with transactions against a list of its batches: what is stable, and what a committed reader has to skip.

Whatever is appended, replicated, cut, rolled, deleted, closed or lost by a crash: the last stable offset and the
aborted transactions are those that the batches tell which are left.
"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kraftpy.client.committed import AbortedTransaction, AbortedTransactions
from kraftpy.errors import InvalidProducerEpochError, InvalidTxnStateError, KafkaStorageError
from kraftpy.record import encode_marker, iterate_headers
from kraftpy.record.reader import decode_records
from log_store.config import LogConfig
from log_store.log import Log
from log_store.transaction_index import Aborted
from simulation.device import CrashMode, Device
from simulation.disk import SimulatedDisk
from simulation.loop import NodeCrashed
from tests.log_store.batches import WALL_MS, batch

DIRECTORY = "/data/topic-0"
CONFIG = LogConfig(
    segment_bytes=1200, index_interval_bytes=150, retention_bytes=3000, retention_ms=-1, file_delete_delay_ms=500
)


class Entry(NamedTuple):
    """One batch of the twin's."""

    base_offset: int
    end_offset: int
    producer_id: int
    marker: bool | None  # whether it aborts; None: records


def new_disk(seed: int = 1) -> SimulatedDisk:
    disk = SimulatedDisk(Device(Random(seed)))
    disk.make_directory("/data")
    disk.sync_directory("/")
    return disk


def marker_of(producer_id: int, *, abort: bool, epoch: int = 0, coordinator_epoch: int = 1) -> bytearray:
    return encode_marker(
        commit=not abort,
        coordinator_epoch=coordinator_epoch,
        timestamp_ms=WALL_MS,
        producer_id=producer_id,
        producer_epoch=epoch,
    )


def of(producer_id: int, sequence: int, *, count: int = 1, epoch: int = 0) -> bytearray:
    return batch(
        [b"v"] * count, producer_id=producer_id, base_sequence=sequence, producer_epoch=epoch, transactional=True
    )


def aborted_of(entries: list[Entry]) -> list[tuple[int, int, int]]:
    """(producer id, first offset, marker) of each aborted transaction, by the batches alone."""
    ongoing: dict[int, int] = {}
    found = []
    for entry in entries:
        if entry.producer_id < 0:
            continue
        if entry.marker is None:
            ongoing.setdefault(entry.producer_id, entry.base_offset)
            continue
        first = ongoing.pop(entry.producer_id, None)
        if entry.marker and first is not None:
            found.append((entry.producer_id, first, entry.base_offset))
    return found


def stable_of(entries: list[Entry], high_watermark: int) -> int:
    ongoing: dict[int, int] = {}
    for entry in entries:
        if entry.producer_id >= 0 and entry.marker is None:
            ongoing.setdefault(entry.producer_id, entry.base_offset)
        elif entry.producer_id >= 0 and entry.base_offset < high_watermark:
            ongoing.pop(entry.producer_id, None)
        elif entry.producer_id >= 0:
            break  # neither it nor anything behind it counts, and what is open there began above its own start
    return min([high_watermark, *ongoing.values()])


class TransactionMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("log_store.durability.ProofBudget.bytes_max", 400)
        self.entries: list[Entry] = []
        self.sequences: dict[int, int] = {}
        self.durable_end = 0
        self.wall_ms = WALL_MS
        self.crash_after: int | None = None

    def teardown(self) -> None:
        self.patch.undo()

    @initialize(seed=st.integers(0, 2**32))
    def create(self, seed: int) -> None:
        self.disk = new_disk(seed)
        self.device = self.disk.device
        self.log = Log.create(self.disk, DIRECTORY, CONFIG, wall_ms=WALL_MS)
        self.log.sync()

    @rule(producer_id=st.sampled_from([-1, 1, 2, 3]), count=st.integers(1, 5))
    def write(self, producer_id: int, count: int) -> None:
        base = self.log.end_offset
        sequence = self.sequences.get(producer_id, 0)
        data = batch([b"v"] * count) if producer_id < 0 else of(producer_id, sequence, count=count)

        def effect() -> None:
            self.entries.append(Entry(base, base + count, producer_id, None))
            self.sequences[producer_id] = sequence + count

        self.attempt(lambda: self.log.append(data, 1, self.wall_ms, verified=True), effect)

    @rule(producer_id=st.sampled_from([1, 2, 3]), abort=st.booleans(), as_follower=st.booleans())
    def end(self, producer_id: int, abort: bool, as_follower: bool) -> None:
        base = self.log.end_offset
        data = marker_of(producer_id, abort=abort)

        def operation() -> None:
            if as_follower:
                data[0:8] = base.to_bytes(8, "big")
                data[12:16] = (1).to_bytes(4, "big")
                self.log.append_replicated(data, leader_epoch=1, wall_ms=self.wall_ms)
            else:
                self.log.append(data, 1, self.wall_ms, markers=True)

        self.attempt(operation, lambda: self.entries.append(Entry(base, base + 1, producer_id, abort)))

    @rule(seed=st.integers(0, 2**32))
    def traffic(self, seed: int) -> None:
        random = Random(seed)
        for _ in range(random.randrange(10, 30)):
            if random.random() < 0.6:
                self.write(random.choice([-1, 1, 2, 3]), random.randrange(1, 4))
            elif random.random() < 0.8:
                self.end(random.choice([1, 2, 3]), random.random() < 0.7, random.random() < 0.5)
            else:
                self.sync()

    @rule()
    def sync(self) -> None:
        self.attempt(self.log.sync, lambda: setattr(self, "durable_end", self.log.recovery_point))

    @rule()
    def roll(self) -> None:
        self.attempt(lambda: self.log.roll(self.wall_ms), lambda: None)

    @rule(share=st.floats(0, 1))
    def truncate(self, share: float) -> None:
        end_offset = int(self.log.start_offset + share * (self.log.end_offset - self.log.start_offset))
        if end_offset <= self.log.segments[0].base_offset:
            return  # a log that begins anew is another story
        kept = [entry.end_offset for entry in self.entries if entry.end_offset <= end_offset]
        self.durable_end = min(self.durable_end, kept[-1] if kept else 0)

        def operation() -> None:
            self.log.truncate(end_offset)
            self.log.sync()

        self.attempt(operation, lambda: self.keep_below(self.log.end_offset))

    @rule(passed_ms=st.integers(0, 1000))
    def retain(self, passed_ms: int) -> None:
        self.wall_ms += passed_ms
        self.attempt(lambda: self.log.enforce_retention(self.wall_ms, self.log.recovery_point), lambda: None)

    @rule()
    def close_and_open(self) -> None:
        def operation() -> None:
            self.log.close()
            self.log = Log.open(self.disk, DIRECTORY, CONFIG, clean=True, wall_ms=self.wall_ms)
            assert self.log.recovery.clean

        self.attempt(operation, lambda: setattr(self, "durable_end", self.log.end_offset))

    @rule(mode=st.sampled_from(list(CrashMode)))
    def crash(self, mode: CrashMode) -> None:
        self.recover(mode)

    @rule(operations=st.integers(0, 40))
    def crash_soon(self, operations: int) -> None:
        self.crash_after = operations

    def attempt(self, operation: Callable[[], object], effect: Callable[[], object]) -> None:
        if self.crash_after is not None and self.device.crash_at_operation is None:
            self.device.crash_at_operation = self.device.operations + 1 + self.crash_after
        try:
            operation()
        except (NodeCrashed, KafkaStorageError):
            durable, before = self.durable_end, list(self.entries)
            effect()
            if len(self.entries) < len(before):
                self.entries = before  # the cut may not have come about
            self.durable_end = durable
            self.recover(None)
        else:
            effect()

    def recover(self, mode: CrashMode | None) -> None:
        self.disk.kill()
        self.device.crash(mode)
        self.crash_after = None
        while True:
            self.disk = SimulatedDisk(self.device)
            try:
                self.log = Log.open(self.disk, DIRECTORY, CONFIG, clean=False, wall_ms=self.wall_ms)
                break
            except NodeCrashed:
                self.disk.kill()
                self.device.crash()
        assert self.log.end_offset >= self.durable_end
        self.keep_below(self.log.end_offset)
        self.durable_end = self.log.end_offset

    def keep_below(self, end_offset: int) -> None:
        self.entries = [entry for entry in self.entries if entry.end_offset <= end_offset]
        self.sequences = {}
        for entry in self.entries:
            if entry.marker is None:
                count = entry.end_offset - entry.base_offset
                self.sequences[entry.producer_id] = self.sequences.get(entry.producer_id, 0) + count

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def what_is_stable_is_what_is_decided(self) -> None:
        log = self.log
        assert log.end_offset == (self.entries[-1].end_offset if self.entries else 0)
        assert log.stable_end(log.end_offset) == max(stable_of(self.entries, log.end_offset), log.start_offset)

    @invariant()
    def the_aborted_ones_are_found(self) -> None:
        log, random = self.log, Random(self.log.end_offset)
        everything = aborted_of(self.entries)
        for _ in range(3):
            start = random.randint(log.start_offset, log.end_offset)
            end = random.randint(start, log.end_offset)
            expected = [each for each in everything if each[2] >= start and each[1] < end]
            assert [each[:3] for each in log.aborted_in(start, end)] == expected

    @invariant()
    def a_committed_reader_sees_only_what_was_committed(self) -> None:
        log = self.log
        stable = log.stable_end(log.end_offset)
        aborted = [range(first, marker) for _, first, marker in aborted_of(self.entries)]
        owners: dict[int, list[range]] = {producer: [] for producer in (1, 2, 3)}
        for (producer_id, _, _), span in zip(aborted_of(self.entries), aborted, strict=True):
            owners[producer_id].append(span)
        expected = [
            offset
            for entry in self.entries
            if entry.marker is None and log.start_offset <= entry.base_offset < stable
            for offset in range(entry.base_offset, entry.end_offset)
            if not any(entry.base_offset in span for span in owners.get(entry.producer_id, []))
        ]
        seen = seen_by_committed_reader(log, stable)
        assert [offset for offset in seen if offset >= (expected or seen or [0])[0]] == expected


def seen_by_committed_reader(log: Log, stable_end: int) -> list[int]:
    seen: list[int] = []
    offset = log.start_offset
    while offset < stable_end:
        read = log.read(offset, 300, stable_end)
        data = b"".join(piece.file.read(piece.length, piece.position) for piece in read.slices)
        listed = log.aborted_in(read.base_offset, read.next_offset)
        aborted = AbortedTransactions(AbortedTransaction(each.first_offset, each.producer_id) for each in listed)
        for position, header in iterate_headers(data):
            view = memoryview(data)[position : position + header.size_bytes]
            if not aborted.leave_out(header, view):
                seen += [record.offset for record in decode_records(header, view)]
        assert read.next_offset > offset
        offset = read.next_offset
    return seen


TransactionMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestTransactionsAgainstTheirTwin = TransactionMachine.TestCase


# --- stories ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clean", [True, False])
def test_aborted_transactions_survive_a_restart(clean: bool) -> None:
    disk = new_disk()
    log = Log.create(disk, DIRECTORY, LogConfig(), wall_ms=WALL_MS)
    log.append(of(1, 0, count=3), 1, WALL_MS, verified=True)
    log.append(of(2, 0, count=2), 1, WALL_MS, verified=True)
    log.append(marker_of(1, abort=True), 1, WALL_MS, markers=True)
    log.sync()
    log.close(clean=clean)
    again = Log.open(disk, DIRECTORY, LogConfig(), clean=clean, wall_ms=WALL_MS)
    assert again.aborted_in(0, 6) == [Aborted(1, 0, 5, 3)]
    assert again.stable_end(6) == 3


@pytest.mark.parametrize("seed", range(20))
def test_a_segment_that_a_crash_brings_back_has_its_aborted_transactions(seed: int) -> None:
    disk = new_disk(seed)
    log = Log.create(disk, DIRECTORY, CONFIG, wall_ms=WALL_MS)
    log.append(of(1, 0, count=3), 1, WALL_MS, verified=True)
    log.append(marker_of(1, abort=True), 1, WALL_MS, markers=True)
    log.roll(WALL_MS)
    while log.size_bytes < 2 * CONFIG.retention_bytes:
        log.append(batch([b"v" * 100]), 1, WALL_MS)
        log.sync()
    assert log.enforce_retention(WALL_MS, log.end_offset)
    disk.kill()
    disk.device.crash(CrashMode.SCATTERED)
    again = Log.open(SimulatedDisk(disk.device), DIRECTORY, CONFIG, clean=False, wall_ms=WALL_MS)
    assert again.aborted_in(again.start_offset, 5) == ([Aborted(1, 0, 3, 4)] if again.start_offset == 0 else [])


def test_a_log_that_was_cut_to_nothing_is_clean_without_an_epoch() -> None:
    disk = new_disk()
    log = Log.create(disk, DIRECTORY, CONFIG, wall_ms=WALL_MS)
    while len(log.segments) < 6:
        log.append(batch([b"v" * 100] * 2), 1, WALL_MS)
        log.sync()
    assert log.enforce_retention(WALL_MS, log.end_offset)
    log.sync()
    first = log.segments[0].base_offset
    log.truncate(first + 1)
    log.close()
    again = Log.open(disk, DIRECTORY, CONFIG, clean=True, wall_ms=WALL_MS)
    assert again.recovery.clean
    assert (again.start_offset, again.end_offset) == (first, first)


def test_only_the_first_batch_of_a_transaction_needs_the_coordinators_word() -> None:
    log = Log.create(new_disk(), DIRECTORY, LogConfig(), wall_ms=WALL_MS)
    log.append(of(1, 0), 1, WALL_MS, verified=True)
    assert log.append(of(1, 1), 1, WALL_MS).base_offset == 1
    log.append(marker_of(1, abort=True), 1, WALL_MS, markers=True)
    with pytest.raises(InvalidTxnStateError):
        log.append(of(1, 2), 1, WALL_MS)


def test_kip_890_a_late_batch_of_an_aborted_transaction_is_refused_by_the_markers_epoch() -> None:
    log = Log.create(new_disk(), DIRECTORY, LogConfig(), wall_ms=WALL_MS)
    log.append(of(1, 0), 1, WALL_MS, verified=True)
    log.append(marker_of(1, abort=True, epoch=1), 1, WALL_MS, markers=True)
    with pytest.raises(InvalidProducerEpochError):
        log.append(of(1, 1), 1, WALL_MS, verified=True)
    assert log.append(of(1, 0, epoch=1), 1, WALL_MS, verified=True).base_offset == 2


def test_a_repeated_batch_is_recognised_after_its_transaction_has_ended() -> None:
    """Its first answer was lost; no coordinator would vouch for it any more, and none has to."""
    log = Log.create(new_disk(), DIRECTORY, LogConfig(), wall_ms=WALL_MS)
    sent = of(1, 0)
    log.append(bytearray(sent), 1, WALL_MS, verified=True)
    log.append(marker_of(1, abort=False), 1, WALL_MS, markers=True)
    assert log.append(bytearray(sent), 1, WALL_MS).duplicate


@pytest.mark.parametrize("damage", [b"", bytes(34), b"\xff" * 40])
def test_a_damaged_index_is_rebuilt_from_the_batches(damage: bytes) -> None:
    disk = new_disk()
    config = LogConfig(segment_bytes=1200)
    log = Log.create(disk, DIRECTORY, config, wall_ms=WALL_MS)
    for number in range(20):
        log.append(of(1, number), 1, WALL_MS, verified=True)
        log.append(of(2, number), 1, WALL_MS, verified=True)
        log.append(marker_of(1, abort=True), 1, WALL_MS, markers=True)
    expected = log.aborted_in(0, 60)
    assert len(log.segments) > 3 and len(expected) == 20
    log.close()
    path = log.segments[1].files.transaction_index
    if damage:
        disk.open(path).write([damage], 0)
    else:
        disk.open(path).truncate(40)
    assert Log.open(disk, DIRECTORY, config, clean=True, wall_ms=WALL_MS).aborted_in(0, 60) == expected


@pytest.mark.parametrize("clean", [True, False])
def test_a_damaged_snapshot_hides_no_transaction(clean: bool) -> None:
    disk = new_disk()
    log = Log.create(disk, DIRECTORY, LogConfig(), wall_ms=WALL_MS)
    log.append(batch([b"v"] * 3), 1, WALL_MS)
    log.append(of(1, 0), 1, WALL_MS, verified=True)
    log.append(of(2, 0), 1, WALL_MS, verified=True)
    log.append(marker_of(2, abort=True), 1, WALL_MS, markers=True)
    log.close()
    (snapshot,) = (name for name in disk.list(DIRECTORY) if name.endswith(".snapshot"))
    disk.device.flip_bit(f"{DIRECTORY}/{snapshot}")
    again = Log.open(disk, DIRECTORY, LogConfig(), clean=clean, wall_ms=WALL_MS)
    assert again.stable_end(6) == 3
    again.append(marker_of(1, abort=True), 1, WALL_MS, markers=True)
    assert again.aborted_in(0, 7) == [Aborted(2, 4, 5, 3), Aborted(1, 3, 6, 7)]


def test_deleted_segments_take_their_index_along() -> None:
    disk = new_disk()
    config = LogConfig(segment_bytes=400, retention_bytes=600, retention_ms=-1, file_delete_delay_ms=0)
    log = Log.create(disk, DIRECTORY, config, wall_ms=WALL_MS)
    for number in range(20):
        log.append(of(1, number), 1, WALL_MS, verified=True)
        log.append(marker_of(1, abort=True), 1, WALL_MS, markers=True)
    log.sync()
    log.enforce_retention(WALL_MS, log.end_offset)
    log.sync()
    log.enforce_retention(WALL_MS + 1, log.end_offset)
    log.sync()
    assert log.start_offset > 0
    names = {name.partition(".")[0] for name in disk.list(DIRECTORY) if name.endswith(".txnindex")}
    assert names and names <= {f"{segment.base_offset:020d}" for segment in log.segments}
    assert not [name for name in disk.list(DIRECTORY) if name.endswith(".deleted")]
