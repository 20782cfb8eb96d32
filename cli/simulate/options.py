"""The options of `kraftpy simulate`, as its help tells them."""

from pathlib import Path
from typing import Annotated

import typer

Seed = Annotated[int | None, typer.Option("--seed", help="Everything follows from it. Default: a new one.", min=0)]
Nodes = Annotated[int, typer.Option("--nodes", help="Brokers; up to five of them vote.", min=3, max=9)]
Minutes = Annotated[float, typer.Option("--minutes", help="Virtual time with faults and clients.", min=0.01)]
Workloads = Annotated[
    str, typer.Option("--workload", help="log, groups, transactions, metadata or all; several with commas.")
]
Faults = Annotated[
    str,
    typer.Option(
        "--faults",
        help="Kinds of faults with commas, all, or none; `kraftpy simulate --list-faults` names them.",
        metavar="all|none|NAME,…",
    ),
]
Rate = Annotated[float, typer.Option("--rate", help="Operations of clients, a virtual second.", min=0.1)]
Calm = Annotated[
    float, typer.Option("--calm", help="Minutes in which nothing goes wrong, after each minute of faults.", min=0)
]
PlanText = Annotated[
    str | None, typer.Option("--plan", help="The faults as JSON, or @FILE; else the seed's.", metavar="JSON")
]
ScenarioName = Annotated[
    str | None,
    typer.Option("--scenario", help="A scenario of its own instead of all this: docs/simulation.md.", metavar="NAME"),
]
StoryPath = Annotated[
    Path | None,
    typer.Option(
        "--story",
        help="Write the whole trace here, in words. A failing run is always told, by default in "
        "kraftpy-simulate-SEED.txt.",
        dir_okay=False,
    ),
]
ShrinkSeconds = Annotated[
    float, typer.Option("--shrink-seconds", help="How long to make a failing run smaller.", min=0)
]
IsCampaign = Annotated[
    bool,
    typer.Option(
        "--campaign",
        help="Go through fresh seeds instead, each a cluster of another shape or a scenario, until --hours are "
        "over or it is interrupted; go on where it stopped, and print a report.",
    ),
]
Hours = Annotated[float, typer.Option("--hours", help="How long a campaign goes on; 0: its report.", min=0)]
Jobs = Annotated[int, typer.Option("--jobs", help="Processes of a campaign.", min=1, max=256)]
State = Annotated[Path, typer.Option("--state", help="The file that a campaign goes on from.", dir_okay=False)]
Keep = Annotated[
    Path | None,
    typer.Option(
        "--keep",
        help="Where a campaign keeps failing seeds. Default: tests/simulation/seeds in a checkout, where the test "
        "run replays them, else kraftpy-seeds.",
        file_okay=False,
    ),
]
ListFaults = Annotated[bool, typer.Option("--list-faults", help="Name the kinds of faults, and exit.")]
