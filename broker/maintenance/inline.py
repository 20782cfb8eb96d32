"""Carries out jobs by `disk.run`: for the simulation, and where no process may be started.

The work itself is not slowed down, but the next one waits as if it had been.
"""

import asyncio
from functools import partial

from broker.maintenance.carrying_out import carry_out, failure_of
from broker.maintenance.jobs import AnyJob, Job, Outcome, bytes_of
from kraftpy.runtime.ports import Disk


class InlineWorker(AnyJob):
    """A `jobs.Worker`."""

    deaths = 0

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._bytes_per_second = float("inf")

    async def _carry_out(self, job: Job) -> Outcome:
        try:
            outcome = await self._disk.run(partial(carry_out, self._disk, job, _free))
        except Exception as error:
            failure = failure_of(error)
            if failure is None:
                raise
            raise failure from error
        await asyncio.sleep(bytes_of(outcome) / self._bytes_per_second)
        return outcome

    def limit(self, bytes_per_second: float) -> None:
        self._bytes_per_second = bytes_per_second

    async def rest(self) -> None:
        """Nothing is idle."""

    async def stop(self) -> None:
        """Nothing of it goes on."""


def _free(size_bytes: int) -> None:
    """See the module's docstring."""
