"""`kraftpy demo`, from the first line to the exit code: see the package's docstring."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.demo.fault_kind import FaultKind
from cli.exit_codes import FAILED, UNCLEAN
from cli.output import Format, Output, show_one


def demo(
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input",
            help="What to publish, a line a record. Default: 10,000 lines of an access log.",
            exists=True,
            dir_okay=False,
            metavar="FILE",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="How long to publish.", min=1, max=3_600)] = 20.0,
    nodes: Annotated[int, typer.Option("--nodes", help="How many nodes.", min=3, max=99)] = 3,
    fault: Annotated[FaultKind, typer.Option("--fault", help="kill: kill -9. pause: SIGSTOP.")] = FaultKind.KILL,
    output: Output = Format.TABLE,
) -> None:
    """Kill the leader of everything in mid-stream, and count what was lost.

    Exit code 0 only if nothing was lost, duplicated or reordered; else 4.
    """
    from cli.demo.access_log import OURS, read_lines
    from cli.demo.progress import Progress
    from cli.demo.report import fields_of, sentence_of, table_of
    from cli.demo.story import Story
    from kraftpy.testing import ClusterError

    progress = Progress(sys.stdout if output is Format.TABLE else sys.stderr)
    path = input_file or OURS
    try:
        outcome = Story(path, read_lines(path), seconds, nodes, fault, progress).run()
    except ClusterError as error:
        progress.say(str(error))
        raise typer.Exit(FAILED) from None
    if output is Format.TABLE:
        progress.print_plain(f"\n{table_of(outcome)}\n\n{sentence_of(outcome)}")
    else:
        show_one({"clean": outcome.clean, **fields_of(outcome)}, output)
    if not outcome.clean:
        raise typer.Exit(UNCLEAN)
