"""Looks for one bug in a process of its own, that runs in a copy of the sources with the bug in it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import NamedTuple

from tests.bugs.bug import Bug
from tests.bugs.overlay import copy_with


class Tried(NamedTuple):
    seed: int
    said: str  # what a check said; empty: nothing was noticed


def look_for(bug: Bug, first_seed: int, seeds: int) -> Iterator[Tried]:
    """Every seed as it was tried, to the first that finds the bug.

    Raises `Outgrown` where the bug is none any more, and `RuntimeError` where its process fails.
    """
    with copy_with(bug) as copy, TemporaryFile("w+") as complaints:
        command = [sys.executable, "-m", "tests.bugs.find", bug.name, "--first", str(first_seed), "--seeds", str(seeds)]
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(
            command, cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=complaints, text=True
        )
        try:
            assert process.stdout is not None
            with process.stdout:
                for line in process.stdout:
                    yield Tried(**json.loads(line))
            if process.wait() != 0:
                complaints.seek(0)
                raise RuntimeError(f"{bug.name}: {complaints.read()[-2_000:]}")
        finally:
            process.kill()
            process.wait()
