"""What a known bug is, and who finds it: values only, so that the list can be read without what it spoils.

A bug takes one defence away, by a replacement in the text of one function. The text must still stand there exactly
once, so a bug that its code has outgrown is noticed.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simulation.faults import Fault

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario of `python -m simulation.run`. Without `faults`, its own."""

    name: str
    faults: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        return f"scenario `{self.name}`"


@dataclass(frozen=True, slots=True)
class Seeds:
    """A function of a seed that raises `AssertionError` where something is wrong, as `package.module:function`."""

    function: str
    title: str

    def __str__(self) -> str:
        return self.title


@dataclass(frozen=True, slots=True)
class Story:
    """One test. `is_random`: it draws examples, which follow from the seed then; else one run says all."""

    test: str  # as pytest names it
    is_random: bool = False

    def __str__(self) -> str:
        return f"`{self.test}`"


Finder = Scenario | Seeds | Story

QUORUM = Seeds("tests.raft.scenario:run_seed", "the quorum's histories")
REPLICATION = Seeds("tests.replication.chaos:play_chaos", "chaos among three brokers")
SMALL_FETCHES = Seeds("tests.replication.chaos:play_small_fetches", "chaos among three brokers, with small fetches")
CONTROLLER = Seeds("tests.controller.test_random_commands:walk", "random commands to the controller")


@dataclass(frozen=True, slots=True)
class Bug:
    name: str
    about: str  # what the code does wrong then, in a sentence
    offends: str  # cases of docs/reliability.md and invariants, by their numbers there
    module: str
    function: str  # with its class; empty: any text of the module
    right: str
    wrong: str
    finder: Finder
    first_seed: int = 0  # where a test begins to look, so that it need not look for long
    counted_from: int = 0  # where the campaign begins: not at 0 where the seeds before are known to find nothing
    verdict: str = ""  # a regular expression that is in what the finder says of it
    explained: str = ""  # why no check finds it, or none within 2,000 seeds

    @property
    def path(self) -> Path:
        """The file, from the root of the sources on."""
        return Path(*self.module.split(".")).with_suffix(".py")


class Outgrown(AssertionError):
    """The text to spoil is not where the bug says, or not once."""


def spoiled(bug: Bug, root: Path = ROOT) -> str:
    """The module's source with the bug in it. Raises `Outgrown`."""
    source = (root / bug.path).read_text()
    lines = source.splitlines(keepends=True)
    first, last = _extent(bug, ast.parse(source), len(lines))
    function = "".join(lines[first:last])
    times = function.count(bug.right)
    if times != 1:
        raise Outgrown(f"{bug.name}: it stands {times} times in {bug.module}:{bug.function}: {bug.right}")
    return "".join(lines[:first]) + function.replace(bug.right, bug.wrong) + "".join(lines[last:])


def _extent(bug: Bug, module: ast.Module, line_count: int) -> tuple[int, int]:
    """The lines [first, last) of the function."""
    if not bug.function:
        return 0, line_count
    found: ast.AST = module
    for name in bug.function.split("."):
        inside = [node for node in _body(found) if getattr(node, "name", None) == name]
        if len(inside) != 1:
            raise Outgrown(f"{bug.name}: {bug.module} has {len(inside)} of {bug.function}")
        found = inside[0]
    assert isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    return found.lineno - 1, found.end_lineno or line_count


def _body(node: ast.AST) -> Sequence[ast.AST]:
    body: Sequence[ast.AST] = getattr(node, "body", ())
    return body
