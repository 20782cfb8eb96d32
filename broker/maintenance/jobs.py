"""The heavy work that is done away from the loop: what each job is, and who has it done. How: `carrying_out`."""

from abc import ABC, abstractmethod
from typing import Protocol

from log_store.compaction.job import Cleaned, CleaningJob
from log_store.digest import Digested, DigestJob
from log_store.scrub import Scrubbed, ScrubJob

Job = CleaningJob | ScrubJob | DigestJob
Outcome = Cleaned | Scrubbed | Digested


class Cleaner(Protocol):
    """Who carries out cleaning jobs, side by side."""

    @property
    def deaths(self) -> int:
        """Processes that ended without being told to."""

    async def clean(self, job: CleaningJob) -> Cleaned:
        """Raises `JobFailed`."""

    def limit(self, bytes_per_second: float) -> None:
        """How fast each job may read and write from now on."""

    async def stop(self) -> object: ...


class Checker(Protocol):
    """Who reads segments again."""

    async def scrub(self, job: ScrubJob) -> Scrubbed:
        """Raises `JobFailed`."""

    def limit(self, bytes_per_second: float) -> None:
        """How fast each job may read from now on."""

    async def rest(self) -> None:
        """Nothing to do for a while: give back what is idle."""


class Digester(Protocol):
    """Who makes checksums."""

    async def digest(self, job: DigestJob) -> Digested:
        """Raises `JobFailed`."""

    async def rest(self) -> None:
        """Nothing to do for a while: give back what is idle."""


class Worker(Cleaner, Checker, Digester, Protocol):
    """Who carries out all of them."""


class AnyJob(ABC):
    """Turns being able to carry out any job into `Worker`'s methods."""

    async def clean(self, job: CleaningJob) -> Cleaned:
        """Raises `JobFailed`."""
        outcome = await self._carry_out(job)
        assert isinstance(outcome, Cleaned)
        return outcome

    async def scrub(self, job: ScrubJob) -> Scrubbed:
        """Raises `JobFailed`."""
        outcome = await self._carry_out(job)
        assert isinstance(outcome, Scrubbed)
        return outcome

    async def digest(self, job: DigestJob) -> Digested:
        """Raises `JobFailed`."""
        outcome = await self._carry_out(job)
        assert isinstance(outcome, Digested)
        return outcome

    @abstractmethod
    async def _carry_out(self, job: Job) -> Outcome:
        """The outcome that belongs to the kind of job. Raises `JobFailed`."""


def bytes_of(outcome: Outcome) -> int:
    """How much was read and written for it."""
    return outcome.bytes_read + (outcome.bytes_written if isinstance(outcome, Cleaned) else 0)
