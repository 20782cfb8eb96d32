"""What docstrings and comments lead to is there: files by their paths, modules that a package's docstring names."""

import ast
import keyword
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.test_documents import ROOT, TOP_FOLDERS

FOLDERS = sorted(ROOT / name for name in TOP_FOLDERS)
SOURCES = sorted(file for folder in FOLDERS for file in folder.rglob("*.py"))
PACKAGES = [file for file in SOURCES if file.name == "__init__.py"]
PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(sorted(TOP_FOLDERS))})/[\w./-]+\.(?:py|md|txt)\b")
WORD = re.compile(r"`([a-z][a-z0-9_]*)`")
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def test_files_that_are_named_exist() -> None:
    named = [(file, path) for file in SOURCES for path in PATH.findall(file.read_text(encoding="utf-8"))]
    assert len(named) > 100
    assert not [f"{file.relative_to(ROOT)}: {path}" for file, path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda file: str(file.parent.relative_to(ROOT)))
def test_modules_that_a_package_leads_to_exist(package: Path) -> None:
    """Each word in backticks is a module or a folder beside it or above, or is defined in it."""
    words = WORD.findall(ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or "")
    above = [folder for folder in package.parents if folder.is_relative_to(ROOT)]
    beside = {file.stem for folder in above for file in folder.iterdir()}
    missing = [word for word in words if word not in beside and not keyword.iskeyword(word)]
    assert not missing or set(missing) <= set(_defined_in(package.parent))


def _defined_in(folder: Path) -> Iterator[str]:
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, DEFINITIONS):
                yield node.name
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
