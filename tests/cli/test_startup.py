"""What is loaded. Typing `kraftpy --help` costs what it must and no more: whatever is heavy is imported inside the
commands. And a node's start loads nothing that no plain record needs."""

import subprocess
import sys
from pathlib import Path

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


LATER = (
    "typer",
    "pydantic",
    "importlib.metadata",
    "grpc_health.v1",
    "grpc_reflection.v1alpha",
    "broker.coordinator.groups.codec",
    "broker.coordinator.groups.commands",
    "broker.coordinator.groups.core",
    "broker.coordinator.transactions.codec",
    "broker.coordinator.transactions.commands",
    "broker.coordinator.transactions.core",
    "broker.kafka.messages",
    "broker.kafka.produce",
    "broker.maintenance.carrying_out",
    "broker.maintenance.process",
    "broker.rpc.admin_service",
    "broker.rpc.groups_service",
    "broker.rpc.transactions_service",
    "log_store.compaction.cleaner",
    "simulation",
)

NODE = """
import os, signal, sys
from cli import supervisor
def told(state):
    if state == supervisor.READY:
        print(*sys.modules)
        os.kill(os.getpid(), signal.SIGTERM)
supervisor.tell_supervisor = told
from kraftpy.__main__ import main
main()
"""


def test_a_node_in_service_has_loaded_nothing_that_can_wait(tmp_path: Path) -> None:
    arguments = [
        "node",
        "--data-dir",
        str(tmp_path),
        "--listen",
        "127.0.0.1:0",
        "--listeners",
        "PLAINTEXT://127.0.0.1:0",
    ]
    done = subprocess.run([sys.executable, "-c", NODE, *arguments], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "broker.server" in loaded, done.stderr
    assert not [name for name in sorted(loaded) if name.startswith(LATER)]
