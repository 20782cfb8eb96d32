"""`kraftpy check-history`: the judges of the simulation on a history that anybody has recorded."""

from enum import StrEnum
from typing import Annotated

import typer

from cli.exit_codes import UNCLEAN
from cli.output import Format, Output, show_line, show_one

FINDINGS_SHOWN = 20


class ModelName(StrEnum):
    AUTO = "auto"
    REGISTER = "register"
    TOPIC = "topic"
    LOG = "log"


def check_history(
    file: Annotated[
        typer.FileText,
        typer.Argument(help="JSON lines: docs/check-history.md. - is stdin.", metavar="FILE"),
    ],
    model: Annotated[
        ModelName, typer.Option("--model", help="Of operations; auto goes by their functions.")
    ] = ModelName.AUTO,
    steps_max: Annotated[
        int, typer.Option("--steps-max", help="After so many steps of a search the verdict is unknown.", min=1)
    ] = 2_000_000,
    output: Output = Format.TABLE,
) -> None:
    """Judge what clients of a Kafka-like system did and saw: lost, doubled, reordered, skipped or made up.

    Exit code 0 if every checker says ok; 4 where one has failed, or had to give up.
    """
    from simulation.checkers.history import HistoryError, numbered_history
    from simulation.checkers.judging import judge_history
    from simulation.verdicts import Verdict

    try:
        verdicts = judge_history(numbered_history(file), "" if model is ModelName.AUTO else model, steps_max)
    except (HistoryError, UnicodeDecodeError) as error:
        raise typer.BadParameter(str(error), param_hint=getattr(file, "name", "stdin")) from None
    rows = [{"checker": each.checker, "verdict": each.word, "detail": each.detail} for each in verdicts]
    if output is Format.JSON:
        show_one({"ok": all(each.verdict is Verdict.OK for each in verdicts), "checkers": rows}, output)
    elif output is Format.JSONL:
        for row in rows:
            show_line(row)
    else:
        for row in rows:
            _say(row["checker"], row["verdict"], row["detail"].splitlines())
    if any(each.verdict is not Verdict.OK for each in verdicts):
        raise typer.Exit(UNCLEAN)


def _say(checker: str, verdict: str, details: list[str]) -> None:
    typer.echo(f"{checker}: {verdict}: {details[0]}")
    for detail in details[1:FINDINGS_SHOWN]:
        typer.echo(f"  {detail}")
    if len(details) > FINDINGS_SHOWN:
        typer.echo(f"  and {len(details) - FINDINGS_SHOWN} more (-o json has them all)")
