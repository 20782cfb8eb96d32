"""`kraftpy simulate`, from the first line to the exit code: see the package's docstring."""

import json
import logging
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.exit_codes import UNCLEAN
from cli.output import Format, Output, show_one
from cli.simulate.options import (
    Calm,
    Faults,
    Hours,
    IsCampaign,
    Jobs,
    Keep,
    ListFaults,
    Minutes,
    Nodes,
    PlanText,
    Rate,
    ScenarioName,
    Seed,
    ShrinkSeconds,
    State,
    StoryPath,
    Workloads,
)

if TYPE_CHECKING:
    from simulation.plan import Plan
    from simulation.scenario import RunReport

SEEDS = 1 << 31


def simulate(
    seed: Seed = None,
    nodes: Nodes = 5,
    minutes: Minutes = 30.0,
    workload: Workloads = "all",
    faults: Faults = "all",
    rate: Rate = 20.0,
    calm: Calm = 0.0,
    plan: PlanText = None,
    scenario: ScenarioName = None,
    story: StoryPath = None,
    shrink_seconds: ShrinkSeconds = 120.0,
    campaign: IsCampaign = False,
    hours: Hours = 1.0,
    jobs: Jobs = 2,
    state: State = Path("kraftpy-campaign.json"),
    keep: Keep = None,
    list_faults: ListFaults = False,
    output: Output = Format.TABLE,
) -> None:
    """Run a whole cluster, its clients, disks and network on virtual time, and judge what clients saw.

    Exit code 0 if every checker is content, 4 if one failed or gave up (unknown); the command that replays such a run
    is printed.
    """
    if list_faults:
        _show_faults(output)
    elif campaign:
        _run_campaign(hours, jobs, state, keep, seed, scenario, output)
    else:
        with _silent_nodes():
            cluster = _cluster_named(nodes, minutes, workload, faults, rate, calm)
            chosen = secrets.randbelow(SEEDS) if seed is None else seed
            _run_one(scenario or cluster, chosen, _plan_of(plan), story, shrink_seconds, output)


def _cluster_named(nodes: int, minutes: float, workload: str, faults: str, rate: float, calm: float) -> str:
    """The name of the scenario that such a cluster is."""
    from simulation.fault_kinds import UnknownFault, faults_named
    from simulation.simulate.options import InvalidOptions, Options, workloads_named

    try:
        works, kinds = workloads_named(workload.split(",")), faults_named(faults.split(","))
        return str(Options(nodes, minutes, works, kinds, rate, calm))
    except UnknownFault as error:
        raise typer.BadParameter(str(error), param_hint="--faults") from None
    except InvalidOptions as error:
        raise typer.BadParameter(str(error)) from None


def _run_one(
    name: str, seed: int, plan: "Plan | None", story: Path | None, shrink_seconds: float, form: Format
) -> None:
    from cli.simulate.one_run import Progress, make_smaller, run_once, write_story

    _check_scenario(name)
    progress = Progress()
    report = run_once(name, seed, plan, progress)
    smallest = report if report.ok else make_smaller(report, shrink_seconds, progress)
    if story is None and not report.ok:
        story = Path(f"kraftpy-simulate-{seed}.txt")
    if story is not None:
        write_story(smallest, story)
    _print(report, smallest, plan, story, form)
    if not report.ok or report.unknown:
        raise typer.Exit(UNCLEAN)


@contextmanager
def _silent_nodes() -> Iterator[None]:
    """What nodes log is in the story, where it matters."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)


def _run_campaign(
    hours: float, jobs: int, state: Path, keep: Path | None, seed: int | None, scenario: str | None, form: Format
) -> None:
    from cli.simulate.campaign import Campaign
    from cli.simulate.one_run import Progress

    checkout = Path("tests/simulation/seeds")
    kept = keep or (checkout if checkout.parent.is_dir() else Path("kraftpy-seeds"))
    if scenario is not None:
        _check_scenario(scenario)
    try:
        running = Campaign(state, kept, secrets.randbelow(SEEDS) if seed is None else seed, scenario, jobs)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--state") from None
    progress = Progress()
    interrupted = False
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        running.run(hours, progress, lambda line: typer.echo(line, err=True))
    except KeyboardInterrupt:
        interrupted = True
        progress.clear()
    finally:
        signal.signal(signal.SIGTERM, before)
    if form is Format.TABLE:
        typer.echo("\n".join(running.tally.lines()))
    else:
        show_one({**json.loads(running.tally.to_json()), "never_met": running.tally.never_met()}, form)
    if interrupted:
        raise KeyboardInterrupt
    if running.tally.failures or running.tally.unknown:
        raise typer.Exit(UNCLEAN)


def _print(report: "RunReport", smallest: "RunReport", plan: "Plan | None", story: Path | None, form: Format) -> None:
    from cli.simulate.report import command_of, fields_of, lines_of

    command = command_of(report.scenario, report.seed, plan)
    small = command_of(smallest.scenario, smallest.seed, None if smallest is report else smallest.plan)
    if form is not Format.TABLE:
        row = fields_of(report, command)
        if not report.ok:
            row["smallest"] = {"error": smallest.error, "faults": len(smallest.plan), "command": small}
        show_one({**row, "story": str(story) if story else None}, form)
        return
    for line in lines_of(report):
        typer.echo(line)
    if not report.ok:
        typer.echo(f"\nFAILED: {report.error}\n\nreplay it with:\n  {command}")
        if smallest is not report:
            typer.echo(f"\nsmaller, with {len(smallest.plan)} faults: {smallest.error}\n  {small}")
    elif report.unknown:
        typer.echo(f"\nUNKNOWN: {report.unknown[0]}\n\nreplay it with:\n  {command}")
    if story is not None:
        typer.echo(f"\nthe story, in words: {story}")


def _plan_of(text: str | None) -> "Plan | None":
    from simulation.plan import plan_from_json

    if text is None:
        return None
    try:
        return plan_from_json(Path(text[1:]).read_text() if text.startswith("@") else text)
    except (ValueError, TypeError, KeyError) as error:
        raise typer.BadParameter(f"no plan of faults: {error}", param_hint="--plan") from None


def _check_scenario(name: str) -> None:
    from simulation.scenario import find_scenario

    try:
        find_scenario(name)
    except (LookupError, ImportError, AttributeError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="--scenario") from None


def _show_faults(form: Format) -> None:
    from cli.output import show
    from simulation.fault_kinds import KINDS

    rows = [{"name": kind.name, "what": kind.about} for kind in KINDS]
    show(rows, form, ["name", "what"])
