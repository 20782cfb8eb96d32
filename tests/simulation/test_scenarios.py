"""Scenarios: seeds replay, planted bugs are caught, a failure tells its command, and plans are values."""

import json
import subprocess
import sys
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftpy.runtime.ports import Ports
from log_store.log import Log
from log_store.log_directory import LogDirectory
from simulation.faults import Fault, Step, draw_plan, draw_step, plan_from_json, plan_to_json
from simulation.run import main
from simulation.scenario import SCENARIOS, Scenario, find_scenario, first_failure, run_scenario
from simulation.scenarios.one_log import make_log
from simulation.scenarios.register import PATH, make_register
from tests.tools.replay import ROOT, assert_replays, passed


async def save_to_the_page_cache(ports: Ports, value: bytes) -> None:
    """The classic: acknowledged before it is flushed."""
    file = ports.disk.open(PATH, create=True)
    file.truncate(0)
    file.write([value], 0)


async def save_without_syncing_the_directory(ports: Ports, value: bytes) -> None:
    """KAFKA-16541: the file is durable, its name is not."""
    file = ports.disk.open(f"{PATH}.new", create=True)
    file.truncate(0)
    file.write([value], 0)
    await ports.disk.run(file.sync)
    ports.disk.rename(f"{PATH}.new", PATH)


async def acknowledge_at_once(directory: LogDirectory, log: Log) -> None:
    """What Kafka does on one node."""
    directory.flusher.request(log)


ACKNOWLEDGED_BEFORE_FLUSHED = make_register("acknowledged-before-flushed", save_to_the_page_cache)
NAME_NOT_SYNCED = make_register("name-not-synced", save_without_syncing_the_directory)
UNFLUSHED_LOG = make_log("unflushed-log", acknowledge_at_once)
HERE = "tests.simulation.test_scenarios"


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_seed_of_every_scenario_replays(name: str) -> None:
    is_whole_cluster = len(find_scenario(name).hosts) > 1
    assert_replays(name, range(1, 2 if is_whole_cluster else 4))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 30))
def test_the_register_is_linearizable_whatever_happens(seed: int) -> None:
    passed("register", seed)


@pytest.mark.parametrize("scenario", ["log", "failing-disk"])
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 30))
def test_the_log_keeps_what_it_acknowledged_whatever_happens(scenario: str, seed: int) -> None:
    passed(scenario, seed)


def test_a_log_that_acknowledges_before_it_flushes_is_caught() -> None:
    report = first_failure(f"{HERE}:UNFLUSHED_LOG", range(60))
    assert report is not None
    assert "lost lines-" in report.error


@pytest.mark.parametrize("bug", ["ACKNOWLEDGED_BEFORE_FLUSHED", "NAME_NOT_SYNCED"])
def test_a_planted_bug_is_caught_within_a_few_seeds(bug: str) -> None:
    report = first_failure(f"{HERE}:{bug}", range(60))
    assert report is not None
    assert "Refuted" in report.error and "stuck" in report.error
    again = run_scenario(f"{HERE}:{bug}", report.seed)
    assert (again.trace_hash, again.error) == (report.trace_hash, report.error)


def test_a_failure_tells_the_one_command_that_replays_it() -> None:
    report = first_failure(f"{HERE}:ACKNOWLEDGED_BEFORE_FLUSHED", range(60))
    assert report is not None
    assert report.command in str(report)
    command = [sys.executable, *report.command.split()[1:]]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    assert report.trace_hash in result.stdout and report.command in result.stdout


def test_a_given_plan_is_part_of_the_command() -> None:
    plan = (Step(at_ms=3000, fault=Fault.POWER_FAILURE, target="n1", duration_ms=500),)
    report = run_scenario("register", 3, plan)
    assert report.ok and report.faults["power-failure"] == 1
    assert f"--plan '{plan_to_json(plan)}'" in report.command


def test_the_command_prints_the_story(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_to_json((Step(at_ms=3000, fault=Fault.KILL, target="n1", duration_ms=500),))
    assert main(["--scenario", "register", "--seed", "3", "--plan", plan, "--trace"]) == 0
    printed = capsys.readouterr().out
    assert "3.000000 world kill n1" in printed and "3.500000 world start n1 2" in printed
    assert "register seed 3: linearizable" in printed
    assert main(["--scenario", "register", "--seed", "3", "--seeds", "2", "--hash"]) == 0
    assert len(capsys.readouterr().out.split()) == 2


def test_an_unknown_scenario_is_refused_by_name() -> None:
    with pytest.raises(LookupError, match="register"):
        find_scenario("no-such")
    with pytest.raises(LookupError):
        find_scenario(f"{HERE}:HERE")


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_can_be_drawn_written_down_and_carried_out(fault: Fault) -> None:
    for seed in range(5):
        step = draw_step(Random(seed), ["n1"], 5000, fault)
        plan = (step,)
        assert plan_from_json(plan_to_json(plan)) == plan
        report = run_scenario(f"{HERE}:TOLERANT", seed, plan)
        assert report.ok, str(report)


@given(st.integers())
def test_plans_are_sorted_and_stay_inside_the_run(seed: int) -> None:
    plan = draw_plan(Random(seed), ["n1", "n2"], 5000)
    assert [step.at_ms for step in plan] == sorted(step.at_ms for step in plan)
    assert all(0 <= step.at_ms < 5000 and step.other != step.target for step in plan)
    assert json.loads(plan_to_json(plan)) is not None


async def save_and_stop_on_errors(ports: Ports, value: bytes) -> None:
    """A failed disk ends the program, which is what a broker does with its last log directory."""
    try:
        await ports.disk.run(lambda: ports.disk.write_atomically(PATH, value))
    except OSError:
        await ports.transport.close()
        raise


def _tolerant() -> Scenario:
    scenario = make_register("tolerant", save_and_stop_on_errors)
    return replace(scenario, config=replace(scenario.config, failures_allowed=True))


TOLERANT = _tolerant()
