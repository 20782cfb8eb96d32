"""What may not go from a compacted topic, gone: the witness says so, and is content with all that may."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from broker.maintenance.config import CompactionConfig
from broker.metadata.image import MetadataImage
from broker.metadata.records import MetadataRecord, PartitionRecord, TopicRecord
from kraftpy.record import Record, encode_batch, encode_marker
from log_store import compacting
from log_store.compaction.batch_filter import BatchFilter
from log_store.compaction.job import CleaningJob
from log_store.compaction.plan import survey
from log_store.compaction.transactions import Transactions
from simulation.compaction_witness import CompactionWitness, Promise
from simulation.disk import SimulatedDisk
from simulation.scenario import Refuted, run_scenario
from simulation.scenarios import compacted_transactions, compaction
from simulation.scenarios.compacted_transactions import Fate, KeyHistory, Written, judge_readers
from simulation.witness import ReplicaSeen, Witness
from simulation.world import World
from tests.controller.harness import registration
from tests.simulation.test_witness import DATA, NOTHING, TOPIC

HOSTS = ("n1", "n2", "n3")
Batches = dict[int, bytes]
"""By their offsets."""


def record(offset: int, key: bytes, value: bytes | None, producer_id: int = -1, *, sent_ms: int = 0) -> bytes:
    return bytes(
        encode_batch(
            [Record(offset, sent_ms, key, value, ())],
            base_offset=offset,
            leader_epoch=0,
            producer_id=producer_id,
            producer_epoch=-1 if producer_id < 0 else 0,
            base_sequence=-1 if producer_id < 0 else 0,
            transactional=producer_id >= 0,
        )
    )


def marker(offset: int, producer_id: int, *, commit: bool) -> bytes:
    told = {"coordinator_epoch": 0, "timestamp_ms": 0, "producer_id": producer_id, "producer_epoch": 0}
    return bytes(encode_marker(commit=commit, base_offset=offset, leader_epoch=0, **told))


@dataclass(frozen=True, slots=True)
class Scene:
    """Three replicas of one partition, and who looks at them."""

    world: World
    witness: Witness

    def has(self, host: str, batches: Batches, name: str = f"{0:020}.log") -> None:
        """From now on, durably, in that file."""
        disk = SimulatedDisk(self.world.device(host))
        disk.make_directory(f"{DATA}/t-0")
        file = disk.open(f"{DATA}/t-0/{name}", create=True)
        file.truncate(0)
        file.write([b"".join(batches.values())], 0)
        file.sync()
        for path in ("/", DATA, f"{DATA}/t-0"):
            disk.sync_directory(path)

    def watcher(self, batches: Batches, promise: Promise) -> CompactionWitness:
        """Who has seen these committed everywhere at 0 ms."""
        watcher = CompactionWitness(self.world, self.witness, (DATA,), "t", promise)
        for host in HOSTS:
            self.has(host, batches)
        self.keeps(0, max(batches) + 1)
        watcher.look(0)
        assert not self.world.violations
        return watcher

    def keeps(self, start: int, end_offset: int) -> None:
        self.witness.note([ReplicaSeen(TOPIC, 0, start, end_offset)])
        self.world.violations.clear()  # the other witness may have a word to say on that


@pytest.fixture
def scene() -> Iterator[Scene]:
    records: list[MetadataRecord] = [replace(registration(broker_id), fenced=False) for broker_id in (1, 2, 3)]
    records += [TopicRecord("t", TOPIC), PartitionRecord(TOPIC, 0, (1, 2, 3), (1, 2, 3), 1, 0, 0)]
    world = World(1)
    witness = Witness(world, (DATA,), compacts=True)
    image, _ = MetadataImage.EMPTY.apply(records, len(records), 1)
    witness.published("n1.1", image, NOTHING)
    yield Scene(world, witness)
    world.loop.close()


LOG: Batches = {
    0: record(0, b"a", b"old"),
    1: record(1, b"a", b"new"),
    2: record(2, b"b", b"kept", producer_id=7),
    3: marker(3, 7, commit=True),
    4: record(4, b"b", b"not", producer_id=7),
    5: marker(5, 7, commit=False),
    6: record(6, b"c", None),
    7: record(7, b"a", b"open", producer_id=8),
}
KEPT = Promise(delete_retention_ms=3_000)


@pytest.mark.parametrize(
    ("gone", "at_ms", "problem"),
    [
        ((), 1_000, ""),
        ((0,), 1_000, ""),
        ((0, 4), 1_000, ""),
        ((1,), 1_000, "t-0 on n2 lacks 1, .*'new'.*: it is the last of its key that is committed"),
        ((2,), 1_000, "t-0 on n2 lacks 2, .*'kept'.*: it is the last of its key that is committed"),
        ((7,), 1_000, "t-0 on n2 lacks 7, .*'open'.*: it is the last of its key"),
        ((6,), 1_000, "t-0 on n2 lacks 6, .*: it was to stay for 3000 ms, and was there for 1500 at most"),
        ((3,), 1_000, "t-0 on n2 lacks 3, .*: it was to stay for 3000 ms"),
        ((0, 3, 4, 5, 6), 3_000, ""),
        ((1,), 9_000, "t-0 on n2 lacks 1, "),
    ],
)
def test_what_compaction_may_take(scene: Scene, gone: tuple[int, ...], at_ms: int, problem: str) -> None:
    """The transaction at 7 is open: what it would outdo stays, and it is the floor under which nothing is missing."""
    watcher = scene.watcher(LOG, KEPT)
    scene.has("n2", {offset: batch for offset, batch in LOG.items() if offset not in gone})
    watcher.look(at_ms)
    if problem:
        assert len(scene.world.violations) == 1 and re.search(problem, scene.world.violations[0])
    else:
        assert scene.world.violations == [] and watcher.gone["t-0", "n2"] == len(gone)
        assert watcher.tombstones_gone == ({("t-0", 6): None} if 6 in gone else {})


def test_an_offset_that_is_used_again(scene: Scene) -> None:
    watcher = scene.watcher(LOG, KEPT)
    scene.has("n3", {**LOG, 1: record(1, b"a", b"other")})
    watcher.look(1_000)
    assert "t-0 on n3: Seen(key=b'a', value=b'other'" in scene.world.violations[0]


def test_what_is_swapped_in_is_there(scene: Scene) -> None:
    watcher = scene.watcher(LOG, KEPT)
    scene.has("n2", {})
    scene.has("n2", {offset: batch for offset, batch in LOG.items() if offset}, f"{0:020}.log.swap")
    watcher.look(1_000)
    assert scene.world.violations == []


@pytest.mark.parametrize(
    ("retention_ms", "problem"),
    [(None, "0 was 6000 ms old"), (5_001, "1 was 5000 ms old"), (5_000, "")],
)
def test_a_beginning_that_goes(scene: Scene, retention_ms: int | None, problem: str) -> None:
    log = {0: record(0, b"a", b"1"), 1: record(1, b"b", b"2", sent_ms=1_000), 2: record(2, b"c", b"3")}
    watcher = scene.watcher(log, Promise(3_000, retention_ms))
    scene.keeps(2, 3)
    scene.has("n2", {2: log[2]})
    watcher.look(6_000)
    assert scene.world.violations == ([f"t-0 begins at 2: {problem}, and is to be kept"] if problem else [])


# --- readers ---------------------------------------------------------------------------------------------------------


class Found:
    """`compacted_transactions.Reader`, when it has read."""

    def __init__(self, value: int | None, *given: int) -> None:
        self.values = {} if value is None else {b"k": value}
        self.given = {(b"k", each): None for each in given}


C, N, U = Fate.COMMITTED, Fate.NEVER, Fate.UNKNOWN


@pytest.mark.parametrize(
    ("written", "value", "given", "retention_ms", "problem"),
    [
        (((1, C), (2, N)), 1, (1,), None, ""),
        (((1, C), (2, N)), 1, (1, 2), None, "was given 2 of b'k': nobody asked for that"),
        (((1, C), (2, N)), 2, (), None, r"finds 2 for b'k', possible are \[1\]"),
        (((1, C), (2, C)), 1, (1, 2), None, r"finds 1 for b'k', possible are \[2\]"),
        (((1, C), (2, U)), 1, (1, 2), None, ""),
        (((1, C), (None, U)), None, (1,), None, ""),
        (((1, C), (None, C)), 1, (1,), None, "finds 1 for"),
        (((1, C),), None, (1,), None, "finds None for"),
        (((1, C),), None, (1,), 9_000, ""),
        (((1, C),), None, (1,), 10_000, "finds None for"),
        ((), 1, (1,), None, "was given 1 of b'k': not sent"),
    ],
)
def test_what_readers_may_find(
    written: tuple[tuple[int | None, Fate], ...],
    value: int | None,
    given: tuple[int, ...],
    retention_ms: int | None,
    problem: str,
) -> None:
    histories = {b"k": KeyHistory([Written(number, 0, fate) for number, fate in written])}
    readers: Any = [Found(None), Found(value, *given)]
    promise = Promise(3_000, retention_ms)
    if problem:
        with pytest.raises(Refuted, match=problem):
            judge_readers(readers[1:] * 2, histories, 9_001, promise)
    else:
        judge_readers(readers[1:] * 2, histories, 9_001, promise)


# --- planted bugs ----------------------------------------------------------------------------------------------------


def told(scenario: str, monkeypatch: pytest.MonkeyPatch, seed: int = 1) -> str:
    """What a run of few seconds without faults says."""
    monkeypatch.setattr(compaction, "LENGTH_MS", 8_000)
    monkeypatch.setattr(compacted_transactions, "LENGTH_MS", 8_000)
    monkeypatch.setattr(compacted_transactions, "WRITING_MS", 8_000)
    return run_scenario(scenario, seed, ()).error


def test_tombstones_that_go_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    init = BatchFilter.__init__

    def impatient(self: BatchFilter, job: CleaningJob, *rest: Any) -> None:
        init(self, replace(job, delete_retention_ms=0), *rest)

    monkeypatch.setattr(BatchFilter, "__init__", impatient)
    assert "it was to stay for 14000 ms" in told("compacted-transactions", monkeypatch)


def test_what_was_aborted_outdoes_what_was_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Transactions, "is_aborted", lambda self, header: False)
    assert "it is the last of its key that is committed" in told("compacted-transactions", monkeypatch)


def test_a_topic_that_nobody_compacts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that looks for what is missing would be content with it."""
    never = CompactionConfig(enable=False)
    for module in (compaction, compacted_transactions):
        monkeypatch.setattr(module, "COMPACTING", never)
    for scenario in ("compaction", "compacted-transactions"):
        assert "Refuted: nothing of latest-0 was ever compacted on n1" in told(scenario, monkeypatch)


def test_compaction_above_its_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing from the first open transaction on may be judged: it may be aborted yet."""

    def everything(*arguments: Any, bound: int, **rest: Any) -> Any:
        return survey(*arguments, bound=1 << 40, **rest)

    monkeypatch.setattr(compacting, "survey", everything)
    monkeypatch.setattr(Transactions, "decided_end", lambda self, end_offset: end_offset)
    found = next(filter(None, (told("compacted-transactions", monkeypatch, seed) for seed in range(3, 30))))
    assert "it is the last of its key that is committed" in found
