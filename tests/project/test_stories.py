"""Every story that a test tells is played: one that is only defined is a test that cannot fail."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def unplayed(source: str) -> Iterator[str]:
    """Functions inside of tests that their test never names."""
    for test in ast.walk(ast.parse(source)):
        if not isinstance(test, FUNCTIONS) or not test.name.startswith("test_"):
            continue
        named = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
        methods = {id(node) for owner in ast.walk(test) if isinstance(owner, ast.ClassDef) for node in owner.body}
        for node in ast.walk(test):
            if not isinstance(node, FUNCTIONS) or node is test or id(node) in methods or node.decorator_list:
                continue
            if node.name not in named:
                yield f"{test.name}: {node.name}"


@pytest.mark.parametrize("file", sorted(TESTS.rglob("test_*.py")), ids=lambda file: str(file.relative_to(TESTS)))
def test_every_story_is_played(file: Path) -> None:
    assert not [*unplayed(file.read_text(encoding="utf-8"))]


def test_one_that_is_not_is_noticed() -> None:
    told = "def test_a():\n    async def story():\n        assert False\n"
    assert [*unplayed(told)] == ["test_a: story"]
    assert not [*unplayed(told + "    played(story)\n")]
