"""The contract of the cores is complete: whoever adds a module decides whether it is a core or a shell."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SHELLS = {
    "raft": {"applier", "node"},
    "broker.controller": {"observed", "shell"},
    "broker.coordinator": {"coordinators", "finding", "group_coordinators", "later", "partition_log", "shard"},
    "broker.coordinator.groups": {"codec", "consumer_codec"},
    "broker.coordinator.transactions": {
        "calls",
        "codec",
        "gate",
        "marker_writer",
        "markers",
        "offset_commits",
        "service",
    },
    "broker.metadata": {"codec"},
    "broker.replication": {
        "availability",
        "directory_moves",
        "directory_status",
        "admissions",
        "alterations",
        "assignments",
        "deleting",
        "fetcher",
        "fetcher_host",
        "fetchers",
        "finding",
        "health",
        "hosting",
        "lost_leaders",
        "offsets",
        "partition",
        "producing",
        "purgatory",
        "reading",
        "repairs",
        "replicas",
        "replicating",
        "sessions",
        "upkeep",
    },
    "log_store": {
        "checkpoint_files",
        "doomed_logs",
        "flusher",
        "inventory",
        "log_checkpoints",
        "log_directory",
        "uncancelled",
    },
    "log_store.compaction": set(),
    "kraftpy.record": set(),
    "cli.bench": {
        "choosing",
        "command",
        "consuming",
        "door",
        "end_to_end",
        "failing_over",
        "grpc_door",
        "kafka_door",
        "live",
        "names",
        "options",
        "payload",
        "producing",
        "receiving",
        "sending",
        "stop",
        "topics",
    },
}


def _contract() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    (cores,) = (each for each in contracts if each["type"] == "forbidden")
    return set(cores["source_modules"])


@pytest.mark.parametrize("package", SHELLS)
def test_every_module_is_a_core_or_a_named_shell(package: str) -> None:
    folder = ROOT / package.replace(".", "/")
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    listed = {name.removeprefix(f"{package}.") for name in _contract() if name.rpartition(".")[0] == package}
    undecided = modules - listed - SHELLS[package]
    assert not undecided, f"list these of {package} in pyproject's contract of the cores, or as SHELLS here"
    assert not (listed | SHELLS[package]) - modules, f"{package} has no such modules any more"
    assert not listed & SHELLS[package], "a shell cannot be a core"


def test_uuids_may_be_named_but_not_drawn() -> None:
    """The ban on drawing them is the replay check's."""
    from tests.tools.replay_check import REFUSED_MODULES

    allowed = REFUSED_MODULES["uuid"]
    assert allowed is not None
    assert "UUID" in allowed
    assert "uuid4" not in allowed
    assert "uuid1" not in allowed
