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

import typer

from cli import cluster, config, dev, group, log_dirs, node, partition, quorum, topic, txn
from cli.bench import command as bench
from cli.check_history import check_history
from cli.demo.command import demo
from cli.doctor.command import doctor
from cli.simulate.command import simulate
from cli.verify import verify

FAILED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130

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
app.command("node")(node.node)
app.command("dev")(dev.dev)
app.add_typer(topic.app, name="topic")
app.add_typer(group.app, name="group")
app.add_typer(txn.app, name="txn")
app.add_typer(partition.app, name="partition")
app.add_typer(cluster.app, name="cluster")
app.add_typer(quorum.app, name="quorum")
app.add_typer(config.app, name="config")
app.add_typer(log_dirs.app, name="log-dirs")
app.command("verify")(verify)
app.command("doctor")(doctor)
app.command("demo")(demo)
app.command("simulate")(simulate)
app.command("check-history")(check_history)
app.add_typer(bench.app, name="bench")


@app.callback(invoke_without_command=True)
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
        code = app(prog_name="kraftpy", standalone_mode=False)
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
