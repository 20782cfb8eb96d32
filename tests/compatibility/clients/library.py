"""A client library: a program of ours that is written with it, tried on every capability."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from tests.compatibility.cache import Cache
from tests.compatibility.capabilities import BY_NAME, CAPABILITIES
from tests.compatibility.case import Case, Outcome, Verdict
from tests.compatibility.clusters import ClusterUnderTest
from tests.compatibility.line_protocol import ask


@dataclass(slots=True)
class Library:
    """`command` installs, and returns what starts the program."""

    name: str
    command: Callable[[Cache], Sequence[str]]
    absent: Mapping[str, str] = field(default_factory=dict)
    """By capability, why the client has no such thing."""

    frail: str | None = None
    """Why it is tried while no leader is killed: only what Apache Kafka fails as well, when its leaders are killed."""

    _installed: Sequence[str] = ()
    is_library = True

    @property
    def cases(self) -> Sequence[Case]:
        return [Case(self.name, known.name, known.how, known.expected) for known in CAPABILITIES]

    def install(self, cache: Cache) -> None:
        self._installed = self.command(cache)

    def run(self, cases: Sequence[Case], cluster: ClusterUnderTest, run_name: str) -> Iterator[Outcome]:
        tried = []
        for case in cases:
            if case.capability in self.absent:
                yield Outcome(case, Verdict.ABSENT, self.absent[case.capability], 0.0)
            else:
                tried.append(case)
        for case in tried:
            if partitions := BY_NAME[case.capability].partitions:
                cluster.create_topic(f"{run_name}-{case.capability}", partitions)
        by_capability = {case.capability: case for case in tried}
        with nullcontext(False) if self.frail is None else cluster.unhurt() as unhurt:
            begun = time.monotonic()
            for answer in ask(self._installed, cluster.bootstrap, run_name, list(by_capability)):
                case, seconds = by_capability[answer.capability], time.monotonic() - begun
                note = "; ".join(part for part in (answer.note, self.frail) if part and (unhurt or part != self.frail))
                yield Outcome(case, answer.verdict, note, seconds, unhurt)
                begun = time.monotonic()
