"""Asking before what cannot be taken back."""

import sys

import typer

from cli.exit_codes import FAILED


def ask(question: str) -> None:
    """Return where the answer is yes. Else the command ends, and says that nothing was changed."""
    try:
        is_sure = typer.confirm(question, err=True)
    except typer.Abort:
        if sys.stdin is not None and sys.stdin.isatty():
            raise  # Ctrl-C
        typer.echo("", err=True)
        raise typer.BadParameter("nobody is there to answer: give --yes") from None
    if not is_sure:
        typer.echo("nothing was changed", err=True)
        raise typer.Exit(FAILED)
