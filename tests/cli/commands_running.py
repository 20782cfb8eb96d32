"""Commands as processes of their own, as a user runs them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from kraftpy.testing.reaper import python_path

ENDED_S = 60.0


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`kraftpy ARGUMENTS` with its output in pipes; killed at the end where it has not ended by itself."""
    command = subprocess.Popen(
        [sys.executable, "-m", "kraftpy", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        with command:
            try:
                yield command
            finally:
                if command.poll() is None:
                    command.kill()
    finally:
        command.wait(ENDED_S)


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "KRAFTPY_"))}
    return {**kept, "PYTHONPATH": os.pathsep.join(python_path()), "PYTHONUNBUFFERED": "1"}


def read_until(command: subprocess.Popen[str], beginning: str, *, errors: bool = False) -> list[str]:
    """Lines of its output (or of stderr) up to the first that begins so; fails where the output ends before."""
    source = command.stderr if errors else command.stdout
    assert source is not None
    lines = []
    for line in source:
        lines.append(line.rstrip("\n"))
        if line.startswith(beginning):
            return lines
    rest = command.stderr.read() if command.stderr is not None and not errors else ""
    raise AssertionError(f"the output ended without '{beginning}': {lines}\n{rest}")
