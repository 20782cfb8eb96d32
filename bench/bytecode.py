"""Nodes that start as from an installed package, which has its bytecode beside it.

Where PYTHONDONTWRITEBYTECODE is set, as in many images for development, every node of a checkout compiles its 300
modules at each start: 0.4 s that no user's node takes.
"""

import compileall
import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("kraftpy", "log_store", "raft", "broker", "cli")


def as_installed() -> None:
    """Compile what a node loads, for it and for every process that is started from this one."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for folder in FOLDERS:
        compileall.compile_dir(ROOT / folder, quiet=1)
