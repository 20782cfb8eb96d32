"""A copy of the sources with one file that differs: links to everything, except on the way to that file.

A process that is started in the copy imports the bug wherever the module is used, at whatever time, in constants too,
and so do its own children. Nothing of the sources themselves is touched.
"""

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from inspect import getattr_static
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bugs.bug import ROOT, Bug, spoiled


@contextmanager
def copy_with(bug: Bug) -> Iterator[Path]:
    """The root of a copy that is gone afterwards. Raises `Outgrown`."""
    text = spoiled(bug)
    with TemporaryDirectory(prefix="kraftpy-bug-") as folder:
        _link(ROOT, Path(folder), bug.path.parts, text)
        yield Path(folder)


def _link(source: Path, copy: Path, way: tuple[str, ...], text: str) -> None:
    for entry in source.iterdir():
        target = copy / entry.name
        if entry.name == way[0] and len(way) == 1:
            target.write_text(text)
        elif entry.name == way[0]:
            target.mkdir()
            _link(entry, target, way[1:], text)
        elif entry.name[0] != "." and entry.name != "__pycache__":
            target.symlink_to(entry)


@contextmanager
def in_this_process(bug: Bug) -> Iterator[None]:
    """The same bug inside the `with`, for a test that runs a command where it is. Of a plain function only."""
    owner: Any = import_module(bug.module)
    node: Any = ast.parse(spoiled(bug))
    names, found = vars(owner), dict[str, Any]()
    *owners, function = bug.function.split(".")
    for name in (*owners, function):
        node = next(each for each in node.body if getattr(each, "name", None) == name)
    for name in owners:
        owner = getattr(owner, name)
    original = getattr_static(owner, function)
    exec(compile(ast.Module([node], []), f"<{bug.name}>", "exec"), names, found)
    setattr(owner, function, found[function])
    try:
        yield
    finally:
        setattr(owner, function, original)
