"""Leaves nothing behind, however the test ends: a process that outlives it for a moment.

    python -m kraftpy.testing.reaper

It reads commands on its standard input, one a line: `+PID` watch a process, `-PID` it is gone, `directory PATH` remove
this at the end. When its input ends, because the test has finished or was killed (kill -9 included), it kills what is
still watched, paused processes too, and removes the directories.

Processes are held by descriptors where the system has them (Linux), so a number that was given to another process in
the meantime is never hit.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self


class Reaper:
    """The test's end of the line."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kraftpy.testing.reaper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt from the terminal is not for it
            env={**os.environ, "PYTHONPATH": os.pathsep.join(python_path())},
        )

    def watch(self, pid: int) -> None:
        self._tell(f"+{pid}")

    def forget(self, pid: int) -> None:
        self._tell(f"-{pid}")

    def remove_at_the_end(self, directory: str) -> None:
        self._tell(f"directory {directory}")

    def close(self) -> None:
        """End, and wait until everything is gone. May be repeated."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, command: str) -> None:
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(f"{command}\n".encode())
            self._process.stdin.flush()


def python_path() -> list[str]:
    """Where a child finds the same kraftpy as this process."""
    ours = str(Path(__file__).resolve().parents[2])
    return [ours, *[part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]]


class _Watched:
    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._descriptor = _descriptor_of(pid)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            else:
                os.kill(self._pid, signal.SIGKILL)
        self.forget()

    def forget(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _descriptor_of(pid: int) -> int | None:
    """A descriptor of the process; None where the system has none. Raises `ProcessLookupError`."""
    try:
        return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    except ProcessLookupError:
        raise
    except OSError:  # an old kernel, or a sandbox that does not know the call
        return None


def main() -> None:
    watched: dict[int, _Watched] = {}
    directories: list[str] = []
    for line in sys.stdin:
        command = line.rstrip("\n")
        if command.startswith("+"):
            with contextlib.suppress(ProcessLookupError):
                watched[int(command[1:])] = _Watched(int(command[1:]))
        elif command.startswith("-"):
            if (gone := watched.pop(int(command[1:]), None)) is not None:
                gone.forget()
        elif command.startswith("directory "):
            directories.append(command.removeprefix("directory "))
    for process in watched.values():
        process.kill()
    for directory in directories:
        _remove(directory)


def _remove(directory: str) -> None:
    """A process that was killed this moment may still be creating files."""
    for _ in range(50):
        shutil.rmtree(directory, ignore_errors=True)
        if not os.path.exists(directory):
            return
        threading.Event().wait(0.02)


if __name__ == "__main__":
    main()
