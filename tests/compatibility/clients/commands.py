"""A client that is used by commands: each case is a function that runs some and looks at what they print."""

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from tests.compatibility.cache import Cache
from tests.compatibility.case import Case, Outcome, Verdict
from tests.compatibility.clusters import ClusterUnderTest
from tests.compatibility.workshop import Workshop

Tool = TypeVar("Tool")


@dataclass(frozen=True, slots=True)
class CommandCase(Generic[Tool]):
    """`run` raises where it fails; what it returns is the note."""

    capability: str
    how: str
    expected: str
    run: Callable[[Workshop, Tool], str | None]


@dataclass(slots=True)
class Commands(Generic[Tool]):
    """`prepare` installs, and returns what the cases' functions call."""

    name: str
    prepare: Callable[[Cache], Tool]
    table: Sequence[CommandCase[Tool]]
    _tool: list[Tool] = field(default_factory=list)
    is_library = False

    @property
    def cases(self) -> Sequence[Case]:
        return [Case(self.name, row.capability, row.how, row.expected) for row in self.table]

    def install(self, cache: Cache) -> None:
        self._tool = [self.prepare(cache)]

    def run(self, cases: Sequence[Case], cluster: ClusterUnderTest, run_name: str) -> Iterator[Outcome]:
        (tool,) = self._tool
        rows = {row.capability: row for row in self.table}
        for case in cases:
            begun = time.monotonic()
            verdict, note = self._try(rows[case.capability], tool, cluster, run_name)
            yield Outcome(case, verdict, note, time.monotonic() - begun)

    @staticmethod
    def _try(row: CommandCase[Tool], tool: Tool, cluster: ClusterUnderTest, run_name: str) -> tuple[Verdict, str]:
        name = f"{run_name}-{re.sub('[^a-zA-Z0-9]+', '-', row.capability).strip('-')}"
        with tempfile.TemporaryDirectory(prefix="compatibility-") as directory:
            try:
                note = row.run(Workshop(cluster, Path(directory), name), tool)
            except Exception as error:  # whatever it is, it is the answer
                return Verdict.FAILED, " ".join(f"{type(error).__name__}: {error}".split())
        return Verdict.PASSED, note or ""
