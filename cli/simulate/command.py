"""`kraftpy simulate`, from the first line to the exit code: see the package's docstring."""

import json
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import Format, Output, show_one

if TYPE_CHECKING:
    from simulation.plan import Plan
    from simulation.scenario import RunReport

REFUTED = 4
SEEDS = 1 << 31


def simulate(
    seed: Annotated[
        int | None, typer.Option("--seed", help="Everything follows from it. Default: a new one.", min=0)
    ] = None,
    nodes: Annotated[int, typer.Option("--nodes", help="Brokers; up to five of them vote.", min=3, max=9)] = 5,
    minutes: Annotated[float, typer.Option("--minutes", help="Virtual time with faults and clients.", min=0.01)] = 30.0,
    workload: Annotated[
        str, typer.Option("--workload", help="log, groups, transactions, metadata or all; several with commas.")
    ] = "all",
    faults: Annotated[
        str,
        typer.Option(
            "--faults",
            help="Kinds of faults with commas, all, or none; `kraftpy simulate --list-faults` names them. all leaves "
            "out what rots on a disk (failing-read, flipped-bit, stale-block, misdirected-write): nothing "
            "scrubs and repairs closed segments yet, so records may be lost to it, rightly.",
            metavar="all|none|NAME,…",
        ),
    ] = "all",
    rate: Annotated[float, typer.Option("--rate", help="Operations of clients, a virtual second.", min=0.1)] = 20.0,
    plan: Annotated[
        str | None, typer.Option("--plan", help="The faults as JSON, or @FILE; else the seed's.", metavar="JSON")
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(
            "--scenario", help="A scenario of its own instead of all this: docs/simulation.md.", metavar="NAME"
        ),
    ] = None,
    story: Annotated[
        Path | None,
        typer.Option(
            "--story",
            help="Write the whole trace here, in words. A failing run is always told, by default in "
            "kraftpy-simulate-SEED.txt.",
            dir_okay=False,
        ),
    ] = None,
    shrink_seconds: Annotated[
        float, typer.Option("--shrink-seconds", help="How long to make a failing run smaller.", min=0)
    ] = 120.0,
    campaign: Annotated[
        bool,
        typer.Option(
            "--campaign",
            help="Go through fresh seeds instead, each a cluster of another shape or a scenario, until --hours are "
            "over or it is interrupted; go on where it stopped, and print a report.",
        ),
    ] = False,
    hours: Annotated[float, typer.Option("--hours", help="How long a campaign goes on; 0: its report.", min=0)] = 1.0,
    jobs: Annotated[int, typer.Option("--jobs", help="Processes of a campaign.", min=1, max=256)] = 2,
    state: Annotated[
        Path, typer.Option("--state", help="The file that a campaign goes on from.", dir_okay=False)
    ] = Path("kraftpy-campaign.json"),
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep",
            help="Where a campaign keeps failing seeds. Default: tests/simulation/seeds in a checkout, where the test "
            "run replays them, else kraftpy-seeds.",
            file_okay=False,
        ),
    ] = None,
    list_faults: Annotated[bool, typer.Option("--list-faults", help="Name the kinds of faults, and exit.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Run a whole cluster, its clients, disks and network on virtual time, and judge what clients saw.

    Exit code 0 if every checker is content, else 4; the command that replays a failing run is printed.
    """
    from cli.simulate.one_run import Progress, make_smaller, run_once, write_story
    from simulation.fault_kinds import UnknownFault, faults_named
    from simulation.simulate.options import InvalidOptions, Options, workloads_named

    if list_faults:
        _show_faults(output)
        return
    if campaign:
        _run_campaign(hours, jobs, state, keep, seed, scenario, output)
        return
    with _silent_nodes():
        try:
            options = Options(
                nodes, minutes, workloads_named(workload.split(",")), faults_named(faults.split(",")), rate
            )
        except UnknownFault as error:
            raise typer.BadParameter(str(error), param_hint="--faults") from None
        except InvalidOptions as error:
            raise typer.BadParameter(str(error)) from None
        name = scenario or str(options)
        chosen = secrets.randbelow(SEEDS) if seed is None else seed
        steps = _plan_of(plan)
        _check_scenario(name)
        progress = Progress()
        report = run_once(name, chosen, steps, progress)
        smallest = report if report.ok else make_smaller(report, shrink_seconds, progress)
        path = story
        if path is None and not report.ok:
            path = Path(f"kraftpy-simulate-{chosen}.txt")
        if path is not None:
            write_story(smallest, path)
        _print(report, smallest, steps, path, output)
        if not report.ok:
            raise typer.Exit(REFUTED)


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
    try:
        running.run(hours, progress, lambda line: typer.echo(line, err=True))
    except KeyboardInterrupt:
        interrupted = True
        progress.clear()
    if form is Format.TABLE:
        typer.echo("\n".join(running.tally.lines()))
    else:
        show_one({**json.loads(running.tally.to_json()), "never_met": running.tally.never_met()}, form)
    if interrupted:
        raise KeyboardInterrupt
    if running.tally.failures:
        raise typer.Exit(REFUTED)


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

    rows = [{"name": kind.name, "in_all": not kind.is_rot, "what": kind.about} for kind in KINDS]
    show(rows, form, ["name", "in_all", "what"])
