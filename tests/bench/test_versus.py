"""Rounds, ratios, what perf tools print, and the table; and one short run against our own cluster, without Java."""

import ctypes
import mmap
import os
import signal
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench import document
from bench.versus import consuming, grid, grid_report, kept, perf_tools, report, session
from bench.versus.__main__ import main
from bench.versus.contenders import Contender, settings_of
from bench.versus.kept import Kept
from bench.versus.measures import MEASURES
from bench.versus.memory import STEP_BYTES, PageCache, free_bytes
from bench.versus.processes import family, processor_s, rss_anon_mb
from bench.versus.programs.payload import values
from bench.versus.rounds import Results, Step, Taken, compare, groups, is_met, plan
from bench.versus.rows import Better, Figures, Measure, Row, Target
from bench.versus.session import Session
from bench.versus.stage import ProgramFailedError, Stage, finished, found_in, started
from tests.compatibility.cache import Cache

OURS, RELAXED, THEIRS, FLUSHING = (
    Contender.OURS,
    Contender.OURS_RELAXED,
    Contender.THEIRS,
    Contender.THEIRS_FLUSHING,
)


def nothing(stage: Stage) -> Figures:
    raise AssertionError("plans are not run here")


def measure(name: str, nodes: int = 3, rows: int = 1, *, own: bool = False) -> Measure:
    """Its first row compares defaults, its second relaxed ones, its third flushed ones."""
    made = (
        Row("one", "f", "MB/s", Better.HIGHER, Target(1.5), disk_bytes=3_000_000),
        Row("two", "f", "MB/s", Better.HIGHER, Target(1.5), ours=RELAXED),
        Row("three", "f", "MB/s", Better.HIGHER, Target(1.5), theirs=FLUSHING),
    )
    return Measure(name, nodes, nothing, made[:rows], "", own_cluster=own)


def results_of(name: str, figures: Mapping[Contender, list[float]]) -> Results:
    return {
        (number, name, contender.value): Taken({"f": figure})
        for contender, found in figures.items()
        for number, figure in enumerate(found)
    }


def said(steps: list[Step]) -> list[str]:
    return [f"{step.round} {step.contender.value}: {' '.join(each.name for each in step.measures)}" for step in steps]


# --- rounds ----------------------------------------------------------------------------------------------------------


def test_measures_share_a_cluster_where_they_can() -> None:
    wanted = [measure("a"), measure("lone", own=True), measure("single", nodes=1), measure("b")]
    assert [[each.name for each in group] for group in groups(wanted)] == [["a", "b"], ["lone"], ["single"]]


def test_every_second_round_goes_the_other_way() -> None:
    steps = plan([measure("a", rows=3), measure("b")], 2, list(Contender))
    assert said(steps) == [
        "0 ours: a b",
        "0 ours-relaxed: a",
        "0 theirs: a b",
        "0 theirs-flushing: a",
        "1 theirs-flushing: a",
        "1 theirs: a b",
        "1 ours-relaxed: a",
        "1 ours: a b",
    ]


def test_only_contenders_that_were_asked_for_have_a_turn() -> None:
    assert said(plan([measure("a", rows=3)], 1, [RELAXED])) == ["0 ours-relaxed: a"]


def test_every_row_of_the_table_compares_one_of_ours_with_one_of_theirs() -> None:
    names = [each.name for each in MEASURES]
    assert len(set(names)) == len(names)
    for each in MEASURES:
        assert each.rows and each.contenders
        assert all(row.theirs.is_kafka and not row.ours.is_kafka for row in each.rows)


def test_both_are_told_the_same_but_for_the_flush() -> None:
    plain = settings_of(OURS, 3)
    assert plain == settings_of(THEIRS, 3)
    assert plain["min.insync.replicas"] == "2" and settings_of(OURS, 1)["min.insync.replicas"] == "1"
    assert settings_of(FLUSHING, 3) == {**plain, "log.flush.interval.messages": "1"}
    assert int(settings_of(RELAXED, 3)["log.flush.interval.messages"]) > 10**18


# --- ratios ----------------------------------------------------------------------------------------------------------


def test_a_ratio_is_of_one_round_and_the_row_is_their_median() -> None:
    found = results_of("a", {OURS: [20.0, 90.0, 30.0], THEIRS: [10.0, 30.0, 30.0]})
    compared = compare(measure("a"), measure("a").rows[0], found, {})
    assert list(compared.ratios) == [2.0, 3.0, 1.0]
    assert compared.ratio == 2.0 != statistics.median([20.0, 90.0, 30.0]) / statistics.median([10.0, 30.0, 30.0])


def test_a_round_that_lacks_one_of_them_has_no_ratio() -> None:
    found = results_of("a", {OURS: [20.0, 90.0], THEIRS: [10.0]})
    found[1, "a", THEIRS.value] = Taken(error="TimeoutError: too late")
    compared = compare(measure("a"), measure("a").rows[0], found, {})
    assert list(compared.ratios) == [2.0]
    assert compared.error == "theirs: TimeoutError: too late"


@pytest.mark.parametrize("ours, met", [(15.0, True), (14.0, False), (9.0, True)])
def test_a_flushed_row_may_be_met_by_the_disk(ours: float, met: bool) -> None:
    """Ours is 15, 14 and 9 MB/s, three times flushed; the disk gives 60 MB/s, and in the last case 30."""
    disk = 30.0 if ours == 9.0 else 60.0
    found = results_of("a", {OURS: [ours], THEIRS: [10.0]})
    row = measure("a").rows[0]
    compared = compare(measure("a"), row, found, {0: disk})
    assert compared.disk_share == pytest.approx(3 * ours / disk)
    assert is_met(row, compared) is met


def test_a_relaxed_row_has_no_excuse() -> None:
    found = results_of("a", {RELAXED: [14.0], THEIRS: [10.0]})
    row = measure("a", rows=2).rows[1]
    compared = compare(measure("a", rows=2), row, found, {0: 1.0})
    assert compared.disk_share is None and is_met(row, compared) is False


@pytest.mark.parametrize(
    "better, target, met",
    [
        (Better.LOWER, Target(0.5), True),
        (Better.LOWER, Target(0.49), False),
        (Better.LOWER, Target(5.0, absolute=True), True),
        (Better.LOWER, Target(4.9, absolute=True), False),
        (Better.HIGHER, Target(5.0, absolute=True), True),
        (Better.HIGHER, None, None),
    ],
)
def test_targets(better: Better, target: Target | None, met: bool | None) -> None:
    row = Row("one", "f", "s", better, target)
    found = results_of("a", {OURS: [5.0], THEIRS: [10.0]})
    assert is_met(row, compare(measure("a"), row, found, {})) is met


def test_nothing_found_is_neither_met_nor_missed() -> None:
    row = measure("a").rows[0]
    assert is_met(row, compare(measure("a"), row, {}, {})) is None


# --- what the perf tools print ---------------------------------------------------------------------------------------

SENT = """\
1234 records sent, 246.8 records/sec (0.24 MB/sec), 900.1 ms avg latency, 1500.0 ms max latency.
5000 records sent, 4347.8 records/sec (4.15 MB/sec), 12.3 ms avg latency, 300.0 ms max latency, 5 ms 50th, 50 ms 95th.
"""
READ = """\
start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, \
fetch.MB.sec, fetch.nMsg.sec
2026-11-21 16:12:16:385, 2026-11-21 16:12:20:111, 9.5367, 2.5595, 10000, 2683.8433, 3226, 500, 19.0735, 20000.0000
"""


def test_the_last_line_of_the_producer_is_the_sum() -> None:
    assert perf_tools.records_per_s(SENT, 5_000) == 4_347.8
    with pytest.raises(perf_tools.NotUnderstoodError):
        perf_tools.records_per_s(SENT.splitlines()[0], 5_000)


def test_the_consumer_is_read_without_its_rebalance() -> None:
    assert perf_tools.fetched_per_s(f"[main] a line of a log\n{READ}", 10_000) == 20_000.0
    with pytest.raises(perf_tools.NotUnderstoodError, match="10000 of 20000"):
        perf_tools.fetched_per_s(READ, 20_000)
    with pytest.raises(perf_tools.NotUnderstoodError, match="no table"):
        perf_tools.fetched_per_s("Exception in thread main", 10_000)


def test_percentiles() -> None:
    printed = "Avg latency: 1.2345 ms\nPercentiles: 50th = 1, 99th = 10, 99.9th = 20\n"
    assert perf_tools.percentiles_ms(printed) == {"p50": 1.0, "p99": 10.0, "p99.9": 20.0}
    with pytest.raises(perf_tools.NotUnderstoodError):
        perf_tools.percentiles_ms("Avg latency: 1.2345 ms")


# --- what is kept and shown ------------------------------------------------------------------------------------------


def test_a_row_of_the_table() -> None:
    found = Kept(results=results_of("a", {OURS: [20.0, 90.0, 30.0], THEIRS: [10.0, 30.0, 30.0]}))
    found.disk = {number: {"one": 50.0, "three": 100.0} for number in range(3)}
    _, _, line = report.table([measure("a")], found)
    assert line == ("| one | 30.0 (10.0–30.0) | 30.0 (20.0–90.0) | MB/s | 2.00 (1.00–3.00) | ≥ 1.5× | yes | 90% |")


def test_a_failure_is_a_row_that_says_so() -> None:
    found = Kept(results=results_of("a", {OURS: [20.0]}))
    found.results[0, "a", THEIRS.value] = Taken(error="KafkaClusterError: node 1 ended by itself")
    shown = report.markdown([measure("a")], found, "the command")
    assert "| one |  | 20.0 | MB/s | failed | ≥ 1.5× |  |  |" in shown
    assert "- a, theirs, round 1: `KafkaClusterError: node 1 ended by itself`" in shown


def test_only_the_section_of_the_document_changes() -> None:
    text = "# Benchmarks\n<!-- one: begin -->\nold\n<!-- one: end -->\nbetween\n<!-- two: begin -->\n"
    assert document.put(text, "one", "new") == text.replace("old", "new")
    for name in ("two", "three"):
        with pytest.raises(ValueError, match=name):
            document.put(text, name, "new")


def test_what_was_found_is_kept(tmp_path: Path) -> None:
    found = Kept({"Python": "3.11"}, results_of("a", {OURS: [1.0]}), {0: {"one": 1.0, "three": 2.0}})
    found.results[0, "b", THEIRS.value] = Taken(error="no")
    found.grid[0, OURS.value] = {"produce | acks=1 | 1": 5.0}
    kept.save(tmp_path / "results" / "versus.json", found)
    assert kept.load(tmp_path / "results" / "versus.json") == found
    assert kept.load(tmp_path / "nothing.json") == Kept()


def test_cells_of_the_grid_are_named_once_and_compared_by_round() -> None:
    cells = grid.cells()
    assert len({cell.name for cell in cells}) == len(cells)
    name = cells[0].name
    taken = {(0, "ours"): {name: 6.0}, (0, "theirs"): {name: 2.0}, (1, "ours"): {name: 4.0}, (1, "theirs"): {}}
    assert grid.ratio(cells[0], OURS, taken) == 3.0
    assert grid.ratio(cells[1], OURS, taken) is None
    assert grid.ratio(cells[0], RELAXED, taken) is None


def test_the_grids_report_tells_every_cell_in_which_ours_is_slower() -> None:
    slow, fast = grid.of_map("partitions")[:2]
    found = Kept(disk={0: {"one": 50.0, "three": 100.0}})
    for number in range(3):
        found.grid[number, "theirs"] = {slow.name: 10.0, fast.name: 10.0}
        found.grid[number, "ours"] = {slow.name: 8.0 + number / 2, fast.name: 30.0}
        found.grid[number, "ours-relaxed"] = {slow.name: 20.0}
    shown = grid_report.markdown(found, "the command", [("A map", "plots/a.svg")])
    assert "| partitions | ours | 12 | 0.85 | 1.93 | 3.00 | 1 | 10 |" in shown
    assert "| partitions | ours-relaxed | 12 | 2.00 | 2.00 | 2.00 | 0 | 11 |" in shown
    assert "| consume | ours | 16 |  |  |  | 0 | 16 |" in shown
    below = f"| partitions: {slow.row}, {slow.column} | ours | 10.0 (10.0–10.0) | 8.50 (8.00–9.00) | records/s |"
    assert [line for line in shown.splitlines() if ": acks=" in line] == [f"{below} 0.85 (0.80–0.90) |"]
    assert shown.endswith("![A map](plots/a.svg)")


def test_values_are_letters_and_always_the_same() -> None:
    made = values(1_000)
    assert made == values(1_000) and len(set(made)) == len(made) > 100
    assert all(len(value) == 1_000 and value.isalpha() and value.isupper() for value in made)


# --- running it ------------------------------------------------------------------------------------------------------


class FakeCluster:
    """Up at once, or never."""

    version = "1"

    def __init__(self, starts: bool) -> None:
        self._starts = starts

    def __enter__(self) -> "FakeCluster":
        if not self._starts:
            raise RuntimeError("node 2 ended by itself")
        return self

    def __exit__(self, *_: object) -> None:
        pass


def session_of(monkeypatch: pytest.MonkeyPatch, path: Path, found: Kept, down: Sequence[Contender] = ()) -> Session:
    """One whose clusters are not there, whose disk is not asked."""
    monkeypatch.setattr(session, "cluster_of", lambda contender, nodes, cache: FakeCluster(contender not in down))
    monkeypatch.setattr(consuming, "warm", lambda stage: None)
    found.disk = {0: {"one": 1.0, "three": 1.0}}
    return Session(Cache(path), path / "versus.json", True, found)


def test_a_measure_that_fails_is_a_result_and_the_next_has_its_turn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = Kept()
    works = replace(measure("works"), run=lambda stage: {"f": 2.0 if stage.contender is OURS else 1.0})
    steps = plan([measure("fails"), works], 1, [OURS, THEIRS])
    session_of(monkeypatch, tmp_path, found).run(steps)
    assert found.results[0, "fails", "ours"].error == "AssertionError: plans are not run here"
    assert list(compare(works, works.rows[0], found.results, {}).ratios) == [2.0]
    assert kept.load(tmp_path / "versus.json") == found


def test_a_cluster_that_does_not_start_fails_all_its_measures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = Kept()
    works = replace(measure("works"), run=lambda stage: {"f": 1.0})
    steps = plan([works, replace(works, name="too")], 1, [OURS, THEIRS])
    session_of(monkeypatch, tmp_path, found, down=[THEIRS]).run(steps)
    errors = {place: taken.error for place, taken in found.results.items()}
    assert errors == {
        (0, "works", "ours"): "",
        (0, "too", "ours"): "",
        (0, "works", "theirs"): "RuntimeError: node 2 ended by itself",
        (0, "too", "theirs"): "RuntimeError: node 2 ended by itself",
    }


def test_what_was_taken_is_not_taken_again_and_what_failed_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[str] = []

    def run(stage: Stage) -> Figures:
        ran.append(stage.contender.value)
        return {"f": 1.0}

    found = Kept(results={(0, "a", "ours"): Taken({"f": 5.0}), (0, "a", "theirs"): Taken(error="no")})
    session_of(monkeypatch, tmp_path, found).run(plan([replace(measure("a"), run=run)], 1, [OURS, THEIRS]))
    assert ran == ["theirs"]
    assert found.results == {(0, "a", "ours"): Taken({"f": 5.0}), (0, "a", "theirs"): Taken({"f": 1.0})}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_free_memory_is_filled_with_pages_that_were_not_there_before() -> None:
    free = [3 * STEP_BYTES, STEP_BYTES]
    with PageCache(lambda: free.pop(0)) as memory:
        assert steps_in_memory(memory) == [False, False, False, False, False]
        assert memory.fill() == 3 * STEP_BYTES
        assert steps_in_memory(memory) == [True, True, True, False, False]
        assert memory.fill() == STEP_BYTES
        assert steps_in_memory(memory) == [True, True, True, True, False]
    assert free_bytes() > 0


def steps_in_memory(memory: PageCache) -> list[bool]:
    """Of the first five, whether the kernel has all their pages (mincore(2))."""
    size = 5 * STEP_BYTES
    pages = (ctypes.c_ubyte * (size // mmap.PAGESIZE))()
    with mmap.mmap(memory.hole.fileno(), size) as mapped:
        first = ctypes.c_char.from_buffer(mapped)
        assert ctypes.CDLL(None).mincore(ctypes.byref(first), ctypes.c_size_t(size), pages) == 0
        del first
    there = [bool(page & 1) for page in pages]
    return [all(there[len(there) * step // 5 : len(there) * (step + 1) // 5]) for step in range(5)]


def test_a_program_that_fails_says_why() -> None:
    script = "import sys; print('ValueError: no'); print('in the end'); sys.exit(3)"
    with pytest.raises(ProgramFailedError, match=r"exit code 3: ValueError: no \| in the end"):
        finished([sys.executable, "-c", script], 30.0)
    with pytest.raises(ProgramFailedError, match="it found nothing: hello"):
        found_in("hello\n")
    assert found_in('a log\n{"records": 3}\n') == {"records": 3}


def test_a_program_that_hangs_is_killed() -> None:
    with pytest.raises(ProgramFailedError, match="not done within 0 s"):
        finished(["sleep", "60"], 0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_node_is_its_process_and_that_ones_children() -> None:
    script = (
        "import subprocess, time\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "while time.process_time() < 0.1: pass\n"
        "print(child.pid, flush=True); input()"
    )
    with started([sys.executable, "-c", script]) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert family(process.pid) == [process.pid, child]
        assert rss_anon_mb(process.pid) > rss_anon_mb(child) > 0
        assert processor_s([process.pid]) >= 0.08  # it used 0.1, counted in ticks
        os.kill(child, signal.SIGKILL)


# --- all of it -------------------------------------------------------------------------------------------------------


def test_a_short_run_of_our_own_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results.json"
    asked = ["--quick", "--rounds", "1", "--contenders", "ours", "--results", str(results)]
    assert main([*asked, "--only", "alone-produce,start-1"]) == 0
    found = kept.load(results)
    assert found.results[0, "alone-produce", "ours"].figures["records/s"] > 0
    assert 0 < found.results[0, "start-1", "ours"].figures["s"] < 60
    assert found.disk[0]["three"] > 0
    assert "| one node: produce 1 KB, librdkafka: flushed |  |" in capsys.readouterr().out
