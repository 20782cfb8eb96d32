"""Traces told in words, and failing runs made smaller."""

from dataclasses import replace
from random import Random

from simulation.fault_kinds import KINDS, Fault
from simulation.plan import Plan, Step, draw_rounds, draw_step
from simulation.scenario import RunReport, run_scenario
from simulation.shrink import shrink
from simulation.simulate.options import Options, parse_options
from simulation.story import tell


def told(*lines: str) -> list[str]:
    return [line.strip() for line in tell(f"1.5 world {line}" for line in lines)]


def test_what_is_asked_all_the_time_is_counted() -> None:
    fetch = "call n2 n1 /kraftpy.pb.Quorum/Fetch 30"
    assert told(fetch, fetch, "kill n1", "call n2 n1 /kraftpy.pb.Quorum/Vote 70", fetch) == [
        "… 2 × Quorum.Fetch",
        "1.500000  n1 is killed",
        "1.500000  n2 asks n1: Quorum.Vote (70 bytes)",
        "… 1 × Quorum.Fetch",
    ]


def test_every_kind_of_fault_is_told() -> None:
    for kind in KINDS:
        step = draw_step(Random(1), ["n1", "n2"], 1_000, kind.fault)
        (line,) = told(f"fault {kind.name} {step.target} {step.other} {step.amount} {step.duration_ms}")
        assert f"FAULT {kind.name} on {step.target}" in line and line.endswith(kind.about)


def test_decisions_of_the_cluster_are_told() -> None:
    assert told(
        "partition lines-0 leader=1->2 isr=1,2,3->2,3", "broker 2 registered epoch=7", "quorum-leader n2.1 4"
    ) == [
        "1.500000  lines-0: leader 1 → 2, isr 1,2,3 → 2,3",
        "1.500000  broker 2 is registered epoch=7",
        "1.500000  n2.1 leads the quorum in epoch 4",
    ]


def test_nothing_is_left_out() -> None:
    assert told("something new happened", "fault gremlin n1 n2 0 5", "kill") == [
        "1.500000  world: something new happened",
        "1.500000  world: fault gremlin n1 n2 0 5",
        "1.500000  world: kill",
    ]
    report = run_scenario("register", 1, keep_trace=True)
    assert len(report.trace) > 50 and len(list(tell(report.trace))) == len(report.trace)


def test_a_failing_run_is_made_as_small_as_it_goes() -> None:
    """A dumb cluster that fails where a kill happens while topics are made, at more than four operations a second."""
    options = Options(nodes=3, minutes=8, rate=40)
    plan = draw_rounds(Random(3), options.hosts, options.length_ms, (Fault.KILL, Fault.PAUSE, Fault.LOSS))
    base = run_scenario("register", 1, ())
    runs = 0

    def run(scenario: str, seed: int, steps: Plan) -> RunReport:
        nonlocal runs
        runs += 1
        chosen = parse_options(scenario)
        kills = [step for step in steps if step.fault is Fault.KILL and step.at_ms > 30_000]
        fails = bool(kills) and "metadata" in chosen.workloads and chosen.rate > 4
        virtual_ms = kills[0].at_ms if fails else chosen.length_ms
        error = "Refuted: x" if fails else ""
        return replace(base, scenario=scenario, seed=seed, plan=steps, error=error, virtual_ms=virtual_ms)

    first = run(str(options), 1, plan)
    assert not first.ok and len(plan) > 20
    smallest = shrink(first, run, lambda: runs < 400)
    left = parse_options(smallest.scenario)
    assert [step.fault for step in smallest.plan] == [Fault.KILL] and smallest.plan[0].duration_ms < 200
    assert left.workloads == ("metadata",) and 4 < left.rate <= 8 and left.minutes < 7
    assert runs < 200


def test_whoever_has_no_time_keeps_what_there_is() -> None:
    report = replace(run_scenario("register", 1, ()), error="Refuted: x", plan=(Step(1, Fault.KILL, "n1", 1),))
    assert shrink(report, run_scenario, lambda: False) is report
