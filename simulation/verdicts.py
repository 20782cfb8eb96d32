"""What a checker says of a run: ok, failed, or unknown where it had to give up."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    OK = "ok"
    INVALID = "invalid"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CheckVerdict:
    """One checker's. `detail`: what was looked at, or what was found."""

    checker: str
    verdict: Verdict
    detail: str

    @property
    def word(self) -> str:
        return word_of(self.verdict)


def word_of(verdict: Verdict) -> str:
    """For people: a history is invalid, a check has failed."""
    return "failed" if verdict is Verdict.INVALID else verdict.value


def given_up(verdicts: Iterable[CheckVerdict]) -> list[str]:
    """A sentence for each that is unknown: whoever asks has no answer, which is neither well nor wrong."""
    return [f"{each.checker}: {each.detail}" for each in verdicts if each.verdict is Verdict.UNKNOWN]


def failures(verdicts: Iterable[CheckVerdict]) -> list[str]:
    """A sentence for each that failed."""
    return [f"{each.checker}: {each.detail}" for each in verdicts if each.verdict is Verdict.INVALID]
