"""The node's end of the pipes to a maintenance process.

Invariants: one process at most, started by the first job; one job at a time. A job that is given up takes the process
with it, so an answer never meets the wrong job. A process that died is replaced by the next job; how often that may
happen is bounded by whoever gives the jobs, who pauses after a failure. The process works no faster than it was told
last.

The pipes are used by one thread of their own (and by another one to tell of a new pace), and the process is started by
`subprocess`, not by the event loop: `subprocess` forks by vfork where it can, while uvloop's fork runs what gRPC has
registered for the child, which crashes now and then in a process that has many threads.
"""

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sys import float_info
from typing import IO

from broker.maintenance import messages
from broker.maintenance.failure import JobFailed
from broker.maintenance.jobs import Job, Outcome
from log_store.compaction.job import Cleaned, CleaningJob
from log_store.digest import Digested, DigestJob
from log_store.scrub import Scrubbed, ScrubJob

WORKER = "broker.maintenance.worker"


class MaintenanceProcess:
    """Carries out jobs elsewhere. `stop` in the end; it can be used again after that."""

    def __init__(self, bytes_per_second: float = float_info.max) -> None:
        self.deaths = 0
        """Processes that ended, or failed otherwise, without being told to."""
        self._bytes_per_second = bytes_per_second
        self._writing = threading.Lock()  # of whole messages to the process
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopping = False
        self._turn = asyncio.Lock()
        self._thread: ThreadPoolExecutor | None = None

    @property
    def pid(self) -> int | None:
        """Of the running process, if there is one."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    async def clean(self, job: CleaningJob) -> Cleaned:
        """Have `job` done. Raises `JobFailed`, also where the process cannot be started or dies of the job."""
        outcome = await self.carry_out(job)
        assert isinstance(outcome, Cleaned)
        return outcome

    async def scrub(self, job: ScrubJob) -> Scrubbed:
        """As `clean`."""
        outcome = await self.carry_out(job)
        assert isinstance(outcome, Scrubbed)
        return outcome

    async def digest(self, job: DigestJob) -> Digested:
        """As `clean`."""
        outcome = await self.carry_out(job)
        assert isinstance(outcome, Digested)
        return outcome

    async def carry_out(self, job: Job) -> Outcome:
        """As `clean`, any job."""
        async with self._turn:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="kraftpy-maintenance")
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._exchange, job)
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                await self.stop()
                await asyncio.gather(work, return_exceptions=True)
                raise

    def limit(self, bytes_per_second: float) -> None:
        """How fast it may read and write from now on, also in the midst of a job. Waits for nothing."""
        if bytes_per_second != self._bytes_per_second:
            self._bytes_per_second = bytes_per_second
            if self._process is not None:
                asyncio.get_running_loop().run_in_executor(None, self._tell_pace)

    async def stop(self) -> None:
        """End the process, in the midst of a job too, and wait until it is gone."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._is_stopping = True
        if self._process is not None:
            self._process.kill()
        await asyncio.get_running_loop().run_in_executor(thread, self._reap)
        thread.shutdown()
        self._is_stopping = False

    # --- on the thread -----------------------------------------------------------------------------------------------

    def _exchange(self, job: Job) -> Outcome:
        try:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            self._tell_pace()
            with self._writing:
                process.stdin.write(messages.encode_job(job))
                process.stdin.flush()
            length = _read(process.stdout, messages.LENGTH.size)
            return messages.decode_answer(_read(process.stdout, messages.body_bytes(length)))
        except (OSError, EOFError, ValueError) as error:
            code = self._reap()
            self.deaths += not self._is_stopping
            what = f"the maintenance process failed (exit code {code}): {error!r}"
            raise JobFailed(what, is_permanent=False) from error

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._reap()  # it died between two jobs
            self.deaths += 1
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # An interrupt from the terminal is for the node. Not a new session: Linux shares processors fairly
                # among sessions (autogroups), and niceness counts within one.
                process_group=0,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(_python_path())},
            )
            if self._is_stopping:  # `stop` looked before it was there
                self._process.kill()
        return self._process

    def _tell_pace(self) -> None:
        """The newest, whatever was asked for when this was put in line; to a process that died meanwhile, nothing."""
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            with self._writing:
                process.stdin.write(messages.encode_pace(self._bytes_per_second))
                process.stdin.flush()
        except (OSError, ValueError):
            pass  # it is gone, or its pipe is closed: whoever waits for its answer notices

    def _reap(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass  # what was written last and never read
        return code


def _read(pipe: IO[bytes], size_bytes: int) -> bytes:
    data = pipe.read(size_bytes)
    if len(data) < size_bytes:
        raise EOFError("its answer ends early")
    return data


def _python_path() -> list[str]:
    """Where the child finds the same code: the folder that holds `broker`, then what this process was given."""
    ours = str(Path(__file__).resolve().parents[2])
    return [ours, *[part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]]
