"""One cell of the matrix: what is tried, and what came of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from tests.compatibility.cache import Cache
from tests.compatibility.clusters import ClusterUnderTest


class Verdict(Enum):
    """What came of a case."""

    PASSED = "passed"
    FAILED = "failed"
    ABSENT = "absent"  # the client has no such thing; the note says what it lacks
    NOT_RUN = "not run"  # the client cannot be had on this machine; the note says why


@dataclass(frozen=True, slots=True)
class Case:
    """A client and something that it should be able to do."""

    client: str
    capability: str
    how: str
    expected: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case that was tried; `note` is one line, for a failure what the client said."""

    case: Case
    verdict: Verdict
    note: str
    seconds: float
    unhurt: bool = False
    """Whether no leader was killed meanwhile, although others were."""


class Client(Protocol):
    """Somebody else's client, with the cases that are tried on it."""

    @property
    def name(self) -> str:
        """As the matrix calls it, with its version."""

    @property
    def cases(self) -> Sequence[Case]:
        """In the order in which they run."""

    @property
    def is_library(self) -> bool:
        """Whether its cases are `CAPABILITIES`, a row of the matrix; otherwise it gets a table of its own."""

    def install(self, cache: Cache) -> None:
        """Raises `NotAvailableError`."""

    def run(self, cases: Sequence[Case], cluster: ClusterUnderTest, run_name: str) -> Iterator[Outcome]:
        """Try them in order; `run_name` begins the names of all topics and groups. Needs `install`."""
