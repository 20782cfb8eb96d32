"""Campaigns: what seeds are spent on, what they come to, and that one goes on where it stopped."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from simulation.campaign import ALSO, NAMED, Tally, kept_from_json, scenario_of_seed, tally_from_json
from simulation.fault_kinds import KINDS
from simulation.plan import plan_from_json
from simulation.scenario import SCENARIOS, find_scenario, run_scenario
from simulation.situations.table import SITUATIONS
from simulation.verdicts import CheckVerdict, Verdict
from tests.cli.command import kraftpy

ROOT = Path(__file__).resolve().parents[2]


def test_seeds_are_spent_on_every_scenario_and_shape() -> None:
    names = [scenario_of_seed(seed) for seed in range(2_000)]
    named = {*NAMED, *ALSO.values()}
    assert named <= {*names} and named <= {*SCENARIOS}
    shapes = [name for name in names if name.startswith("simulate:")]
    for part in (
        "nodes=3",
        "nodes=6",
        "minutes=0.2,",
        "workload=log,",
        "workload=log+groups+transactions+metadata",
        "rate=40",
        "calm=20",
    ):
        assert any(part in name for name in shapes)
    assert all(find_scenario(name).name == name for name in dict.fromkeys(names))


def test_a_tally_adds_up_and_can_be_written_down() -> None:
    report = run_scenario("register", 7)
    tally = Tally(first_seed=7, next_seed=7)
    tally.add(report)
    tally.add(
        replace(report, seed=8, error="Refuted: it\nwas so", fault_kinds={"kill": 2}, situations={"disk-full": 1})
    )
    assert tally_from_json(tally.to_json()) == tally
    assert (tally.seeds, tally.virtual_ms, tally.scenarios) == (2, 2 * report.virtual_ms, {"register": 2})
    text = "\n".join(tally.lines())
    assert "2 seeds from 7 on" in text and "- register seed 8: Refuted: it\n" in text
    assert "| `disk-full` | there is no space left | 1 |" in text
    assert text.count("| never |") == len(tally.never_met()) + len([k for k in KINDS if k.name not in tally.faults])
    assert len(tally.never_met()) < len(SITUATIONS)


def test_seeds_behind_one_that_takes_its_time_count_and_are_not_run_again() -> None:
    report = run_scenario("register", 7)
    tally = Tally(first_seed=7, next_seed=7)
    for seed in (9, 8, 11):
        tally.add(replace(report, seed=seed))
    tally = tally_from_json(tally.to_json())
    assert (tally.seeds, tally.next_seed) == (3, 7)
    assert [seed for seed in range(6, 14) if tally.lacks(seed)] == [7, 10, 12, 13]
    tally.add(report)
    assert (tally.seeds, tally.next_seed, tally.ahead) == (4, 10, [11])
    tally.add(replace(report, seed=10))
    assert (tally.seeds, tally.next_seed, tally.ahead) == (5, 12, [])
    with pytest.raises(AssertionError):
        tally.add(report)


def test_what_a_checker_gave_up_is_no_failure_and_never_well(tmp_path: Path) -> None:
    """It is counted, its seed is named, and who looks at the exit code hears of it."""
    given_up = CheckVerdict("topics", Verdict.UNKNOWN, "made-1a: unknown, 40 operations, 2000001 steps")
    report = replace(run_scenario("register", 7), verdicts=(given_up,))
    assert report.ok and report.verdict is Verdict.UNKNOWN and "\n  unknown: topics: made-1a" in str(report)
    tally = Tally(first_seed=7, next_seed=7)
    tally.add(report)
    tally.add(replace(report, seed=8, error="Refuted: it was so"))
    assert tally_from_json(tally.to_json()) == tally and tally.verdicts == {"topics unknown": 2}
    text = "\n".join(tally.lines())
    assert "1 failures, 1 unknown" in text and "- unknown: register seed 7: topics: made-1a: unknown" in text
    state = tmp_path / "state.json"
    state.write_text(json.dumps({**json.loads(tally.to_json()), "failures": []}))
    assert kraftpy("simulate", "--campaign", "--hours", "0", "--state", str(state)).code == 4


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    command = [sys.executable, "-m", "kraftpy", "simulate", "--campaign", "--scenario", "register", "--seed", "10"]
    command += ["--jobs", "1", "--hours", "1", "--state", str(state), "--keep", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and (not state.exists() or json.loads(state.read_text())["next_seed"] < 12):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "seeds from 10 on" in told
    before = tally_from_json(state.read_text())
    assert before.next_seed >= 12 and not before.failures
    result = kraftpy("simulate", "--campaign", "--hours", "0", "--state", str(state), "-o", "json")
    assert result.code == 0 and result.json()["next_seed"] == before.next_seed


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_ends_in_the_midst_of_a_seed_and_leaves_no_worker(tmp_path: Path, number: signal.Signals) -> None:
    """A seed of ten hours, which nobody waits for."""
    scenario = "simulate:nodes=3,minutes=600,workload=log,faults=none,rate=20"
    arguments = ["--campaign", "--jobs", "2", "--scenario", scenario, "--state", str(tmp_path / "state.json")]
    command = [sys.executable, "-m", "kraftpy", "simulate", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while sum(map(has_begun, workers := children(process.pid))) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    deadline_s = time.monotonic() + 60
    while any(map(has_begun, workers)):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    listings = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for listing in listings for child in listing.read_text().split()]


def has_begun(pid: int) -> bool:
    """Whether it is a worker, and runs its own code: Python is up, and a thread looks after the parent."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
    return "State:\tZ" not in status and "Threads:\t1\n" not in status


def test_a_failing_seed_is_kept(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    scenario = "tests.simulation.test_scenarios:ACKNOWLEDGED_BEFORE_FLUSHED"
    failing = next(seed for seed in range(60) if not run_scenario(scenario, seed).ok)
    arguments = ["simulate", "--campaign", "--scenario", scenario, "--seed", str(failing), "--jobs", "1"]
    result = kraftpy(*arguments, "--hours", "0.000001", "--state", str(state), "--keep", str(tmp_path / "kept"))
    assert result.code == 4
    (path,) = (tmp_path / "kept").glob("*.json")
    kept = kept_from_json(path.read_text())
    assert kept.seed == failing and "stuck" not in kept.why and kept.why.startswith("Refuted")
    assert not run_scenario(kept.scenario, kept.seed, plan_from_json(kept.plan)).ok
    assert f"seed {failing}: Refuted" in result.err


def test_another_file_is_no_campaigns(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text("[1]")
    result = kraftpy("simulate", "--campaign", "--hours", "0", "--state", str(path))
    assert result.code == 2 and "is no campaign's file" in result.said
