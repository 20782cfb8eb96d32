"""What pyproject promises to work with is what `make minimums` tests."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_minimums_tested_are_the_minimums_promised() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    promised = dict(_parts(each, ">=") for each in dependencies)
    lines = (ROOT / "tests" / "minimums.txt").read_text().splitlines()
    tested = dict(_parts(line, "==") for line in lines if line and not line.startswith("#"))
    assert set(promised) <= set(tested)
    for name, version in promised.items():
        assert _padded(tested[name]) == _padded(version), name


def _parts(requirement: str, operator: str) -> tuple[str, str]:
    found = re.match(rf"([\w-]+){operator}([\d.]+)", requirement)
    assert found is not None, f"{requirement} says no {operator} version"
    return found[1], found[2]


def _padded(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    return tuple(numbers + [0] * (4 - len(numbers)))
