"""The maintenance processes of a node: as many as there are jobs at a time, one of which stays for the next job.

Invariant: a process carries out one job at a time, and only one process is idle. All work at the same pace.
"""

from sys import float_info
from typing import TYPE_CHECKING

from broker.maintenance.jobs import AnyJob, Job, Outcome

if TYPE_CHECKING:
    from broker.maintenance.process import MaintenanceProcess


class MaintenanceProcesses(AnyJob):
    """Carries out jobs side by side. Whoever gives them bounds how many. `stop` in the end."""

    def __init__(self) -> None:
        self._idle: list[MaintenanceProcess] = []
        self._busy: list[MaintenanceProcess] = []
        self._bytes_per_second = float_info.max
        self._deaths = 0  # of processes that are no more

    @property
    def pids(self) -> list[int]:
        return [each.pid for each in (*self._busy, *self._idle) if each.pid is not None]

    @property
    def deaths(self) -> int:
        """Processes that ended without being told to."""
        return self._deaths + sum(each.deaths for each in (*self._busy, *self._idle))

    async def _carry_out(self, job: Job) -> Outcome:
        process = self._idle.pop() if self._idle else _new(self._bytes_per_second)
        self._busy.append(process)
        try:
            return await process.carry_out(job)
        finally:
            self._busy.remove(process)
            if self._idle:
                self._deaths += process.deaths
                await process.stop()
            else:
                self._idle.append(process)

    def limit(self, bytes_per_second: float) -> None:
        """How fast each process may read and write from now on."""
        self._bytes_per_second = bytes_per_second
        for process in (*self._busy, *self._idle):
            process.limit(bytes_per_second)

    async def rest(self) -> None:
        """Nothing to do for a while: end the process that waits for a job."""
        idle, self._idle = self._idle, []
        for process in idle:
            self._deaths += process.deaths
            await process.stop()

    async def stop(self) -> None:
        """End them, in the midst of jobs too, and wait until they are gone."""
        for process in (*self._busy, *self._idle):
            await process.stop()


def _new(bytes_per_second: float) -> "MaintenanceProcess":
    from broker.maintenance.process import MaintenanceProcess  # many a node never has a job

    return MaintenanceProcess(bytes_per_second)
