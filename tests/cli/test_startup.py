"""Typing `kraftpy --help` costs what it must and no more: whatever is heavy is imported inside the commands."""

import subprocess
import sys

import pytest

HEAVY = ("grpc", "google.protobuf", "asyncio", "uvloop", "broker", "raft", "kraftpy.client", "kraftpy.errors", "kio")

PROGRAM = """
import sys
from kraftpy.__main__ import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def loaded_by(*arguments: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    assert "Usage: kraftpy" in done.stdout
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("topic", "--help"),
        ("node", "--help"),
        ("demo", "--help"),
        ("bench", "--help"),
        ("bench", "failover", "--help"),
    ],
)
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    loaded = loaded_by(*arguments)
    assert "cli.app" in loaded
    assert arguments[0] == "--help" or not loaded & {"cli.cluster", "cli.group"}, "only what is typed is loaded"
    assert not [
        name for name in sorted(loaded) if name in HEAVY or name.startswith(tuple(f"{each}." for each in HEAVY))
    ]
