"""What was found, in a file: a run that was interrupted goes on where it was, and a report can be made again."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.versus.grid import Cells
from bench.versus.rounds import Results, Taken


@dataclass(slots=True)
class Kept:
    """Everything that a report is made of."""

    facts: dict[str, str] = field(default_factory=dict)
    """Of the machine and the run, for the reader."""

    results: Results = field(default_factory=dict)
    disk: dict[int, Mapping[str, float]] = field(default_factory=dict)
    """MB/s of one and of three flushing writers, by round."""

    grid: dict[tuple[int, str], Cells] = field(default_factory=dict)
    """By round and contender."""


def save(path: Path, kept: Kept) -> None:
    """At once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written: dict[str, Any] = {
        "facts": kept.facts,
        "results": [[*place, dict(taken.figures), taken.error] for place, taken in kept.results.items()],
        "disk": [[number, dict(figures)] for number, figures in kept.disk.items()],
        "grid": [[*place, dict(cells)] for place, cells in kept.grid.items()],
    }
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(written, indent=1))
    os.replace(beside, path)


def load(path: Path) -> Kept:
    """Empty where there is no file."""
    if not path.exists():
        return Kept()
    found = json.loads(path.read_text())
    return Kept(
        found["facts"],
        {(number, name, who): Taken(figures, error) for number, name, who, figures, error in found["results"]},
        dict(found["disk"]),
        {(number, who): cells for number, who, cells in found["grid"]},
    )
