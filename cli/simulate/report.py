"""How a simulated run is told: as a table for people, as one object for programs, as a command that replays it."""

import shlex
from typing import Any

from simulation.plan import Plan, plan_to_json
from simulation.scenario import RunReport
from simulation.simulate.options import MINUTES, NODES, PREFIX, RATE, WORKLOADS, Options, parse_options
from simulation.verdicts import word_of

MINUTE_MS = 60_000


def command_of(scenario: str, seed: int, plan: Plan | None) -> str:
    """What to type to run that again; `plan` None: the one that follows from the seed."""
    words = ["kraftpy", "simulate", "--seed", str(seed)]
    if scenario.startswith(PREFIX):
        words += _options_of(parse_options(scenario))
    else:
        words += ["--scenario", scenario]
    if plan is not None:
        words += ["--plan", plan_to_json(plan)]
    return shlex.join(words)


def _options_of(options: Options) -> list[str]:
    words = ["--nodes", str(options.nodes)] if options.nodes != NODES else []
    if options.minutes != MINUTES:
        words += ["--minutes", f"{options.minutes:g}"]
    if options.workloads != tuple(WORKLOADS):
        words += ["--workload", ",".join(options.workloads)]
    faults = str(options).partition("faults=")[2].partition(",")[0]
    if faults != "all":
        words += ["--faults", faults.replace("+", ",")]
    if options.rate != RATE:
        words += ["--rate", f"{options.rate:g}"]
    return [*words, "--calm", f"{options.calm:g}"] if options.calm else words


def fields_of(report: RunReport, command: str) -> dict[str, Any]:
    """A run as one object."""
    return {
        "ok": report.ok and not report.unknown,
        "verdict": word_of(report.verdict),
        "seed": report.seed,
        "scenario": report.scenario,
        "virtual_seconds": report.virtual_ms / 1000,
        "events": report.callbacks,
        "faults": report.fault_kinds,
        "effects": report.faults,
        "operations": report.operations,
        "checkers": {each.checker: {"verdict": each.word, "detail": each.detail} for each in report.verdicts},
        "summary": report.summary,
        "error": report.error or None,
        "trace_hash": report.trace_hash,
        "command": command,
    }


def lines_of(report: RunReport) -> list[str]:
    """A run for people."""
    lines = [
        _row("seed", str(report.seed)),
        _row("virtual time", _time(report.virtual_ms)),
        _row("events", f"{report.callbacks:,}"),
        _row("faults", _counts(report.fault_kinds)),
        _row("what they did", _counts(report.faults)),
    ]
    if report.operations:
        lines.append(_row("operations", _counts(report.operations)))
    for each in report.verdicts:
        first, *more = each.detail.splitlines()
        lines.append(_row(f"checker {each.checker}", f"{each.word}: {first}"))
        lines += [_row("", line) for line in more[:20]]
    if report.summary:
        lines.append(_row("in the end", report.summary))
    lines.append(_row("trace", report.trace_hash))
    return lines


def _row(name: str, text: str) -> str:
    return f"{name:<21} {text}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


def _time(virtual_ms: int) -> str:
    minutes, rest_ms = divmod(virtual_ms, MINUTE_MS)
    return f"{minutes} min {rest_ms / 1000:.1f} s"
