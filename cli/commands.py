"""All commands, put together for typer; only the one that is typed is loaded."""

from collections.abc import Sequence
from importlib import import_module

import typer

COMMANDS = {
    "node": "cli.node:node",
    "dev": "cli.dev:dev",
    "topic": "cli.topic:app",
    "group": "cli.group:app",
    "txn": "cli.txn:app",
    "partition": "cli.partition:app",
    "cluster": "cli.cluster:app",
    "quorum": "cli.quorum:app",
    "config": "cli.config:app",
    "log-dirs": "cli.log_dirs:app",
    "verify": "cli.verify:verify",
    "doctor": "cli.doctor.command:doctor",
    "demo": "cli.demo.command:demo",
    "simulate": "cli.simulate.command:simulate",
    "check-history": "cli.check_history:check_history",
    "bench": "cli.bench.command:app",
}
"""Where each is, in the order of the help. Only the one that is typed is loaded: all of them cost a start 20 ms."""


def app_of(words: Sequence[str]) -> typer.Typer:
    """What understands the command line of these words: the one command that they name, or all."""
    app = typer.Typer(
        name="kraftpy",
        help="Kafka's model without the JVM: a self-coordinating cluster in Python.",
        epilog="Exit codes: 0 done; 1 refused or failed; 2 the command line or a setting is wrong; 3 no node answers; "
        "4 unhealthy (cluster health, log-dirs describe, doctor) or not clean (demo, simulate, check-history, bench); "
        "130 interrupted.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(main)
    for name in words[:1] if words and words[0] in COMMANDS else COMMANDS:
        module, _, member = COMMANDS[name].partition(":")
        command = getattr(import_module(module), member)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def main(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    """What stands before a command."""
    if version:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            typer.echo(f"kraftpy {installed('kraftpy')}")
        except PackageNotFoundError:
            typer.echo("kraftpy (from a checkout)")
        raise typer.Exit
