"""docs/reliability.md names tests: each of them exists, and each case that is asked for is in it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))
CASES = (
    "KIP-101 KIP-279 KIP-320 KIP-841 KIP-903 KIP-631 KIP-996 KAFKA-13837 10471 16541 10778 12460 15489 18723"
).split()


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_named_test_exists(path: str, name: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_file_that_is_named_exists() -> None:
    modules = set(re.findall(r"`((?:broker|raft|log_store|kraftpy|cli|simulation)/[\w/]+\.py)`", TEXT))
    assert modules and not [module for module in modules if not (ROOT / module).is_file()]


@pytest.mark.parametrize("case", CASES)
def test_every_case_has_its_row_and_its_test(case: str) -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("|") and re.search(rf"\b{case}\b", line)]
    assert rows and all("::test_" in row for row in rows)
