"""`kraftpy simulate`: what it prints, that it replays, and what a failing run leaves behind."""

import os
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from simulation.checkers.linearizability import check_linearizable
from simulation.plan import plan_from_json
from simulation.scenarios import whole_cluster
from simulation.simulate.options import Options, parse_options
from tests.bugs.catalogue import BUGS
from tests.bugs.overlay import in_this_process
from tests.cli.command import kraftpy

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--nodes", "3", "--minutes", "0.2", "--workload", "log", "--faults", "kill,pause,loss")


def test_a_run_is_told_in_full(tmp_path: Path) -> None:
    path = tmp_path / "story.txt"
    result = kraftpy("simulate", "--seed", "1", *SHORT, "--story", str(path))
    assert (result.code, result.err) == (0, "")
    for line in ("virtual time", "events", "faults", "operations", "checker log", "checker witness", "trace"):
        assert f"\n{line}" in result.text
    assert "log           ok: " in result.text
    story = path.read_text()
    assert "Replay: kraftpy simulate --seed 1 --nodes 3 --minutes 0.2 --workload log --faults kill,pause,loss" in story
    assert "FAULT " in story and "n1 begins life 1" in story


def test_a_search_that_is_given_up_is_told_as_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither well nor failed: nothing is made smaller, and the exit code is that of a run that is not clean."""
    monkeypatch.setattr(whole_cluster, "check_linearizable", partial(check_linearizable, steps_max=1))
    arguments = ("simulate", "--seed", "2", "--nodes", "3", "--minutes", "0.1", "--workload", "metadata")
    result = kraftpy(*arguments, "--faults", "none")
    assert result.code == 4 and "FAILED" not in result.text
    assert "\nchecker topics        unknown: made-1" in result.text and "\nUNKNOWN: topics: made-1" in result.text
    told = kraftpy(*arguments, "--faults", "none", "-o", "json").json()
    assert (told["ok"], told["verdict"], told["error"]) == (False, "unknown", None)


def test_groups_are_judged_too() -> None:
    result = kraftpy("simulate", "--seed", "5", "--nodes", "3", "--minutes", ".2", "--workload", "groups", "-o", "json")
    assert result.code == 0, result.said
    told = result.json()
    assert told["operations"]["tenures"] > 5 and told["operations"]["records handed on"] > 20


def test_the_same_seed_gives_the_same_hash_anywhere(tmp_path: Path) -> None:
    """Under another order of sets, from another directory, in another process."""
    here = kraftpy("simulate", "--seed", "4", *SHORT, "-o", "json").json()
    assert here["ok"] and here["operations"]["sends"] > 50
    for hash_seed in ("1", "2718281"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "kraftpy", "simulate", "--seed", "4", *SHORT, "-o", "jsonl"]
        there = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
        assert there.returncode == 0, there.stderr
        assert f'"trace_hash": "{here["trace_hash"]}"' in there.stdout


def test_a_failing_run_is_replayed_made_smaller_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with in_this_process(BUGS["same-epoch"]):
        arguments = ["simulate", "--seed", "0", "--nodes", "3", "--minutes", "0.4", "--workload", "log"]
        result = kraftpy(*arguments, "--faults", "kill", "--shrink-seconds", "15", "-o", "json")
        assert result.code == 4
        told = result.json()
        assert told["error"].startswith("Violated: lines-0 counts the fenced [") and not told["ok"]
        smallest = told["smallest"]
        assert smallest["faults"] < 10
        again = kraftpy(*shlex.split(smallest["command"])[1:], "--shrink-seconds", "0", "--story", "again.txt")
        assert again.code == 4 and smallest["error"] in again.text
    story = Path("kraftpy-simulate-0.txt").read_text()
    assert "FAULT kill on n" in story and "VIOLATED: lines-" in story
    command = shlex.split(smallest["command"])
    assert len(plan_from_json(command[command.index("--plan") + 1])) == smallest["faults"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--faults", "kill,gremlin"), "there is no fault 'gremlin'; there are all, none, stop, kill,"),
        (("--workload", "logs"), "there is no workload 'logs'; there are all, log, groups, transactions, metadata"),
        (("--minutes", "100000"), "minutes is 100000, and must be from 0.01 to 1440"),
        (("--scenario", "clusters"), "no scenario 'clusters'; there are register, log,"),
        (("--plan", "[1]"), "no plan of faults"),
        (("--nodes", "2"), "--nodes"),
    ],
)
def test_what_is_wrong_is_said_with_what_there_is(arguments: tuple[str, ...], sentence: str) -> None:
    result = kraftpy("simulate", *arguments)
    assert result.code == 2 and sentence in result.said


def test_the_kinds_of_faults_are_listed() -> None:
    rows = kraftpy("simulate", "--list-faults", "-o", "json").json()
    assert len(rows) == 36 and all(row["what"] for row in rows)


def test_options_are_a_scenarios_name() -> None:
    for options in (Options(nodes=4, minutes=0.5, workloads=("log",), rate=3), Options(minutes=360, calm=20)):
        assert parse_options(str(options)) == options
    assert str(Options()) == "simulate:nodes=5,minutes=30,workload=log+groups+transactions+metadata,faults=all,rate=20"
    with pytest.raises(ValueError, match="no option 'node'"):
        parse_options("simulate:node=3")
