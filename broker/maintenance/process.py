"""The node's end of the pipes to its maintenance process.

Invariants: one process at most, started by the first job; one job at a time. A job that is given up takes the process
with it, so an answer never meets the wrong job. A process that died is replaced by the next job; how often that may
happen is bounded by whoever gives the jobs, who pauses after a failure.
"""

import asyncio
import contextlib
import os
import sys
from pathlib import Path

from broker.maintenance import messages
from broker.maintenance.failure import CleaningFailed
from log_store.compaction.job import Cleaned, CleaningJob

WORKER = "broker.maintenance.worker"


class MaintenanceProcess:
    """Carries out jobs elsewhere. `stop` in the end; it can be used again after that."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """Of the running process, if there is one."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    async def clean(self, job: CleaningJob) -> Cleaned:
        """Have `job` done. Raises `CleaningFailed`, also where the process cannot be started or dies of the job."""
        async with self._turn:
            try:
                process = await self._started()
                return await self._ask(process, job)
            except CleaningFailed:
                raise
            except (OSError, EOFError, ValueError) as error:
                code = await self.stop()
                what = f"the maintenance process failed (exit code {code}): {error!r}"
                raise CleaningFailed(what, is_permanent=False) from error
            except BaseException:
                await self.stop()
                raise

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                WORKER,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # an interrupt from the terminal is for the node
                env={**os.environ, "PYTHONPATH": os.pathsep.join(_python_path())},
            )
        return self._process

    async def _ask(self, process: asyncio.subprocess.Process, job: CleaningJob) -> Cleaned:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdin.is_closing():
            raise EOFError("it ended since its last job")  # uvloop calls writing then an error in the program
        process.stdin.write(messages.encode_job(job))
        await process.stdin.drain()
        length = await process.stdout.readexactly(messages.LENGTH.size)
        return messages.decode_answer(await process.stdout.readexactly(messages.body_bytes(length)))

    async def stop(self) -> int | None:
        """End the process, in the midst of a job too, wait until it is gone, and give its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()


def _python_path() -> list[str]:
    """Where the child finds the same code: the folder that holds `broker`, then what this process was given."""
    ours = str(Path(__file__).resolve().parents[2])
    return [ours, *[part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]]
