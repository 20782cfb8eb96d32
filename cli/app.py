"""Runs the command that was typed, and turns errors into a sentence on stderr and an exit code (`exit_codes`)."""

import sys
from collections.abc import Sequence

from cli import node_line
from cli.exit_codes import FAILED, INTERRUPTED, UNREACHABLE, USAGE


def run() -> None:
    """Run this process's command line; ends the process."""
    try:
        code = _run(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # the top of the process: what we do not know stays a traceback
        known = _explain(error)
        if known is None:
            raise
        sys.exit(known)
    sys.exit(code if isinstance(code, int) else 0)


def _run(words: Sequence[str]) -> object:
    """The exit code, if it is a number."""
    line = node_line.read(words[1:]) if words[:1] == ["node"] else None
    if line is not None:
        from cli.node_process import run_node

        return run_node(line)
    import typer

    from cli.commands import app_of

    try:
        return app_of(words)(prog_name="kraftpy", standalone_mode=False)
    except typer.Abort:  # an interrupt too, with some releases of typer
        return INTERRUPTED


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
        if isinstance(error, CallTimeoutError):
            _say("`kraftpy cluster health` says whether a node is there, and whether the quorum has a leader.")
        if isinstance(error, NoBrokersAvailableError):
            _say("Is a node running there? -b (or KRAFTPY_BOOTSTRAP_SERVER) names the nodes to ask.")
            return UNREACHABLE
        if isinstance(error, UnknownTopicOrPartitionError):
            _say("`kraftpy topic list` names the topics that there are.")
        if isinstance(error, InvalidConfigError):
            _say("`kraftpy config get --all` lists the settings with their values; with -o json, what they mean.")
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
