"""Puts the commands together, and turns errors into a sentence on stderr and an exit code.

| exit code | what it means |
|---|---|
| 0 | done |
| 1 | the cluster refused, or something failed: Kafka's error name and a sentence on stderr |
| 2 | the command line or a setting is wrong |
| 3 | no node could be reached, or none answered in time |
| 4 | `cluster health`, `log-dirs describe`, `doctor`: problems; `demo`, `simulate`, `check-history`, `bench`: unclean |
| 130 | interrupted |
"""

import sys
from collections.abc import Sequence
from importlib import import_module

import typer

FAILED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130

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


def run() -> None:
    """Run this process's command line; ends the process."""
    try:
        code = app_of(sys.argv[1:])(prog_name="kraftpy", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):  # which of both depends on typer's age
        sys.exit(INTERRUPTED)
    except Exception as error:  # the top of the process: what we do not know stays a traceback
        known = _explain(error)
        if known is None:
            raise
        sys.exit(known)
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: Exception) -> int | None:
    """Say what went wrong, and give the exit code; None for what nobody foresaw."""
    from kraftpy.errors import (
        CallTimeoutError,
        ConfigurationError,
        InvalidConfigError,
        KraftpyError,
        NoBrokersAvailableError,
        UnknownTopicOrPartitionError,
    )

    if isinstance(error, KraftpyError):
        _say(f"{error.name}: {error}")
        if isinstance(error, NoBrokersAvailableError | CallTimeoutError):
            _say("Is a node running there? -b (or KRAFTPY_BOOTSTRAP_SERVER) names the nodes to ask.")
            return UNREACHABLE
        if isinstance(error, UnknownTopicOrPartitionError):
            _say("`kraftpy topic list` names the topics that there are.")
        if isinstance(error, InvalidConfigError):
            _say("docs/configuration.md lists the settings with their values.")
        return USAGE if isinstance(error, ConfigurationError) else FAILED
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's, wherever this typer keeps it
        error.show()
        return int(error.exit_code)
    if isinstance(error, OSError):
        _say(f"kraftpy: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return FAILED
    return None


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)
